"""Marks accounts as uncertain: the next scan of each compares it as a whole (FORMAT.md §5).

Who is uncertain stands in what the Real-Time Scanner says of itself. While it runs, it alone writes
that (`marked`); a recovery and a repair, which run while nobody writes, use `make_uncertain`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from backupng.engine.backuppath import layout, provisioning, values
from backupng.engine.errors import BackupPathBroken, ItemError
from backupng.engine.model import AccountId, to_ms

if TYPE_CHECKING:
    from backupng.engine.backuppath.store import BackupPath

EVERY_ACCOUNT: Final = AccountId("*")
"""Stands for all accounts: a gap in the log, a record of which nothing can be read."""
NOTHING_KNOWN: Final[Mapping[str, Any]] = {"log": None}
"""What is known of what a scanner said once its file was damaged: not even how far it came."""
REASON_SCANNER: Final = "what the Real-Time Scanner said of itself was damaged"


def marked(
    noted: Mapping[str, Any], accounts: Iterable[str], *, since_ms: int, reason: str
) -> dict[str, Any]:
    """Return what was noted of uncertain accounts with some more; the latest time counts."""
    found = dict(noted)
    for account in accounts:
        before_ms = found.get(account, {}).get("since", 0)
        found[account] = {"since": max(since_ms, before_ms), "reason": reason}
    return found


def make_uncertain(
    path: BackupPath, accounts: Collection[str], *, since: datetime, reason: str, role: str
) -> None:
    """Mark accounts, durably, while nobody else writes. Raises BackupPathBroken."""
    if accounts:
        said = path.scanner()
        file = layout.scanner_file(path.form.server_id)
        data = spell_uncertain(path, said, accounts, since=since, reason=reason)
        path.tree.replace(file, data, role=role)


def spell_uncertain(
    path: BackupPath,
    said: Mapping[str, Any],
    accounts: Collection[str],
    *,
    since: datetime,
    reason: str,
) -> bytes:
    """Spell what the scanner said with accounts marked; no scan that is in the tree settles them.

    A clock that went back, or that nobody told, would else mark them before the last scan.
    """
    since_ms = max(to_ms(since), _last_scan_ms(path, accounts))
    noted = marked(said.get("uncertain", {}), accounts, since_ms=since_ms, reason=reason)
    return provisioning.spell_checkpoint(
        {**said, "uncertain": noted}, longest=values.LONGEST_SCANNER
    )


def _last_scan_ms(path: BackupPath, accounts: Collection[str]) -> int:
    """Return when the last scan of some accounts began, as far as that can be read."""
    found = 0
    if EVERY_ACCOUNT in accounts:
        accounts = path.accounts()
        try:
            found = (path.checkpoint().get("smartscan") or {}).get("started", 0)
        except BackupPathBroken:
            found = 0
    for account in accounts:
        try:
            scans = path.mailbox_history(AccountId(account))
        except ItemError:
            continue
        found = max(found, to_ms(scans[-1].start)) if scans else found
    return found
