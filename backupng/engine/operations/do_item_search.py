"""doItemSearch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from sqlite3 import Connection
from typing import Any, ClassVar, Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog import searching
from backupng.engine.catalog.answers import Line
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.catalog.searching import Sought
from backupng.engine.catalog.spool import Spool
from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.model import FOLDER_LIKE, AccountId, ItemId, ItemKind, to_ms
from backupng.engine.operations.base import BackupPathLookup, Context, IncompleteAnswer
from backupng.engine.operations.folder_paths import FolderPaths
from backupng.engine.operations.words import AccountNameOrId, Moment
from backupng.engine.restore.select import ALL_TIME, find_account

_PAGE: Final = 1_000
_ALL: Final = "all"
_KINDS: Final[Mapping[str, tuple[ItemKind, ...]]] = {
    "message": (ItemKind.MESSAGE,),
    "contact": (ItemKind.CONTACT,),
    "folder": tuple(sorted(FOLDER_LIKE)),
    "document": (ItemKind.DOCUMENT,),
    "appointment": (ItemKind.APPOINTMENT,),
    "task": (ItemKind.TASK,),
    "note": (ItemKind.NOTE,),
    "tag": (ItemKind.TAG,),
    # A conversation is nothing of its own: the messages in it are.
    _ALL: tuple(kind for kind in ItemKind if kind is not ItemKind.CONVERSATION),
}
_FILTERS: Final = {_ALL: None, "deleted": True, "not_deleted": False}
_BIGGEST: Final = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class DoItemSearch(BackupPathLookup):
    """Search the items that the backup has of one account, deleted ones above all."""

    command: ClassVar[str] = "doItemSearch"
    title: ClassVar[str] = "Item search"
    summary: ClassVar[str] = (
        "Item search: finds items of an account in the backup, deleted ones unless told otherwise"
    )
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup doItemSearch john@example.com search_string Offer",
        'backupng backup doItemSearch john@example.com type all after "01/03/2024 00:00:00"',
    )

    account: AccountNameOrId
    id: int | None = None
    search_string: str = ""
    type: str = field(default="message", metadata={"values": "|".join(_KINDS)})
    before: Moment | None = field(default=None, metadata={"values": '"dd/MM/yyyy HH:mm:ss"'})
    after: Moment | None = field(default=None, metadata={"values": '"dd/MM/yyyy HH:mm:ss"'})
    raw_metadata: bool = False
    search_filter: str = field(default="deleted", metadata={"values": "|".join(_FILTERS)})
    ignore_case: bool = False

    def look(self, path: BackupPath, ctx: Context) -> dict[str, Any]:
        """Return the items that fit all that is given, ascending by id.

        Each as it was last; its folder by the path that it had then. `before` and `after` are of
        the item's own date, both seconds included.
        """
        sought = self._sought(ctx.now)
        account, entries = find_account(path, self.account)
        with self.catalog(path, ctx) as catalog:
            response = {
                "account": {"id": account, "name": entries[-1].entry.name},
                "items": Spool(self._found(path, catalog, account, sought)),
            }
            unreadable = catalog.unreadable(account)
        self._require_readable(response, [item for item, _ in unreadable])
        return response

    def _sought(self, now: datetime) -> Sought:
        kinds = _chosen("type", self.type, _KINDS)
        deleted = _chosen("search_filter", self.search_filter, _FILTERS)
        since, until = _second("after", self.after, now), _second("before", self.before, now)
        if since is not None and until is not None and since > until:
            raise BadRequest(
                "after lies behind before: nothing can lie between them.",
                code="bad_period",
                hint="after is the earlier one of the two.",
            )
        return Sought(
            text=self.search_string,
            ignore_case=self.ignore_case,
            item=None if self.id is None else ItemId(min(self.id, _BIGGEST)),
            kinds=kinds,
            since=since,
            until=until,
            deleted=deleted,
        )

    def _found(
        self, path: BackupPath, catalog: Catalog, account: AccountId, sought: Sought
    ) -> Iterator[dict[str, Any]]:
        folders = FolderPaths(path, account)
        for line in _lines(catalog, account, sought):
            shown = _shown(line, folders)
            if self.raw_metadata:
                shown["raw_metadata"] = _raw(path, account, line)
            yield shown

    def _require_readable(self, response: dict[str, Any], unreadable: list[ItemId]) -> None:
        """Say which items nobody can search, of those that are asked for."""
        missing = [item for item in unreadable if self.id in (None, item)]
        if missing:
            named = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
            raise IncompleteAnswer(
                f"The backup of {len(missing)} item(s) cannot be read, and was not searched:"
                f" {named}.",
                response,
                hint="A Coherency Check is due: backupng backup doCoherencyCheck.",
            )


def _lines(catalog: Catalog, account: AccountId, sought: Sought) -> Iterator[Line]:
    after = 0

    def ask(connection: Connection, number: int) -> list[Line]:
        return searching.last_contents(connection, number, sought, after=after, limit=_PAGE)

    while page := catalog.ask(account, ask):
        yield from page
        after = page[-1].item


def _shown(line: Line, folders: FolderPaths) -> dict[str, Any]:
    return {
        "id": line.item,
        "type": line.kind.value,
        "date": line.date * 1000 or None,
        "folder": folders.find(line.folder, line.until or ALL_TIME),
        "name": line.name,
        "subject": None if line.kind in FOLDER_LIKE else line.subject,
        "sender": line.sender,
        "deleted": None if line.until is None else to_ms(line.until),
        "size": line.size,
    }


def _raw(path: BackupPath, account: AccountId, line: Line) -> dict[str, Any] | None:
    """Return the row of the state and those beside it, as the mail server's database had them."""
    try:
        state = path.history(account, line.item)[line.number - 1]
    except (ItemError, IndexError):
        # Found by the catalog, and changed or damaged since.
        return None
    return {
        "mod": state.mod,
        "source": state.source,
        "row": dict(state.row),
        "side_rows": {table: list(map(dict, rows)) for table, rows in state.side_rows.items()},
    }


def _chosen(name: str, word: str, choices: Mapping[str, Any]) -> Any:
    if word.lower() not in choices:
        raise BadRequest(
            f"{name}: {word!r} is not accepted.",
            hint=f"Expected: {', '.join(choices)}.",
            parameter=name,
            value=word,
        )
    return choices[word.lower()]


def _second(name: str, moment: Moment | None, now: datetime) -> int | None:
    if moment is None:
        return None
    if moment.at is None:
        raise BadRequest(
            f"{name}: {moment.keyword!r} is not accepted.", hint="Expected: a date.", parameter=name
        )
    if moment.at > now:
        raise BadRequest(
            f"{name} lies in the future.", code="date_in_future", hint="Give a date up to now."
        )
    return to_ms(moment.at) // 1000
