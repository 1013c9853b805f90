"""Eras: an account whose mailbox begins anew, and with it its ids and change numbers.

A mailbox that was deleted and made again has another number and counts from 1; one that was put
back from an older copy counts on from there. In the Backup Path the numbers of an account only
grow: to those of an era its *base* is added, which lies above all numbers of the eras before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.port import (
    BlobReference,
    Census,
    Configuration,
    DeletedMailbox,
    Source,
)
from backupng.engine.model import (
    AccountId,
    DirectoryEntry,
    EntryKind,
    ItemId,
    ItemState,
    Mailbox,
    MailboxState,
    Row,
)

if TYPE_CHECKING:
    from backupng.engine.redolog.files import LogFiles

_STEP: Final = 1_000_000
"""Bases are multiples of it: what of the era before is still on its way finds room below."""
_UNSAVED: Final = 100
"""The server saves a mailbox's change number now and then only: it may lag by so many."""


def begins_anew(last: MailboxState | None, mailbox: Mailbox) -> bool:
    """Say whether a mailbox is not the one that was last seen of its account."""
    if last is None:
        return False
    saved = mailbox.row.get("change_checkpoint")
    is_older = isinstance(saved, int) and saved + _UNSAVED < last.mod - last.base
    return is_older or mailbox.mailbox_id != last.mailbox.mailbox_id


def era_base(
    path: BackupPath,
    writer: Writer,
    mailbox: Mailbox,
    *,
    went_back: bool = False,
    is_lost: bool = False,
) -> int:
    """Return what the Backup Path adds to the change numbers of a mailbox.

    If the mailbox is not the one that was last seen of its account, or is known to have gone back
    since, a new era begins: that is written at once, with what else waits in the writer's group,
    and whoever asks next gets the same answer. Where the account's mailbox history cannot be read
    it is 0: the writer refuses it then. `is_lost`: where there is none, the numbers of its items
    are looked at; they tell whether one was lost.
    """
    try:
        last = writer.last_mailbox(mailbox.account_id)
        if last is None and is_lost:
            last = _as_items_tell(path, mailbox)
        if last is None or not (went_back or begins_anew(last, mailbox)):
            return last.base if last else 0
        writer.add_mailbox(_beginning(path, last, mailbox))
        writer.commit()
        begun = writer.last_mailbox(mailbox.account_id)
    except ItemError:
        return 0
    return begun.base if begun else 0


def base_of(path: BackupPath, account: AccountId, mailbox_id: int) -> int:
    """Return the base of the last era of a mailbox that may be gone; 0 if it was never seen."""
    try:
        history = path.mailbox_history(account)
    except ItemError:
        return 0
    seen = (each.base for each in reversed(history) if each.mailbox.mailbox_id == mailbox_id)
    return next(seen, 0)


