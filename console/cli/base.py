"""Commands that the console answers by itself, and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from backupng.engine.operations.base import Command
from console.models import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What a command may use: the data folder, the clock, standard input, the server meant."""

    data: Path
    now: datetime
    clock: Callable[[], datetime]
    read_input: Callable[[], bytes]
    server: Server | None = None

    @property
    def chosen(self) -> Server:
        """The server of a command that is `on_server`."""
        if self.server is None:
            raise LookupError("the command is not marked as on_server")
        return self.server


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleCommand(Command):
    """A command that is neither queued nor answered by the engine alone.

    One that is `on_server` acts on the server that `--host` names, or on all of them in turn; any
    other answers as `localhost`.
    """

    on_server: ClassVar[bool] = False
    confirmation: ClassVar[str] = ""
    """What an interactive terminal is asked to confirm first, with `{servers}` in it."""

    @classmethod
    def needs_server(cls, texts: Mapping[str, str]) -> bool:
        """Say whether a call with these texts acts on a server."""
        return cls.on_server

    def perform(self, console: Console) -> dict[str, Any]:
        """Do it and return the `response` of the JSON envelope. Raises BackupError."""
        raise NotImplementedError

    def text(self, response: dict[str, Any]) -> str | bytes | None:
        """Return what text mode prints; None for the tree of `cli.md` §5."""
        return None

    def shown(self, response: dict[str, Any]) -> Mapping[str, Any]:
        """Return what that tree is made of."""
        return response
