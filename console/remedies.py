"""What was lost, by cause, with what can be done about each, and as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from backupng.engine.errors import (
    BrokenItem,
    InvalidItem,
    LostBlob,
    NoRoom,
    ReadError,
    ServerFault,
)
from backupng.engine.model import ItemId
from backupng.engine.operations.do_external_restore import ExternalRestore
from backupng.engine.operations.restoring import OLDER_STATE
from backupng.engine.restore.inject import CANNOT_HOLD
from backupng.engine.restore.settling import DIFFERS, NOT_FOUND
from backupng.engine.upkeep.shares import Flaw
from console import telling
from console.models import QueuedOperation

SHOWN_ITEMS = 500
"""More would make a page that nobody reads; the file has them all."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With one of these at its start a cell is a formula to some spreadsheets."""

_UNKNOWN = (
    _("The log of the operation has the reason."),
    _("Look at one of them with getItem."),
)
_ADVICE: dict[str, tuple[str, str]] = {
    ReadError.cause: (
        _("Its metadata or its blob could not be read."),
        _(
            "Look at the permissions and at the disk below the path it was read from, "
            "then run the operation again."
        ),
    ),
    BrokenItem.cause: (
        _("It could be read, but it is not what it claims to be."),
        _(
            "An earlier state may be intact: look with getItem and date all, "
            "and restore as of that moment."
        ),
    ),
    InvalidItem.cause: (
        _("It is intact, but the mail server refuses it."),
        _(
            "The log has the server's words. Refused messages may pass while "
            "zimbra_lmtp_validate_messages is set to false; then run the operation again."
        ),
    ),
    LostBlob.cause: (
        _("Its content is not in the backup any more."),
        _(
            "A Coherency Check looks for more of them; while the item is on the mail server, an "
            "Account Scan saves it anew. Another copy of the Backup Path may have it."
        ),
    ),
    NoRoom.cause: (
        _("It is larger than the mail server takes, or the mailbox has no room for it."),
        _("Raise the limit or the quota, then run the operation again."),
    ),
    ServerFault.cause: (
        _("It is intact; the mail server failed over it."),
        _("The log has the server's words. Run the operation again."),
    ),
    CANNOT_HOLD: (
        _("The destination has no items of this kind."),
        _("Restore it on a mail server that has them."),
    ),
    NOT_FOUND: (
        _("The mail server accepted it, and afterwards it was not there."),
        _("Run the restore into another new account and compare."),
    ),
    DIFFERS: (
        _("The mail server accepted it, and afterwards it was not the same."),
        _("Compare both with getItem; run the restore into another new account."),
    ),
    Flaw.DANGLING: (
        _("It names an account or a group that is not there."),
        _("Import that, or take the grant or the mountpoint away in the mailbox."),
    ),
    Flaw.WRONG_ID: (
        _("It names the id that somebody had on another server."),
        _("doFixShares mends it by the map of the import."),
    ),
    Flaw.NO_TARGET: (
        _("The folder that it shows is not there."),
        _("Share that again and accept it, or delete the mountpoint."),
    ),
    Flaw.NO_GRANT: (
        _("The folder that it shows is not shared with this mailbox."),
        _("Have its owner share it again, or delete the mountpoint."),
    ),
    OLDER_STATE: (
        _("It was restored as an earlier scan had saved it."),
        _("Look in the log of the last scans why they could not read it."),
    ),
}


_ADVICE_ON_IMPORTS: dict[str, str] = {
    BrokenItem.cause: _(
        "An earlier state may be intact: getItem with date all shows it. An import brings the "
        "newest alone: another copy of the source may have that whole; then run it again."
    ),
    LostBlob.cause: _(
        "A Coherency Check of the source looks for more of them. While the item is on the server "
        "that it is from, an Account Scan there saves it anew; another copy of the source may have "
        "it. Then run the import again."
    ),
}
"""What differs where the backup of another server is read, and always as of its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """One item that was not restored, or not read."""

    account: str
    item: ItemId


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The items lost for one cause; `rows` are the first of them, `number` counts all."""

    cause: str
    meaning: str
    advice: str
    rows: tuple[Lost, ...]
    number: int

    @property
    def left_out(self) -> int:
        """How many are not in `rows`."""
        return self.number - len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The words that find the lost items of an account in its web client."""

    account: str
    words: str
    left_out: int


def groups(row: QueuedOperation) -> list[Group]:
    """Return what was lost by cause, the most frequent first."""
    by_cause: dict[str, list[Lost]] = {}
    for lost in telling.losses(row):
        for item, cause in lost.items:
            by_cause.setdefault(cause, []).append(Lost(account=lost.account, item=item))
    ordered = sorted(by_cause.items(), key=lambda each: (-len(each[1]), each[0]))
    return [_group(row, cause, found) for cause, found in ordered]


def by_class(row: QueuedOperation) -> dict[str, list[telling.Finding]]:
    """Return what a Coherency Check has found, by class, as much of it as is shown."""
    found: dict[str, list[telling.Finding]] = {}
    for each in telling.findings(row)[:SHOWN_ITEMS]:
        found.setdefault(each.flaw, []).append(each)
    return found


def searches(row: QueuedOperation) -> list[Search]:
    """Return per account what to type into the search of its web client; it finds no shares."""
    if telling.is_about_shares(row):
        return []
    return [
        Search(
            account=lost.account,
            words=f"item: {','.join(map(str, lost.ids[:SHOWN_ITEMS]))}",
            left_out=max(0, len(lost.ids) - SHOWN_ITEMS),
        )
        for lost in telling.losses(row)
    ]


def as_csv(row: QueuedOperation) -> str:
    """Return everything that was lost as a table that no spreadsheet takes for formulas."""
    table = io.StringIO()
    writer = csv.writer(table, quoting=csv.QUOTE_ALL)
    writer.writerow(("account", "item", "list", "cause"))
    writer.writerows([_harmless(cell) for cell in cells] for cells in _cells(row))
    return table.getvalue()


def _group(row: QueuedOperation, cause: str, found: list[Lost]) -> Group:
    meaning, advice = _ADVICE.get(cause, _UNKNOWN)
    if row.command == ExternalRestore.command:
        advice = _ADVICE_ON_IMPORTS.get(cause, advice)
    return Group(
        cause=cause,
        meaning=gettext(meaning),
        advice=gettext(advice),
        rows=tuple(found[:SHOWN_ITEMS]),
        number=len(found),
    )


def _cells(row: QueuedOperation) -> Iterator[tuple[str, ...]]:
    for lost in telling.losses(row):
        for item, cause in lost.items:
            yield (lost.account, str(item), lost.kind, cause)


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
