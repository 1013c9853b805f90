"""Help pages in the layout of `cli.md` §1. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backupng.engine.operations import words
from backupng.engine.operations.base import Command, Parameter
from backupng.engine.operations.parameters import kind_of
from console.cli.grammar import PROCESSES, Help, Module

_OVERVIEW = """\
Backup NG: every change of a mail server kept, any mailbox back at any second

Syntax:
   backupng [switches] {module} {command} {value}... [name value]...
   backupng help {module} [{command}]

MODULES
"""
_SWITCHES = """\
SWITCHES

--host {server}     the server meant, where there are several; all_servers for all of them
--json              answer in one line of JSON
--progress          print the progress of the operation
--sync              wait for the end of the operation; its result is the exit status
--offline           the mail server is down: do only what needs the Backup Path alone
--yes               do not ask
--version           print the version
--quiet             print no notes and no progress
--no-color          print no colours
--                  what follows are no switches
"""
_ABOUT = {
    "backup": "scans, restores, and looking into the backup",
    "config": "mail servers: add them, check whether they can be backed up",
    "sandbox": "the embedded mail server: make, fill, change and list it",
    "redolog": "the redo log files of a mail server: print what they hold",
    "run": "keep the console and the workers of this host running, in the foreground",
    "worker": "run what is queued for one server, in the foreground",
    "scanner": "follow the redo log of one server, in the foreground",
}
_LEGEND = "(M) == mandatory parameter, (O) == optional parameter"
_HEADS = ("NAME", "TYPE", "EXPECTED VALUES", "DEFAULT")
_WIDTHS = (20, 21, 35, 0)


def page(wish: Help, modules: Mapping[str, Module]) -> str:
    """Return the page that was asked for."""
    if wish.command:
        return command_page(wish.module, wish.command)
    if wish.module in PROCESSES:
        return process_page(wish.module)
    if wish.module:
        return module_page(wish.module, modules[wish.module])
    names = (*modules, *PROCESSES)
    return f"{_OVERVIEW}\n{_listed({name: _ABOUT[name] for name in names})}\n\n{_SWITCHES}"


def module_page(name: str, module: Module) -> str:
    """List the commands of a module, one line each."""
    lines = {each: module[each].summary for each in sorted(module, key=str.lower)}
    return f"{name}: {_ABOUT[name]}\n\n{_listed(lines)}\n"


def process_page(name: str) -> str:
    """Describe what starts a process."""
    host = "" if name == "run" else " [--host {server}]"
    return f"{name}: {_ABOUT[name]}\n\nSyntax:\n   backupng {name}{host}\n"


def command_page(module: str, command: type[Command]) -> str:
    """Describe one command."""
    parameters = command.parameters()
    blocks = [command.summary, f"Syntax:\n   {_syntax(module, command, parameters)}"]
    if parameters:
        blocks += ["PARAMETER LIST", f"{_table(command, parameters)}\n{_LEGEND}"]
    blocks.append("\n".join(["Usage example:", *command.examples]))
    return "\n\n".join(blocks) + "\n"


def _syntax(module: str, command: type[Command], parameters: Sequence[Parameter]) -> str:
    mandatory = [f"{{{each.values or each.name}}}" for each in parameters if each.mandatory]
    optional = [] if len(mandatory) == len(parameters) else ["[attr1 value1 [attr2 value2..."]
    if command.aliases:
        optional = [f"[{alias} {{{name}}}]" for alias, name in command.aliases.items()]
    return " ".join(["backupng", module, command.command, *mandatory, *optional])


def _table(command: type[Command], parameters: Sequence[Parameter]) -> str:
    """Spell the parameters, as they are typed, as a table; an empty column is left out."""
    typed = {name: alias for alias, name in command.aliases.items()}
    rows = [_row(each, typed.get(each.name, each.name)) for each in parameters]
    shown = [place for place in range(len(_HEADS)) if any(row[place] for row in rows)]
    widths = [
        max(_WIDTHS[place], *(len(row[place]) + 2 for row in (_HEADS, *rows))) for place in shown
    ]
    return "\n".join(
        "".join(
            row[place].ljust(width) for place, width in zip(shown, widths, strict=True)
        ).rstrip()
        for row in (_HEADS, *rows)
    )


def _row(parameter: Parameter, name: str) -> tuple[str, str, str, str]:
    kind = kind_of(parameter.type)
    values = parameter.values or ("true|false" if kind is bool else "")
    mark = "(M)" if parameter.mandatory else "(O)"
    return name + mark, words.WORDS[kind].label, values, parameter.default


def _listed(lines: Mapping[str, str]) -> str:
    width = max(map(len, lines), default=0) + 3
    return "\n".join(f"{name.ljust(width)}{text}" for name, text in lines.items())