def _beginning(path: BackupPath, last: MailboxState, mailbox: Mailbox) -> MailboxState:
    """Return the line that begins an era; the rest is as in the line before: it is no scan."""
    numbers = (state.mod for state in _last_states(path, mailbox.account_id))
    highest = max((last.mod, *numbers))
    base = (highest // _STEP + 1) * _STEP
    return replace(last, mod=base, mailbox=mailbox, mark="", base=base)


def _as_items_tell(path: BackupPath, mailbox: Mailbox) -> MailboxState | None:
    """Return what a mailbox's last line may have said, by its newest item; None without any."""
    found = max(_last_states(path, mailbox.account_id), key=lambda state: state.mod, default=None)
    if found is None:
        return None
    return MailboxState(start=found.start, mod=found.mod, mailbox=mailbox, mark="")


def _last_states(path: BackupPath, account: AccountId) -> Iterator[ItemState]:
    for item in path.items(account):
        try:
            state = path.last_state(account, item)
        except ItemError:
            continue
        if state is not None:
            yield state


@dataclass(frozen=True, slots=True)
class Numbered:
    """A Source whose change numbers are those of the Backup Path: the server's and a base.

    For the mailbox of one account at a time; everything without a number passes through.
    """

    source: Source
    base: int

    @property
    def server_id(self) -> str:
        """As the source."""
        return self.source.server_id

    @property
    def server_name(self) -> str:
        """As the source."""
        return self.source.server_name

    @property
    def redo_log(self) -> LogFiles:
        """As the source."""
        return self.source.redo_log

    def configuration(self) -> Configuration:
        """As the source."""
        return self.source.configuration()

    def entries(self, kind: EntryKind) -> Iterator[DirectoryEntry]:
        """As the source."""
        return self.source.entries(kind)

    def has_account(self, account_id: str) -> bool:
        """As the source."""
        return self.source.has_account(account_id)

    def snapshot(self) -> AbstractContextManager[None]:
        """As the source."""
        return self.source.snapshot()

    def mailbox(self, account: AccountId) -> Mailbox | None:
        """As the source; its row keeps the server's numbers."""
        return self.source.mailbox(account)

    def mailbox_of(self, mailbox_id: int) -> Mailbox | None:
        """As the source; its row keeps the server's numbers."""
        return self.source.mailbox_of(mailbox_id)

    def deleted_mailbox(self, mailbox_id: int) -> DeletedMailbox | None:
        """As the source."""
        return self.source.deleted_mailbox(mailbox_id)

    def census(self, mailbox: Mailbox) -> Census:
        """As the source: a mark holds within its era."""
        return self.source.census(mailbox)

    def heads(self, mailbox: Mailbox) -> Mapping[ItemId, int]:
        """As the source, the base added."""
        return {item: number + self.base for item, number in self.source.heads(mailbox).items()}

    def dated(self, mailbox: Mailbox, since: int) -> int:
        """As the source, asked with the base added."""
        return self.source.dated(mailbox, since - self.base)

    def traits(self, mailbox: Mailbox, items: Iterable[ItemId] | None = None) -> Iterator[Row]:
        """As the source; rows keep the server's numbers."""
        return self.source.traits(mailbox, items)

    def states(
        self, mailbox: Mailbox, items: Iterable[ItemId]
    ) -> Iterator[tuple[ItemId, ItemState | ItemError]]:
        """As the source, the base added to each `mod`; rows keep the server's numbers."""
        return map(self._numbered, self.source.states(mailbox, items))

    def living(self, mailbox: Mailbox, items: Iterable[ItemId]) -> set[ItemId]:
        """As the source."""
        return self.source.living(mailbox, items)

    def changed(self, mailbox: Mailbox, since: int, until: int) -> list[ItemId]:
        """As the source, asked with the base added."""
        return self.source.changed(mailbox, since - self.base, until - self.base)

    def buried(self, mailbox: Mailbox, since: int, until: int) -> Mapping[ItemId, int]:
        """As the source, the base added, in the question too."""
        found = self.source.buried(mailbox, since - self.base, until - self.base)
        return {item: number + self.base for item, number in found.items()}

    def dumped(
        self, mailbox: Mailbox, since: int, until: int
    ) -> Iterator[tuple[ItemId, ItemState | ItemError]]:
        """As the source, the base added to each `mod`, in the question too."""
        found = self.source.dumped(mailbox, since - self.base, until - self.base)
        return map(self._numbered, found)

    def blobs_of(self, state: ItemState) -> Iterator[BlobReference]:
        """As the source."""
        return self.source.blobs_of(state)

    def blob(self, mailbox: Mailbox, reference: BlobReference) -> Iterator[bytes]:
        """As the source."""
        return self.source.blob(mailbox, reference)

    def _numbered(
        self, found: tuple[ItemId, ItemState | ItemError]
    ) -> tuple[ItemId, ItemState | ItemError]:
        item, state = found
        if isinstance(state, ItemError):
            return found
        return item, replace(state, mod=state.mod + self.base)
