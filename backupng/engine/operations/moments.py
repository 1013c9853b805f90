"""What an admin's date means to an operation, and how an operation tells a moment to an admin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.model import AccountId, from_ms
from backupng.engine.operations.words import DATE_FORMAT, Moment
from backupng.engine.redolog.behind import unread_since
from backupng.engine.redolog.faults import ForeignRedoLog, RedoLogError
from backupng.engine.redolog.files import LogFiles
from backupng.engine.restore.select import ALL_TIME, end_of_second
from backupng.engine.scan.beside import SCANNER_ROLE, position_of


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


def start_of(moment: Moment, now: datetime, *, name: str = "start_date") -> datetime:
    """Return the moment that a period begins with; before all time for `first`.

    `name` is the parameter that says it.

    Raises BadRequest (date_in_future, or bad_value for a keyword that means nothing here).
    """
    if moment.keyword == "first":
        return datetime.min.replace(tzinfo=UTC)
    if moment.at is None:
        raise BadRequest(
            f"{name}: {moment.keyword!r} is not accepted.",
            hint="Expected: a date, or the word first.",
            parameter=name,
        )
    before_of(moment, now)
    return moment.at.replace(microsecond=0)


def spelled(moment: datetime, zone: str) -> str:
    """Spell a moment for people: in the server's zone, which is named."""
    return moment.astimezone(ZoneInfo(zone)).strftime(f"{DATE_FORMAT} %Z")


def known_by(
    path: BackupPath,
    account: AccountId,
    before: datetime,
    *,
    zone: str,
    log: LogFiles | None = None,
    was_missed: Callable[[datetime], bool] | None = None,
) -> str:
    """Say how exactly the backup knows a mailbox at a moment; empty if it is known exactly.

    `before` is the end of that moment. With the redo log, a scanner that lags behind it is believed
    only up to where it is. `was_missed` is asked as by `missed_until`; without it every item of the
    account may be read. Raises BadRequest without any scan, ReadError, BrokenItem.
    """
    require_scanned(path)
    last = from_ms(path.checkpoint()["smartscan"]["started"])
    lag = lags_since(path, log) if log else None
    followed = _followed_until(path, lag)
    if before > end_of_second(max(last, followed or last)):
        is_followed = path.is_writing(SCANNER_ROLE) and lag is None
        return "" if is_followed else _ends(last, followed, zone)
    reading = partial(_was_missed, path, account, before)
    later = missed_until(path, account, before, was_missed or reading)
    if later is None:
        return ""
    return (
        f"No scan ran at that moment: items that changed more than once are as the scan of "
        f"{spelled(later, zone)} saw them, and deletions count from that scan on."
    )


def end_before(
    path: BackupPath, account: AccountId, start: datetime, *, log: LogFiles | None = None
) -> datetime | None:
    """Return the moment that the backup of an account ends with, if it ends before `start`.

    `log` as for `known_by`. Raises BadRequest without any scan, ReadError, BrokenItem.
    """
    require_scanned(path)
    lag = lags_since(path, log) if log else None
    if path.is_writing(SCANNER_ROLE) and lag is None:
        return None
    scans = [state.start for state in path.mailbox_history(account)[-1:]]
    seen = [from_ms(path.checkpoint()["smartscan"]["started"]), _followed_until(path, lag), *scans]
    end = max(each for each in seen if each is not None)
    return end if start >= end_of_second(end) else None


def missed_until(
    path: BackupPath,
    account: AccountId,
    before: datetime,
    was_missed: Callable[[datetime], bool],
) -> datetime | None:
    """Return the scan that alone tells what came after a moment; None if nothing was missed.

    `before` is the end of that moment; a scan that began within its second tells it. `was_missed`
    says whether of any item a scan alone tells what came first after that, until another moment;
    it is asked only where the Real-Time Scanner ever ran. Raises BadRequest, ReadError, BrokenItem.
    """
    scans = [state.start for state in path.mailbox_history(account)]
    later = next((start for start in scans if start >= before), None)
    if later is None or any(end_of_second(start) == before for start in scans):
        return None
    # Without the scanner, what came and went between two scans was seen by nobody.
    is_followed = _followed_until(path, None) is not None
    if is_followed and not was_missed(later):
        return None
    return later


def lags_since(path: BackupPath, log: LogFiles) -> datetime | None:
    """Return the time of the first change that the Real-Time Scanner has not saved yet.

    None if there is none, or if it never ran.
    """
    try:
        position = position_of(path.scanner())
        since = unread_since(log, position) if position else None
    except (RedoLogError, ForeignRedoLog):
        # What it will read next cannot be told: the time that it gave itself has to do.
        return None
    return None if since is None else from_ms(since)


def _followed_until(path: BackupPath, lag: datetime | None) -> datetime | None:
    """Return up to when the Real-Time Scanner has saved everything; None if it never ran."""
    said = path.scanner()
    if not said.get("log") or "at" not in said:
        return None
    at = from_ms(said["at"])
    return at if lag is None else min(at, lag)


def _ends(last: datetime, followed: datetime | None, zone: str) -> str:
    if followed is not None and followed > last:
        return (
            f"The mailbox is as the Real-Time Scanner saw it at {spelled(followed, zone)}: "
            "what changed after that is not in the backup."
        )
    return (
        f"The mailbox is as the scan of {spelled(last, zone)} saw it: "
        "what changed after that is not in the backup."
    )


def _was_missed(path: BackupPath, account: AccountId, before: datetime, until: datetime) -> bool:
    """Say of which `missed_until` asks; every item of the account is read."""
    for item in path.items(account):
        try:
            history = path.history(account, item)
        except ItemError:
            continue
        following = next((state for state in history if state.start >= before), None)
        if following is not None and following.is_by_scan and following.start <= until:
            return True
    return False


def require_scanned(path: BackupPath) -> None:
    """Refuse a Backup Path on which no SmartScan has ever ended. Raises BadRequest."""
    if not path.checkpoint():
        raise BadRequest(
            f"No SmartScan has ever ended on {path.tree.root}.",
            code="not_initialized",
            hint=f"Run one: backupng --host {path.form.server_name} backup doSmartScan",
        )
