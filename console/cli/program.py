"""One run of the command line, from its words to its exit status."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from django.db import DatabaseError, InterfaceError

from backupng.engine.errors import BackupError, OperationError
from console import database
from console.cli import backup, config, grammar, output, perform, redolog, sandbox, servers, worker
from console.cli import help as pages
from console.cli.grammar import Call, Help, Module, Process, Switches, Usage
from console.cli.output import Answer
from console.cli.terminal import Terminal, drop_output

logger = logging.getLogger(__name__)

MODULES: dict[str, Module] = {
    "backup": backup.COMMANDS,
    "config": {**servers.COMMANDS, **config.COMMANDS},
    "sandbox": sandbox.COMMANDS,
    redolog.MODULE: redolog.COMMANDS,
}


def run(words: Sequence[str]) -> int:
    """Run the command that the words spell and return the exit status of `cli.md` §3."""
    terminal = Terminal(as_json=grammar.wants_json(words))
    try:
        return _answer(words, terminal)
    except KeyboardInterrupt:
        return output.EXIT_LEFT
    except BrokenPipeError:
        drop_output()
        return 128 + signal.SIGPIPE


def _answer(words: Sequence[str], terminal: Terminal) -> int:
    try:
        switches, rest = grammar.split(words)
        terminal.quiet = switches.quiet
        return _run(switches, rest, terminal)
    except Usage as error:
        status = terminal.answers([output.refusal(perform.LOCALHOST, error)])
        if error.page:
            terminal.page(pages.page(error.page, MODULES))
        return status
    except BackupError as error:
        return terminal.answers([output.refusal(perform.LOCALHOST, error)])
    except (DatabaseError, InterfaceError) as error:
        unusable = OperationError(
            f"The console's database cannot be used: {error}.", code="database_not_ready"
        )
        return terminal.answers([output.refusal(perform.LOCALHOST, unusable)])
    except BrokenPipeError:
        raise
    except Exception as error:
        logger.exception("%s", " ".join(words))
        defect = OperationError(
            f"The command ended by a defect of the program: {type(error).__name__}.", code="defect"
        )
        return terminal.answers([output.refusal(perform.LOCALHOST, defect)])


def _run(switches: Switches, rest: Sequence[str], terminal: Terminal) -> int:
    if switches.version:
        return terminal.answers([_text("version", _version(), f"backupng {_version()}\n")])
    wish = grammar.parse(rest, MODULES)
    if isinstance(wish, Help):
        page = pages.page(wish, MODULES)
        return terminal.answers([_text("help", page, page)])
    if isinstance(wish, Process):
        worker.become(wish.name, switches.host)
    if wish.module == redolog.MODULE:
        return redolog.perform(wish, terminal)
    database.prepare()
    return _perform(wish, switches, terminal)


def _perform(call: Call, switches: Switches, terminal: Terminal) -> int:
    return terminal.answers(perform.perform(call, switches, terminal))


def _text(key: str, value: str, text: str) -> Answer:
    return Answer(host=perform.LOCALHOST, response={key: value}, text=text)


def _version() -> str:
    try:
        return version("backupng")
    except PackageNotFoundError:
        return "not installed"
