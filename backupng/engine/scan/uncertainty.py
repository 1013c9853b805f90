"""Which accounts are uncertain, since when and why: what the redo log did not settle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.uncertain import EVERY_ACCOUNT, marked
from backupng.engine.errors import ItemError
from backupng.engine.model import AccountId, from_ms, to_ms


@dataclass(frozen=True, slots=True)
class Uncertain:
    """An account that what the scanner has read does not settle: since when, and why."""

    since: datetime
    reason: str


def uncertain(path: BackupPath, account: AccountId) -> Uncertain | None:
    """Return why an account is uncertain; None if it is not, or was scanned since.

    Raises BadRequest or BackupPathBroken when what the scanner says of itself cannot be read.
    """
    return _newest(path, path.scanner().get("uncertain", {}), account)


class Doubts:
    """As `uncertain`, for many accounts: what the scanner says is read again once it has changed.

    What it notes from now on counts for the next scan, which is why only one that leaves an account
    as it is may ask here.
    """

    def __init__(self, path: BackupPath) -> None:
        self._path = path
        self._mark: tuple[int, ...] | None = None
        self._noted: Mapping[str, Any] = {}

    def of(self, account: AccountId) -> Uncertain | None:
        """Return why an account is uncertain; None if it is not, or was scanned since."""
        mark = self._path.scanner_mark()
        if mark != self._mark:
            self._noted = self._path.scanner().get("uncertain", {})
            self._mark = mark
        return _newest(self._path, self._noted, account)


def _newest(path: BackupPath, noted: Mapping[str, Any], account: AccountId) -> Uncertain | None:
    found = [
        Uncertain(from_ms(each["since"]), str(each.get("reason", "")))
        for each in map(noted.get, (account, EVERY_ACCOUNT))
        if each
    ]
    if not found:
        return None
    newest = max(found, key=lambda each: each.since)
    try:
        scans = path.mailbox_history(account)
    except ItemError:
        return newest
    return None if scans and scans[-1].start > newest.since else newest


class Uncertainty:
    """The accounts that have to be compared as a whole, as the scanner's checkpoint keeps them."""

    def __init__(self, path: BackupPath, said: Mapping[str, Any]) -> None:
        self._path = path
        self._found = dict(said)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, account: AccountId, moment: datetime, reason: str) -> None:
        """Note that an account is uncertain from a moment on; the newest one counts."""
        self._found = marked(self._found, [account], since_ms=to_ms(moment), reason=reason)

    def add_all(self, moment: datetime, reason: str) -> None:
        """Note that all accounts are uncertain."""
        self.add(EVERY_ACCOUNT, moment, reason)

    def prune(self) -> None:
        """Forget what scans have settled since."""
        self._found = {
            account: each
            for account, each in self._found.items()
            if not self._is_settled(AccountId(account))
        }

    def as_json(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        return {account: dict(each) for account, each in self._found.items()}

    def _is_settled(self, account: AccountId) -> bool:
        since = from_ms(self._found[account]["since"])
        if account == EVERY_ACCOUNT:
            scan = self._path.checkpoint().get("smartscan")
            return scan is not None and from_ms(scan["started"]) > since
        try:
            scans = self._path.mailbox_history(account)
        except ItemError:
            return False
        return bool(scans) and scans[-1].start > since
