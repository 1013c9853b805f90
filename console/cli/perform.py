"""Runs a parsed call: chooses the servers, asks the engine or the queue, spells the answers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone

from backupng.engine.errors import BackupError, BadRequest
from backupng.engine.operations import parameters, words
from backupng.engine.operations.base import Command, IncompleteAnswer, Lookup, Operation
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from backupng.engine.operations.do_fix_orphans import DoFixOrphans
from backupng.engine.operations.do_purge import DoPurge
from console import asking, audit, connect, hosting, ledger, properties, telling
from console.cli import backup, following, operations, output, saving
from console.cli.base import Console, ConsoleCommand
from console.cli.grammar import Call, Switches, Usage
from console.cli.operations import DoStopOperation, OperationCommand
from console.cli.output import Answer
from console.cli.terminal import Terminal
from console.models import QueuedOperation, Server

ALL_SERVERS = "all_servers"
LOCALHOST = "localhost"
_BROADCAST = frozenset({"doPurge", "doSmartScan"})
"""Operations that may be started on all servers at once."""
_REGRETTED = {
    "doPurge": "This removes from the backup of {servers} what was deleted longer ago than the"
    " retention time. It cannot be brought back."
}
"""Operations that a person at a terminal is asked about first, and why."""
_OF_THE_PATH = frozenset({DoFixOrphans, DoPurge})
"""Operations that read and write the Backup Path alone."""
_MOVES = "This moves what is broken in the Backup Path into its folder quarantine."
_YES = frozenset({"true", "yes", "on", "1"})
_UTC = ZoneInfo("UTC")
_Command = TypeVar("_Command", bound=Command)


def perform(call: Call, switches: Switches, terminal: Terminal) -> list[Answer]:
    """Run a call on the servers meant and return what each of them answers. Raises BackupError."""
    command = call.command
    if switches.offline and _needs_mail_server(command, call):
        raise Usage(f"{command.command} needs the mail server, so it cannot be run with --offline.")
    if issubclass(command, ConsoleCommand) and not command.needs_server(call.texts):
        return [_perform_here(command, call, terminal)]
    if issubclass(command, OperationCommand):
        return [_about_one(command, call, switches, terminal)]
    servers = choose(switches.host, command)
    if not switches.yes:
        _confirm(_warning(command, call), servers, terminal)
    if issubclass(command, Operation):
        return _operate(command, call, servers, switches=switches, terminal=terminal)
    return [_answer(command, call, server, terminal) for server in servers]


def choose(host: str, command: type[Command]) -> list[Server]:
    """Return the servers that `--host` means, without it the only one. Raises BadRequest."""
    servers = list(Server.objects.order_by("name"))
    names = ", ".join(server.name for server in servers)
    if not servers:
        raise BadRequest(
            "There is no mail server yet.", hint="Make one: backupng sandbox createServer NAME."
        )
    if host.lower() == ALL_SERVERS:
        if issubclass(command, Operation) and command.command not in _BROADCAST:
            raise Usage(
                f"{command.command} cannot be run on all servers at once.",
                hint=f"Name one with --host: {names}.",
            )
        return servers
    if not host and len(servers) > 1:
        raise Usage("There are several servers.", hint=f"Name one with --host: {names}.")
    # Names are unique without regard to case.
    found = [server for server in servers if not host or server.name.lower() == host.lower()]
    if not found:
        raise BadRequest(
            f"There is no server {host}.", hint=f"There are: {names}.", parameter="host", value=host
        )
    return found


def _needs_mail_server(command: type[Command], call: Call) -> bool:
    """Say whether a call is in vain while the mail server is down."""
    if command is DoCoherencyCheck:
        return call.texts.get("checkZimbra", "").lower() in _YES
    return not issubclass(command, Lookup) and command not in _OF_THE_PATH


def _warning(command: type[Command], call: Call) -> str:
    """Return what many would regret about a call; empty if nobody would."""
    if issubclass(command, ConsoleCommand):
        return command.confirmation
    if command is DoCoherencyCheck and call.texts.get("fixBackup", "").lower() in _YES:
        return _MOVES
    is_dry = call.texts.get("dryrun", "").lower() in _YES
    return "" if is_dry else _REGRETTED.get(command.command, "")


def _confirm(warning: str, servers: Sequence[Server], terminal: Terminal) -> None:
    """Ask before what many would regret. Raises BadRequest unless the answer is yes."""
    names = ", ".join(server.name for server in servers)
    sentence = warning.format(servers=names)
    if sentence and not terminal.confirms(sentence):
        raise BadRequest(
            "Nothing was done.", code="not_confirmed", hint="Answer yes, or use the switch --yes."
        )


# Commands that are answered at once


def _perform_here(command: type[ConsoleCommand], call: Call, terminal: Terminal) -> Answer:
    zone = _zone_of(call)
    instance = _parse(command, call, zone, terminal)
    try:
        return _spell(instance, instance.perform(_console(None)), LOCALHOST, zone)
    except IncompleteAnswer as error:
        shown = _spell(instance, error.response, LOCALHOST, zone)
        return replace(shown, error=error, exit_status=output.exit_of_error(error))


def _zone_of(call: Call) -> ZoneInfo:
    """Return the time zone of the server that a parameter of the call names, else UTC."""
    named = Server.objects.filter(name=call.texts.get("server", "")).first()
    return named.zone_info if named else _UTC


def _answer(command: type[Command], call: Call, server: Server, terminal: Terminal) -> Answer:
    try:
        instance = _parse(command, call, server.zone_info, terminal)
        if isinstance(instance, Lookup):
            return _look_up(instance, server)
        if isinstance(instance, ConsoleCommand):
            response = instance.perform(_console(server))
        else:
            raise TypeError(f"{command.command} is of no kind that can be performed")
        return _spell(instance, response, server.name, server.zone_info)
    except BackupError as error:
        return output.refusal(server.name, _dated(error, server))


def _look_up(lookup: Lookup, server: Server) -> Answer:
    try:
        with connect.context(server) as ctx:
            response = backup.completed(lookup, lookup.answer(ctx), server)
            if document := lookup.document(response):
                file = saving.save(document, tree=ctx.backup_path)
                response = backup.saved(response, file)
        return _spell(lookup, response, server.name, server.zone_info)
    except IncompleteAnswer as error:
        shown = _spell(lookup, error.response, server.name, server.zone_info)
        return replace(shown, error=error, exit_status=output.EXIT_FAILED)


def _spell(command: Command, response: dict[str, Any], host: str, zone: ZoneInfo) -> Answer:
    text: Iterable[str] | bytes | None
    if isinstance(command, ConsoleCommand):
        text = command.text(response)
    else:
        text = backup.lookup_text(command.command, response, zone)
    if text is None:
        shown = command.shown(response) if isinstance(command, ConsoleCommand) else response
        text = output.tree(shown, zone)
    return Answer(host=host, response=response, text=text)


def _console(server: Server | None) -> Console:
    return Console(
        data=settings.DATA_DIR,
        now=timezone.now(),
        clock=timezone.now,
        read_input=sys.stdin.buffer.read,
        server=server,
    )


def _parse(command: type[_Command], call: Call, zone: ZoneInfo, terminal: Terminal) -> _Command:
    instance = parameters.parse(command, call.texts, zone)
    for each in command.parameters():
        value = getattr(instance, each.name)
        if isinstance(value, words.Moment) and words.is_ambiguous(value, zone):
            terminal.note(
                f"{each.name}: the clocks showed that time twice; the later one is taken."
            )
    return instance


def _dated(error: BackupError, server: Server) -> BackupError:
    """Name the first moment that an error speaks of in the server's time zone."""
    if error.code == "before_first_backup" and "first" in error.details:
        first = output.spell_value("first_moment", error.details["first"], server.zone_info)
        error.hint = f"The first moment there is: {first}."
    return error


