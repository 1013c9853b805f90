"""The grammar of the command line (`cli.md` §1): words -> switches, command, texts. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from backupng.engine.errors import BadRequest
from backupng.engine.operations.base import Command

Module = Mapping[str, type[Command]]
"""The commands of one module, by name."""

DEFAULT_MODULE = "backup"
PROCESSES = ("run", "worker", "scanner")
"""First words that start a process instead of naming a module."""
_HELP = "--help"
_MAY_BEGIN_WITH_START = frozenset({"doCheckShares", "doSmartScan"})
"""Commands that later manuals print with a first word `start`."""
_CONFIG, _GLOBAL, _ALL = "config", "global", "all_servers"
"""In that module this scope is typed without the host, which is all of them."""
_DATE = re.compile(r"\d{2}/\d{2}/\d{4}")
_TIME = re.compile(r"\d{2}:\d{2}:\d{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """What may stand anywhere in the line; the names of the fields are those of the switches."""

    host: str = ""
    json: bool = False
    progress: bool = False
    sync: bool = False
    offline: bool = False
    yes: bool = False
    version: bool = False
    quiet: bool = False
    no_color: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A command with the texts of its parameters, by their own names."""

    module: str
    command: type[Command]
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Help:
    """A wish for a help page: of everything, of a module or a process, of a command."""

    module: str = ""
    command: type[Command] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process to run in the foreground."""

    name: str


class Usage(BadRequest):
    """The line is not in the grammar; `page` is the help page that shows how it is meant."""

    code = "usage"

    def __init__(self, message: str, *, page: Help | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.page = page


def split(words: Sequence[str]) -> tuple[Switches, list[str]]:
    """Return the switches and the words that are none; a lone `--` ends the switches.

    `--help` stands for the word `help` before the others.
    """
    chosen: dict[str, Any] = {}
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word == "--":
            rest += waiting
        elif word == _HELP:
            rest.insert(0, word[2:])
        elif not word.startswith("--"):
            rest.append(word)
        else:
            name, value = _switch(word, waiting)
            if name in chosen:
                raise Usage(f"The switch --{name.replace('_', '-')} is given twice.")
            chosen[name] = value
    return Switches(**chosen), rest


def wants_json(words: Sequence[str]) -> bool:
    """Say whether the answer is to be JSON, even where the line is not in the grammar."""
    for word in words:
        if word == "--":
            return False
        if word == "--json":
            return True
    return False


def parse(words: Sequence[str], modules: Mapping[str, Module]) -> Call | Help | Process:
    """Return what the words without switches ask for. Raises Usage or BadRequest."""
    if not words:
        return Help()
    first, rest = words[0], words[1:]
    if first.lower() == "help":
        return _parse_help(rest, modules)
    if first.lower() in PROCESSES:
        if rest:
            raise Usage(f"{first} takes no parameters.")
        return Process(name=first.lower())
    module = first.lower()
    if module not in modules:
        module, rest = DEFAULT_MODULE, words
        _check_first_word(words, modules)
    if not rest:
        page = Help(module=module)
        raise Usage(f"The module {module} needs a command.", page=page)
    command = find_command(module, rest[0], modules)
    return Call(module=module, command=command, texts=_texts(command, rest[1:], module))


def find_command(module: str, name: str, modules: Mapping[str, Module]) -> type[Command]:
    """Return a command by its name in any case. Raises BadRequest with the three closest."""
    by_name = {each.lower(): each for each in modules[module]}
    if name.lower() in by_name:
        return modules[module][by_name[name.lower()]]
    raise BadRequest(
        f"The module {module} has no command {name}.",
        code="no_such_command",
        hint=f"The closest names: {', '.join(closest(name, by_name.values()))}.",
        module=module,
        command=name,
    )


def closest(name: str, names: Iterable[str]) -> list[str]:
    """Return the three names that are most like `name`, the best first."""
    by_name = {each.lower(): each for each in names}
    found = difflib.get_close_matches(name.lower(), by_name, n=3, cutoff=0.0)
    return [by_name[each] for each in found]


def _switch(word: str, following: Iterator[str]) -> tuple[str, str | bool]:
    """Return the field that a switch is kept in and its value. Raises Usage for an unknown one."""
    known = {each.name.replace("_", "-"): each.name for each in fields(Switches)}
    known["hostname"] = "host"
    name, equals, value = word[2:].partition("=")
    if name not in known:
        near = ", ".join(f"--{each}" for each in closest(name, known))
        raise Usage(f"There is no switch --{name}.", hint=f"The closest ones: {near}.")
    if known[name] != "host":
        if equals:
            raise Usage(f"The switch --{name} takes no value.")
        return known[name], True
    value = value if equals else next(following, "")
    if not value:
        raise Usage(f"The switch --{name} needs the name of a server.")
    return "host", value


def _parse_help(words: Sequence[str], modules: Mapping[str, Module]) -> Help:
    if not words:
        return Help()
    module, rest = words[0].lower(), words[1:]
    if module not in modules and module not in PROCESSES:
        module, rest = DEFAULT_MODULE, words
        _check_first_word(words, modules)
    if not rest:
        return Help(module=module)
    if module in PROCESSES:
        raise Usage(f"{module} has no commands.")
    if len(rest) > 1:
        raise Usage("help takes a module and a command, nothing else.")
    return Help(module=module, command=find_command(module, rest[0], modules))


def _check_first_word(words: Sequence[str], modules: Mapping[str, Module]) -> None:
    """Tell a wrong module from a command whose module was left out. Raises BadRequest."""
    commands = {name.lower() for module in modules.values() for name in module}
    if words[0].lower() in commands or len(words) < 2 or words[1].lower() not in commands:
        return
    raise BadRequest(
        f"There is no module {words[0]}.",
        code="no_such_module",
        hint=f"The closest names: {', '.join(closest(words[0], modules))}.",
        module=words[0],
    )


def _texts(command: type[Command], words: Sequence[str], module: str) -> dict[str, str]:
    """Assign words to parameters: mandatory ones by position, optional ones by name."""
    page = Help(module=module, command=command)
    words = _join_dates(words)
    if command.command in _MAY_BEGIN_WITH_START and words and words[0].lower() == "start":
        words = words[1:]
    if module == _CONFIG and words and words[0].lower() == _GLOBAL:
        words = [words[0], _ALL, *words[1:]]
    mandatory = [each.name for each in command.parameters() if each.mandatory]
    if len(words) < len(mandatory):
        missing = ", ".join(mandatory[len(words) :])
        raise Usage(
            f"command {command.command} requires more parameters: {missing} missing.", page=page
        )
    texts = dict(zip(mandatory, words, strict=False))
    rest = words[len(mandatory) :]
    if command.may_stand_first and len(rest) % 2:
        # Names and values come in pairs: the odd word is a value without its name.
        rest = [command.may_stand_first, *rest]
    texts.update(_optional_texts(command, rest, page))
    return texts


def _optional_texts(command: type[Command], words: Sequence[str], page: Help) -> dict[str, str]:
    known = {_folded(each.name): each.name for each in command.parameters() if not each.mandatory}
    named = {**command.aliases, **command.other_names}
    known |= {_folded(alias): name for alias, name in named.items()}
    texts: dict[str, str] = {}
    waiting = iter(words)
    for word in waiting:
        name, value = known.get(_folded(word)), next(waiting, None)
        if name is None:
            near = closest(word, known.values())
            hint = f"The closest names: {', '.join(near)}." if near else "It has no optional ones."
            message = f"{command.command} has no optional parameter {word}."
            raise Usage(message, hint=hint, page=page)
        if value is None:
            raise Usage(f"The parameter {name} needs a value.", page=page)
        if name in texts:
            raise Usage(f"The parameter {name} is given twice.", page=page)
        texts[name] = value
    return texts


def _join_dates(words: Sequence[str]) -> list[str]:
    """Join a date that was typed without quotes with the time behind it."""
    joined: list[str] = []
    for word in words:
        if joined and _DATE.fullmatch(joined[-1]) and _TIME.fullmatch(word):
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return joined


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")
