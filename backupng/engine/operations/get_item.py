"""getItem."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar

from backupng.engine.backuppath.blobs import UNPACK
from backupng.engine.backuppath.store import BackupPath, BlobFile
from backupng.engine.errors import BadRequest, ItemError, ReadError
from backupng.engine.model import FOLDER_LIKE, ItemId, ItemState, to_ms
from backupng.engine.operations.base import BackupPathLookup, Context, IncompleteAnswer
from backupng.engine.operations.folder_paths import FolderPaths, last_content
from backupng.engine.operations.moments import before_of
from backupng.engine.operations.words import LAST, AccountNameOrId, Moment
from backupng.engine.restore.select import find_account, state_at

_NEXT = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetItem(BackupPathLookup):
    """Show one item's states as the backup holds them."""

    command: ClassVar[str] = "getItem"
    title: ClassVar[str] = "Item"
    summary: ClassVar[str] = "Item: shows the states of one item in the backup, and its blob"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup getItem john@example.com 49965 dump_blob true",
        "backupng backup getItem admin@example.com 24700 backup_path /mnt/import/ date all",
    )

    account: AccountNameOrId
    item: int
    dump_blob: bool = field(default=False, metadata={"values": "true|false"})
    date: Moment = field(default=LAST, metadata={"values": '"dd/MM/yyyy HH:mm:ss"|all|last'})

    def look(self, path: BackupPath, ctx: Context) -> dict[str, Any]:
        """Return the account and the item's states, oldest first."""
        account, entries = find_account(path, self.account)
        history = path.history(account, ItemId(self.item)) if self.item < 2**31 else ()
        if not history:
            raise BadRequest(
                f"{entries[-1].entry.name} has no item {self.item} in the backup.",
                code="no_such_item",
                hint=f"It has {sum(1 for _ in path.items(account))} items there. They are found by:"
                f" backupng backup doItemSearch {account} type all search_filter all",
            )
        chosen = self._chosen(history, ctx)
        folders = FolderPaths(path, account)
        states = [_shown(path, folders, history, *each) for each in chosen]
        response = {
            "account": {"id": account, "name": entries[-1].entry.name},
            "item": self.item,
            "itemStates": states,
        }
        try:
            _require_blobs(states)
            if self.dump_blob:
                states[-1]["blob_base64"] = _dump(path, last_content(history, chosen[-1][0]))
        except ItemError as error:
            raise IncompleteAnswer(
                f"Item {self.item}: {error}",
                response,
                hint="date all shows older states, whose blobs may be intact.",
            ) from error
        return response

    def _chosen(
        self, history: Sequence[ItemState], ctx: Context
    ) -> list[tuple[ItemState, datetime]]:
        """Return the states to show, each with the moment its folders are looked up for."""
        if self.date.keyword == "all":
            return [(state, state.start + _NEXT) for state in history]
        before = before_of(self.date, ctx.now)
        state = state_at(history, before)
        if state is None:
            raise BadRequest(
                f"Item {self.item} was not in the backup yet at that time.",
                code="before_first_backup",
                hint="date all shows every state.",
                first=to_ms(history[0].start),
            )
        return [(state, before)]


def _shown(
    path: BackupPath,
    folders: FolderPaths,
    history: Sequence[ItemState],
    state: ItemState,
    before: datetime,
) -> dict[str, Any]:
    """Return one element of `itemStates`; a deletion shows the content of the last living state."""
    content = last_content(history, state)
    blob = _find_blob(path, content)
    ends = {before.mod: after.start for before, after in pairwise(history)}
    folder_like = content.kind in FOLDER_LIKE
    return {
        "start_date": to_ms(state.start),
        "end_date": to_ms(ends[state.mod]) if state.mod in ends else None,
        "type": state.kind.value,
        "deleted": state.deleted,
        "folder": folders.find(content.folder_id, before),
        "name": content.name,
        "subject": None if folder_like else content.subject,
        "flags": content.flags,
        "unread": content.unread,
        "tags": list(content.tags),
        "size": content.size,
        "digest": content.digest,
        "blob_path": str(blob.path) if blob else None,
        "unpack": _unpack(blob) if blob else None,
    }


def _find_blob(path: BackupPath, state: ItemState) -> BlobFile | None:
    """Return where the state's blob lies; None if it has none or it cannot be read."""
    try:
        return path.find_blob(state.digest) if state.digest else None
    except ItemError:
        return None


def _unpack(blob: BlobFile) -> str:
    """Return the shell command that prints the blob's plain bytes; the path always quoted."""
    path = str(blob.path).replace("'", "'\\''")
    return f"{UNPACK[blob.codec]} '{path}'"


def _require_blobs(states: Sequence[Mapping[str, Any]]) -> None:
    missing = [each["digest"] for each in states if each["digest"] and not each["blob_path"]]
    if missing:
        raise ReadError(f"the blob {missing[0]} is missing or damaged in the Backup Path")


def _dump(path: BackupPath, state: ItemState) -> str | None:
    if state.digest is None:
        return None
    data = b"".join(path.blob(state.digest, size=state.size))
    return base64.b64encode(data).decode("ascii")