# Operations


def _operate(
    command: type[Operation],
    call: Call,
    servers: Sequence[Server],
    *,
    switches: Switches,
    terminal: Terminal,
) -> list[Answer]:
    """Queue the operation on every server, then follow those that accepted it if that is asked."""
    started = [_start(command, call, server, terminal) for server in servers]
    answers = []
    for each in started:
        if isinstance(each, Answer):
            answers.append(each)
        elif switches.sync or switches.progress:
            answers.append(_follow(each, switches, terminal))
        else:
            answers.append(_accepted(each, terminal))
    return answers


def _start(
    command: type[Operation], call: Call, server: Server, terminal: Terminal
) -> QueuedOperation | Answer:
    """Queue an operation whose check found nothing against it; else say what it found."""
    try:
        row = asking.start(server, _parse(command, call, server.zone_info, terminal))
    except BackupError as error:
        _note(command, server, result=audit.REFUSED, detail=str(error))
        return output.refusal(server.name, _dated(error, server), before_start=True)
    about = telling.subject(row)
    _note(command, server, detail=f"queued as {row.pk}" + (f": {about}" if about else ""))
    return row


def _note(
    command: type[Operation], server: Server, *, result: str = audit.DONE, detail: str
) -> None:
    audit.note_as(
        hosting.user_name(),
        command.command,
        client=audit.CLI,
        subject=server.name,
        result=result,
        detail=detail,
    )


