"""Module `sandbox`, third part: users at work in its mailboxes, at random."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from backupng.engine.errors import BadRequest
from backupng.engine.model import to_ms
from console import connect
from console.cli.base import Console, ConsoleCommand

if TYPE_CHECKING:
    from backupng.engine.mailserver.sandbox.play import Play as Players

_FASTEST = 1000
_LONGEST_S = 7 * 24 * 60 * 60
_SEED_BITS = 31
_DRAWN = -1
_TELL_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Play(ConsoleCommand):
    """Let users work in all mailboxes of a sandbox."""

    command: ClassVar[str] = "play"
    title: ClassVar[str] = "Play"
    summary: ClassVar[str] = "Play: lets users work in all mailboxes, at random and repeatable"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox play mail1",
        "backupng sandbox play mail1 rate 20 seconds 300 seed 7",
    )

    server: str
    rate: int = 5
    seconds: int = 60
    seed: int = field(default=_DRAWN, metadata={"default": "drawn"})

    def perform(self, console: Console) -> dict[str, Any]:
        """Play until the time is over or Ctrl+C is pressed; returns changes and seed."""
        if not 0 < self.rate <= _FASTEST:
            raise BadRequest(f"The rate is a number of acts a second, from 1 to {_FASTEST}.")
        if not 0 < self.seconds <= _LONGEST_S:
            raise BadRequest(f"The seconds are a number from 1 to {_LONGEST_S}.")
        if self.seed < _DRAWN:
            raise BadRequest("The seed is a number from 0 upwards.")
        seed = secrets.randbits(_SEED_BITS) if self.seed == _DRAWN else self.seed
        with connect.sandbox(self.server) as client:
            players = client.play(seed=seed)
            with suppress(KeyboardInterrupt):
                self._play(players, lambda: to_ms(console.clock()))
            return {"changes": players.changes, "seed": seed}

    def _play(self, players: Players, now_ms: Callable[[], int]) -> None:
        begun = told = time.monotonic()
        for number in range(self.rate * self.seconds):
            # Acts that took too long are made up for by those after them.
            time.sleep(max(0.0, begun + number / self.rate - time.monotonic()))
            passed = time.monotonic() - begun
            if passed >= self.seconds:
                break
            players.step(now_ms=now_ms())
            if time.monotonic() >= told + _TELL_EVERY_S:
                told = time.monotonic()
                _tell(f"{players.changes} changes, {self.seconds - passed:.0f} seconds to go")


def _tell(line: str) -> None:
    # Who watched may be gone; that is no reason to stop.
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
