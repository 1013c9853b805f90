"""Changes of one mailbox one after the other: what a user does at once is often several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import DirectoryEntry


class Series(Protocol):
    """Somebody who changes a mailbox."""

    def change(self) -> AbstractContextManager[Change]:
        """Make the next change."""


@dataclass(frozen=True, slots=True)
class MailboxSeries:
    """The changes of one account's mailbox, each at the clock's time; ms."""

    sandbox: Sandbox
    account: DirectoryEntry
    clock_ms: Callable[[], int]
    enforce_quota: bool = True

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Make the next change."""
        now_ms, enforce = self.clock_ms(), self.enforce_quota
        with self.sandbox.change(self.account, now_ms=now_ms, enforce_quota=enforce) as change:
            yield change
