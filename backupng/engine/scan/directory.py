"""Bring the directory's entries up to what the mail server's directory says now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from backupng.engine.backuppath.pending import UNSCANNED, lost_history
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import BackupPathError, ItemError
from backupng.engine.mailserver.port import Source
from backupng.engine.mailserver.zimbra.attributes import VOLATILE
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, EntryState
from backupng.engine.scan.cos import disabled_accounts, is_disabled

_KINDS: Final = (
    *(EntryKind.DOMAIN, EntryKind.ACCOUNT, EntryKind.COS, EntryKind.LIST),
    *(EntryKind.SERVER, EntryKind.CONFIG),
)
LEFT_OUT: Final = "backup is off for its class of service"
"""Why an account that is there counts as deleted."""


@dataclass(frozen=True, slots=True)
class DirectoryReading:
    """The directory as it was read: all entries by kind, and the ids of accounts left out."""

    entries: Mapping[EntryKind, list[DirectoryEntry]]
    left_out: frozenset[str]

    @property
    def accounts(self) -> list[DirectoryEntry]:
        """The accounts that are backed up, in the directory's order."""
        found = self.entries[EntryKind.ACCOUNT]
        return [account for account in found if account.entry_id not in self.left_out]

    def to_save(self, kind: EntryKind) -> dict[str, DirectoryEntry]:
        """Return the entries of a kind that are to be living ones in the backup, by id."""
        present = self.accounts if kind is EntryKind.ACCOUNT else self.entries[kind]
        return {entry.entry_id: entry for entry in present}


@dataclass(slots=True)
class DirectoryResult:
    """What saving a reading changed; the names of accounts and classes are as read or last known.

    `dropped` were saved until now and are left out by their class of service from here on, of
    `returned` the opposite is true; `switched_off` and `switched_on` are those classes of service.
    """

    accounts: list[DirectoryEntry]
    left_out: frozenset[str]
    entries: dict[EntryKind, int] = field(default_factory=dict)
    changed: int = 0
    accounts_deleted: int = 0
    accounts_dropped: list[str] = field(default_factory=list)
    accounts_returned: list[str] = field(default_factory=list)
    switched_off: list[str] = field(default_factory=list)
    switched_on: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    kind: EntryKind
    entry_id: str
    before: EntryState | None
    entry: DirectoryEntry | None


