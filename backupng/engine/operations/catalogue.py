"""class Catalogue: commands by their names, each loaded when it is asked for.

The process of one operation knows one command only; to load the others, the restores above all,
would take it twice as long to begin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar, cast

_Command = TypeVar("_Command")


class Catalogue(Mapping[str, type[_Command]], Generic[_Command]):
    """Maps the name of a command to its class; made of names and `module.Class` beside this one."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, command: str) -> type[_Command]:
        module, _, name = self._places[command].partition(".")
        loaded = import_module(f"{__package__}.{module}")
        return cast("type[_Command]", getattr(loaded, name))

    def __contains__(self, command: object) -> bool:
        return command in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
