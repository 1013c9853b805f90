"""The end of an account's scan: its last items are made durable, then what was found is noted.

A mailbox's line says that the backup has all that the scan saw, so it is written when that is
durable and not before. Accounts that end together need two groups, however many they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from backupng.engine.backuppath.store import Writer
from backupng.engine.errors import ItemError
from backupng.engine.model import ItemId, Mailbox, MailboxState


@dataclass(frozen=True, slots=True)
class AccountResult:
    """Whether the account had changed, and which of its items could not be saved.

    `mailbox` is None for an account that was never opened.
    """

    changed: bool
    failures: list[tuple[ItemId, ItemError]]
    mailbox: Mailbox | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """An account whose news are in the writer's hands; `state` is the line to end with, if any."""

    mailbox: Mailbox | None
    state: MailboxState | None = None
    changed: bool = False
    failures: list[tuple[ItemId, ItemError]] = field(default_factory=list)

    @property
    def result(self) -> AccountResult:
        """What the scan came to."""
        return AccountResult(self.changed, self.failures, self.mailbox)


def end(writer: Writer, gathered: Sequence[Gathered]) -> list[AccountResult]:
    """End the scans of accounts; then all of them is durable.

    Raises BackupPathUnwritable; then none of them has ended, and they are to be gathered again.
    """
    open_ones = [each for each in gathered if each.state is not None]
    if open_ones:
        writer.commit()
        _take_refused(writer, open_ones)
        for each in open_ones:
            _note(writer, each)
        writer.commit()
        _take_refused(writer, open_ones)
    return [each.result for each in gathered]


def _note(writer: Writer, gathered: Gathered) -> None:
    """Queue the line that says what was found, and what of it could not be saved."""
    if gathered.state is not None:
        unread = tuple(sorted({item for item, _ in gathered.failures}))
        writer.add_mailbox(replace(gathered.state, unread=unread))


def _take_refused(writer: Writer, gathered: Sequence[Gathered]) -> None:
    """Count what the Backup Path refused among the failures of its account."""
    found = {each.mailbox.account_id: each.failures for each in gathered if each.mailbox}
    rest = []
    for account, item, error in writer.refused:
        if account in found:
            found[account].append((item, error))
        else:
            rest.append((account, item, error))
    writer.refused[:] = rest