def _accepted(row: QueuedOperation, terminal: Terminal) -> Answer:
    if ledger.has_no_worker(row.server):
        terminal.note(operations.no_worker_note(row.server))
    return Answer(host=row.server.name, response=backup.started(row), text=backup.started_text(row))


def _follow(row: QueuedOperation, switches: Switches, terminal: Terminal) -> Answer:
    if not switches.sync and ledger.has_no_worker(row.server):
        return _accepted(row, terminal)
    return _watch(row, switches, terminal, in_blocks=switches.progress)


def _about_one(
    command: type[OperationCommand], call: Call, switches: Switches, terminal: Terminal
) -> Answer:
    """Watch or stop one operation, wherever it is."""
    instance = _parse(command, call, _UTC, terminal)
    row = instance.find(getattr(instance, "operation_host", "") or switches.host)
    if isinstance(instance, DoStopOperation):
        try:
            response = instance.stop(row)
        except BackupError as error:
            return output.refusal(row.server.name, error)
        return Answer(host=row.server.name, response=response)
    if row.has_ended:
        terminal.text(output.tree(operations.operation_block(row), row.server.zone_info))
        return _result(row, switches, terminal)
    if not switches.sync and ledger.has_no_worker(row.server):
        terminal.note(operations.no_worker_note(row.server))
    return _watch(row, switches, terminal, in_blocks=True)


def _watch(
    row: QueuedOperation, switches: Switches, terminal: Terminal, *, in_blocks: bool
) -> Answer:
    terminal.text(backup.started_text(row))
    try:
        row = following.follow(row, terminal, may_drain=switches.sync, in_blocks=in_blocks)
    except following.Left:
        row.refresh_from_db()
        terminal.note(f"{row.command} goes on; follow it: {telling.monitor_command(row)}")
        status = output.EXIT_LEFT if switches.sync else output.EXIT_OK
        return Answer(
            host=row.server.name, response=backup.started(row), exit_status=status, text=""
        )
    return _result(row, switches, terminal)


def _result(row: QueuedOperation, switches: Switches, terminal: Terminal) -> Answer:
    report = row.outcome.get("report", {})
    for note in (*report.get("warnings", ()), *report.get("notes", ())):
        terminal.note(note)
    log = hosting.log_file(row.pk)
    if row.losses and log.exists():
        terminal.note(f"The reasons are in {log}.")
    return Answer(
        host=row.server.name,
        response=backup.ended(row),
        error=backup.ended_error(row),
        exit_status=_exit_status(row) if switches.sync else output.EXIT_OK,
        text=backup.ended_text(row),
    )


def _exit_status(row: QueuedOperation) -> int:
    found = connect.values(row.server)[properties.EXIT_CODES].value
    return output.exit_of_state(row.state, losses=row.losses, compat=found == "compat")
