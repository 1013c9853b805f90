"""Which accounts there are, whose mailbox is whose, and which of them are not backed up.

The redo log knows nothing of the directory, so it is asked once a minute, and when a record tells
that a mailbox came or went. What was found is saved once the log has been read to its end: then
the records before it have told when an account really went.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from backupng.engine.backuppath.pending import UNSCANNED
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import BackupError, ItemError
from backupng.engine.mailserver.port import Source
from backupng.engine.model import (
    AccountId,
    DirectoryEntry,
    EntryKind,
    EntryState,
    from_ms,
)
from backupng.engine.redolog.records import Record
from backupng.engine.scan.directory import (
    DirectoryReading,
    DirectoryScan,
    is_left_out,
)

_EVERY: Final = timedelta(seconds=60)
_CREATED, _DELETED = "CreateMailbox", "DeleteMailbox"
_OF_ACCOUNTS: Final = frozenset({_CREATED, _DELETED, "RenameMailbox"})


@dataclass(slots=True)
class _Life:
    """What records told of one mailbox."""

    account: AccountId
    created: datetime | None = None
    deleted: datetime | None = None


class Roster:
    """The accounts of one server, as a scanner has to know them."""

    def __init__(
        self,
        source: Source,
        path: BackupPath,
        writer: Writer,
        *,
        clock: Callable[[], datetime],
        log: Callable[[str], None],
        skip_lists: bool,
    ) -> None:
        self._source, self._path, self._writer = source, path, writer
        self._clock, self._log, self._skip_lists = clock, log, skip_lists
        self._reading: DirectoryReading | None = None
        self._saved: DirectoryReading | None = None
        self._scan: DirectoryScan | None = None
        self._due = clock()
        self._lives: dict[int, _Life] = {}
        self._owners: dict[int, AccountId] | None = None

    def read(self) -> None:
        """Ask the directory, if it is time to.

        Raises MailServerError only if it never answered: what it said last is better than nothing.
        """
        now = self._clock()
        if now < self._due:
            return
        scan = DirectoryScan(
            self._source, self._path, self._writer, started=now, skip_lists=self._skip_lists
        )
        try:
            self._reading = scan.read()
        except BackupError as error:
            if self._reading is None:
                raise
            self._log(f"The directory does not answer: {error}")
        else:
            self._scan = scan
        self._due = now + _EVERY

    def note(self, record: Record) -> None:
        """Take note of a record that tells of a mailbox as a whole; the directory is asked next."""
        if record.op not in _OF_ACCOUNTS:
            return
        self._due = self._clock()
        mailbox_id, moment = record.envelope.mailbox_id, from_ms(record.envelope.timestamp)
        if record.op == _CREATED:
            account = AccountId(record.fields["accountId"] or "")
            self._lives[mailbox_id] = _Life(account, created=moment)
        elif record.op == _DELETED and (gone := self.account_of(mailbox_id)):
            life = self._lives.setdefault(mailbox_id, _Life(gone))
            life.deleted = moment

    def account_of(self, mailbox_id: int) -> AccountId | None:
        """Return whose a mailbox was that is not there any more; None if nobody knows."""
        if mailbox_id in self._lives:
            return self._lives[mailbox_id].account
        deleted = self._source.deleted_mailbox(mailbox_id)
        if deleted is not None:
            return deleted.account_id
        if self._owners is None:
            self._owners = self._read_owners()
        return self._owners.get(mailbox_id)

    def is_left_out(self, account: AccountId) -> bool:
        """Say whether an account's class of service has backup off, or had it at its end."""
        if self._reading is not None and account in self._reading.left_out:
            return True
        if self._reading is None or account in self._reading.to_save(EntryKind.ACCOUNT):
            return False
        last = self._last(account)
        return last is not None and is_left_out(last)

    def save(self) -> dict[AccountId, str] | None:
        """Queue what the last reading found; None if there was none since.

        Returns the accounts that have to be compared as a whole, and why.
        """
        if self._scan is None or self._reading is None:
            return None
        unseen = self._unseen(self._reading)
        ended = {life.account: life.deleted for life in self._lives.values() if life.deleted}
        for mailbox_id, life in self._lives.items():
            self._keep_short_life(mailbox_id, life)
        result = self._scan.save(self._reading, since=self._saved, ended=ended)
        returned = self._returned(self._reading, set(result.accounts_returned))
        self._saved, self._scan = self._reading, None
        return unseen | dict.fromkeys(returned, "its class of service had backup off")

    def _unseen(self, reading: DirectoryReading) -> dict[AccountId, str]:
        """Return the accounts new here of which neither a record nor a scan told the beginning."""
        known = self._saved.to_save(EntryKind.ACCOUNT) if self._saved else {}
        created = {life.account for life in self._lives.values() if life.created}
        new = {AccountId(account.entry_id) for account in reading.accounts} - known.keys() - created
        return {
            account: "no scan has read it yet"
            for account in sorted(new)
            if self._last(account) is None and not self._is_scanned(account)
        }

    def _is_scanned(self, account: AccountId) -> bool:
        try:
            return bool(self._path.mailbox_history(account))
        except ItemError:
            return True

    def _returned(self, reading: DirectoryReading, names: set[str]) -> frozenset[AccountId]:
        # A scan may have saved their return before; what was left out until now we know ourselves.
        before = self._saved.left_out if self._saved else frozenset()
        return frozenset(
            AccountId(account.entry_id)
            for account in reading.accounts
            if account.name in names or account.entry_id in before
        )

    def _keep_short_life(self, mailbox_id: int, life: _Life) -> None:
        """Save an account that came and went without the directory ever being asked."""
        if life.created is None or life.deleted is None or self._last(life.account) is not None:
            return
        deleted = self._source.deleted_mailbox(mailbox_id)
        if deleted is None or deleted.account_id != life.account:
            return
        name = deleted.name.encode()
        entry = DirectoryEntry(
            kind=EntryKind.ACCOUNT,
            entry_id=life.account,
            name=deleted.name,
            dn="",
            attributes={"zimbraId": (life.account.encode(),), "mail": (name,)},
        )
        self._writer.add_entry(EntryState(start=life.created, entry=entry))
        self._writer.add_entry(
            EntryState(start=life.deleted, entry=entry, deleted=True, reason=UNSCANNED)
        )

    def _last(self, account: AccountId) -> EntryState | None:
        try:
            history = self._path.entry_history(EntryKind.ACCOUNT, account)
        except ItemError:
            return None
        return history[-1] if history else None

    def _read_owners(self) -> dict[int, AccountId]:
        """Return whose mailboxes scans have seen; every account's mailbox history is read."""
        owners: dict[int, AccountId] = {}
        for account in self._path.accounts():
            try:
                history = self._path.mailbox_history(account)
            except ItemError:
                continue
            owners |= {each.mailbox.mailbox_id: account for each in history}
        return owners