class DirectoryScan:
    """One reading of the directory and its way into the Backup Path.

    `started` is the moment from which on what it finds new, changed or gone counts.
    """

    def __init__(
        self,
        source: Source,
        path: BackupPath,
        writer: Writer,
        *,
        started: datetime,
        skip_lists: bool = False,
    ) -> None:
        self._source = source
        self._path = path
        self._writer = writer
        self._started = started
        self._kinds = _kinds(skip_lists=skip_lists)

    def run(self) -> DirectoryResult:
        """Read and save. Durable with the writer's next commit."""
        return self.save(self.read())

    def read(self) -> DirectoryReading:
        """Read the directory; changes nothing anywhere. Raises MailServerError."""
        return _read(self._source, self._kinds)

    def save_entry(self, entry: DirectoryEntry) -> bool:
        """Queue the state of one entry if it is new or has changed; say whether it was."""
        before = self.last_entry(entry.kind, entry.entry_id)
        if _as_before(before, entry):
            return False
        self._writer.add_entry(EntryState(start=self._started, entry=entry))
        return True

    def save(
        self,
        reading: DirectoryReading,
        *,
        since: DirectoryReading | None = None,
        ended: Mapping[AccountId, datetime] | None = None,
    ) -> DirectoryResult:
        """Queue a state of every entry that is new, changed or gone; what is equal adds nothing.

        `ended` tells when accounts went, where that is known; else it is the moment of the reading.
        With `since`, a reading that was saved and committed before, only what differs from it is
        compared with the backup.
        """
        result = DirectoryResult(reading.accounts, reading.left_out)
        for kind in self._kinds:
            present = reading.to_save(kind)
            result.entries[kind] = len(present)
            for change in self._changes(kind, present, since):
                gone_at = (ended or {}).get(AccountId(change.entry_id), self._started)
                self._save(change, reading.left_out, result, gone_at=gone_at)
        return result

    def last_entry(self, kind: EntryKind, entry_id: str) -> EntryState | None:
        """Return the entry's last state; None also if its history cannot be read.

        Then the writer refuses the entry's present state and so reports the damaged history.
        """
        try:
            history = self._path.entry_history(kind, entry_id)
        except ItemError:
            return None
        return history[-1] if history else None

    def _changes(
        self,
        kind: EntryKind,
        present: Mapping[str, DirectoryEntry],
        since: DirectoryReading | None,
    ) -> Iterator[_Change]:
        known = since.to_save(kind) if since and kind in since.entries else None
        ids = self._path.entry_ids(kind) if known is None else known
        for entry_id in {**present, **dict.fromkeys(ids)}:
            entry = present.get(entry_id)
            if known is not None and known.get(entry_id) == entry:
                continue
            before = self.last_entry(kind, entry_id)
            if not _as_before(before, entry):
                yield _Change(kind=kind, entry_id=entry_id, before=before, entry=entry)

    def _save(
        self,
        change: _Change,
        left_out: frozenset[str],
        result: DirectoryResult,
        *,
        gone_at: datetime,
    ) -> None:
        result.changed += 1
        before, entry = change.before, change.entry
        if entry is not None:
            self._writer.add_entry(EntryState(start=self._started, entry=entry))
            _note_living(before, entry, result)
        elif before is not None:
            is_off = change.entry_id in left_out
            if is_off:
                result.accounts_dropped.append(before.entry.name)
            result.accounts_deleted += change.kind is EntryKind.ACCOUNT
            start, reason = (self._started, LEFT_OUT) if is_off else (gone_at, "")
            if change.kind is EntryKind.ACCOUNT and not is_off:
                reason = self._why_unread(AccountId(change.entry_id))
            self._writer.add_entry(replace(before, start=start, deleted=True, reason=reason))

    def _why_unread(self, account: AccountId) -> str:
        """Say of an account that is gone that no scan came in time; empty if one did, or may."""
        try:
            is_read = self._writer.last_mailbox(account) or lost_history(self._path, account)
        except (ItemError, BackupPathError):
            return ""
        return "" if is_read else UNSCANNED


def _kinds(*, skip_lists: bool) -> tuple[EntryKind, ...]:
    return tuple(kind for kind in _KINDS if kind is not EntryKind.LIST or not skip_lists)


def _read(source: Source, kinds: Iterable[EntryKind]) -> DirectoryReading:
    entries = {kind: list(source.entries(kind)) for kind in kinds}
    left_out = disabled_accounts(
        entries[EntryKind.ACCOUNT], entries[EntryKind.COS], entries[EntryKind.DOMAIN]
    )
    return DirectoryReading(entries, left_out)


def read_directory(source: Source, *, skip_lists: bool = False) -> DirectoryReading:
    """Read a directory; changes nothing anywhere. Raises MailServerError."""
    return _read(source, _kinds(skip_lists=skip_lists))


def _as_before(before: EntryState | None, entry: DirectoryEntry | None) -> bool:
    if before is None or before.deleted:
        return entry is None
    return entry is not None and _content(before.entry) == _content(entry)


def _note_living(before: EntryState | None, entry: DirectoryEntry, result: DirectoryResult) -> None:
    """Note what a living entry is news of: a class switched, an account that is back."""
    if entry.kind is EntryKind.ACCOUNT and before is not None and is_left_out(before):
        result.accounts_returned.append(entry.name)
    if entry.kind is EntryKind.COS:
        was_off = before is not None and not before.deleted and is_disabled(before.entry)
        if is_disabled(entry) != was_off:
            (result.switched_on if was_off else result.switched_off).append(entry.name)


def is_left_out(state: EntryState) -> bool:
    """Say whether an account counts as deleted only because its class of service has backup off."""
    return state.deleted and state.reason == LEFT_OUT


def _content(entry: DirectoryEntry) -> DirectoryEntry:
    """Return the entry without what every login changes."""
    kept = {name: each for name, each in entry.attributes.items() if name not in VOLATILE}
    return replace(
        entry, attributes=kept, children=tuple(_content(child) for child in entry.children)
    )
