"""What an admin's date means to an operation, and how an operation tells a moment to an admin."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest
from backupng.engine.model import AccountId
from backupng.engine.operations.words import DATE_FORMAT, Moment
from backupng.engine.restore.select import ALL_TIME, end_of_second


def before_of(moment: Moment, now: datetime) -> datetime:
    """Return the moment that a date ends with; all time for `last`.

    Raises BadRequest (date_in_future, or bad_value for a keyword that means nothing here).
    """
    if moment.keyword == "last":
        return ALL_TIME
    if moment.at is None:
        raise BadRequest(
            f"{moment.keyword!r} is no moment to restore.", hint="A date, or the word last."
        )
    if moment.at > now:
        raise BadRequest(
            f"{moment.at.strftime(DATE_FORMAT)} UTC lies in the future.",
            code="date_in_future",
            hint="The newest state there is has the word last.",
        )
    return end_of_second(moment.at)


def spelled(moment: datetime, zone: str) -> str:
    """Spell a moment for people: in the server's zone, which is named."""
    return moment.astimezone(ZoneInfo(zone)).strftime(f"{DATE_FORMAT} %Z")


def known_by(path: BackupPath, account: AccountId, before: datetime, *, zone: str) -> str:
    """Say how exactly the backup knows a mailbox at a moment; empty if a scan proves all of it.

    `before` is the end of that moment. Raises BadRequest without any scan, ReadError, BrokenItem.
    """
    require_scanned(path)
    last = datetime.fromtimestamp(path.checkpoint()["smartscan"]["started"] / 1000, UTC)
    if before > end_of_second(last):
        return (
            f"The mailbox is as the scan of {spelled(last, zone)} saw it: "
            "what changed after that is not in the backup."
        )
    scans = (state.start for state in path.mailbox_history(account))
    if later := next((start for start in scans if start >= before), None):
        return (
            f"No scan ran at that moment: items that changed more than once are as the scan of "
            f"{spelled(later, zone)} saw them, and deletions count from that scan on."
        )
    return ""


def require_scanned(path: BackupPath) -> None:
    """Refuse a Backup Path on which no SmartScan has ever ended. Raises BadRequest."""
    if not path.checkpoint():
        raise BadRequest(
            f"No SmartScan has ever ended on {path.tree.root}.",
            code="not_initialized",
            hint=f"Run one: backupng --host {path.form.server_name} backup doSmartScan.",
        )
