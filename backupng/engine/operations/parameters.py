"""Parameters of a command <-> the texts under which command line and queue row carry them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from backupng.engine.errors import BadRequest
from backupng.engine.operations import words
from backupng.engine.operations.base import Command

_Command = TypeVar("_Command", bound=Command)


def kind_of(hint: Any) -> Any:
    """Return the key in `WORDS` of a field's type: `Path | None` is a Path that may be absent."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    return next(kind for kind in get_args(hint) if kind is not NoneType)


def parse(command: type[_Command], texts: Mapping[str, str], zone: ZoneInfo) -> _Command:
    """Build a command from the texts of its parameters. Raises BadRequest."""
    kinds = {each.name: kind_of(each.type) for each in command.parameters()}
    mandatory = {each.name for each in command.parameters() if each.mandatory}
    odd = sorted((texts.keys() - kinds.keys()) | (mandatory - texts.keys()))
    if odd:
        raise BadRequest(
            f"The parameters of {command.command} do not fit this version: {', '.join(odd)}.",
            code="usage",
            hint=f"See: backupng help backup {command.command}.",
        )
    values = {
        name: words.parse(kinds[name], text, name=name, zone=zone) for name, text in texts.items()
    }
    return command(**values)


def spell(command: Command, zone: ZoneInfo) -> dict[str, str]:
    """Return the texts of all parameters that are mandatory or differ from their default."""
    defaults = {each.name: each.default for each in fields(command)}
    return {
        each.name: words.spell(kind_of(each.type), getattr(command, each.name), zone)
        for each in command.parameters()
        if each.mandatory or getattr(command, each.name) != defaults[each.name]
    }
