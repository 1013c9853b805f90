"""Injections for tests: into a mailbox that is there, with a map, on a server that misbehaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from backupng.engine.errors import BackupError
from backupng.engine.mailserver.sandbox.destination import SandboxDestination, SandboxInjection
from backupng.engine.model import DirectoryEntry, ItemId, ItemState
from backupng.engine.restore.inject import Injection
from backupng.engine.restore.rename import order
from backupng.engine.restore.select import ALL_TIME, select_account
from tests.cast import Office

EVENT = (
    b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:u1\r\nSUMMARY:Lunch\r\n"
    b"DTSTAMP:20260301T100000Z\r\nDTSTART:20260302T100000Z\r\nDTEND:20260302T110000Z\r\n"
    b"END:VEVENT\r\nEND:VCALENDAR\r\n"
)


class Killed(BaseException):
    """What a kill is to a test: nothing catches it."""


@dataclass
class Map:
    """A map of old ids to new ones, as an import keeps it; it dies before it records `mortal`."""

    pairs: dict[ItemId, ItemId] = field(default_factory=dict)
    mortal: int = 0

    def find(self, item: ItemId) -> ItemId | None:
        return self.pairs.get(item)

    def is_free(self, _state: ItemState, found: ItemId) -> bool:
        return found not in self.pairs.values()

    def record(self, pairs: Iterable[tuple[ItemId, ItemId]]) -> None:
        found = dict(pairs)
        if self.mortal in found:
            raise Killed
        self.pairs.update(found)


class Hostile(SandboxDestination):
    """A sandbox that answers `put_item` number n with `answers[n]`: before it is done, or after."""

    def __init__(
        self,
        mail: Office,
        *,
        answers: Mapping[int, BackupError] = MappingProxyType({}),
        after: bool = False,
        longest_line: int | None = None,
    ) -> None:
        super().__init__(mail.sandbox, lambda: mail.now)
        self.answers, self.after, self.longest_line = answers, after, longest_line
        self.asked = 0

    @contextmanager
    def open(self, account: DirectoryEntry) -> Iterator[SandboxInjection]:
        with super().open(account) as writer:
            yield HostileInjection(writer, self)  # type: ignore[misc]


class HostileInjection:
    """Passes everything on but what the destination answers otherwise."""

    def __init__(self, writer: SandboxInjection, server: Hostile) -> None:
        self._writer = writer
        self._server = server
        self.longest_line = server.longest_line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def put_item(self, *words: Any, **more: Any) -> ItemId:
        self._server.asked += 1
        answer = self._server.answers.get(self._server.asked)
        if answer is not None and not self._server.after:
            raise answer
        item = self._writer.put_item(*words, **more)
        if answer is not None:
            raise answer
        return item


def inject(
    mail: Office,
    source: str,
    to: str,
    known: Map | None = None,
    *,
    destination: SandboxDestination | None = None,
    **words: Any,
) -> Injection:
    """Bring everything of an account into another one that is there."""
    account = mail.account_id(source)
    destination = destination or mail.destination
    with mail.path as path, destination.open(mail.sandbox.account(to)) as writer:
        selection = select_account(path, account, ALL_TIME)
        injection = Injection(
            selection=selection,
            writer=writer,
            holds=mail.destination.holds,
            accounts={account: mail.account_id(to)},
            known=known,
            **words,
        )
        plan = order(selection.states())
        injection.run(plan)
        assert plan.size == sum(injection.counts.values())
        return injection


def mortal(mail: Office, changes: int) -> SandboxDestination:
    """Return a destination that is killed before it makes one change more."""
    left = iter(range(changes))

    def clock() -> datetime:
        if next(left, None) is None:
            raise Killed
        return mail.now

    return SandboxDestination(mail.sandbox, clock)
