"""Ready: an item whose turn has come in an injection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.port import MailboxWriter
from backupng.engine.model import Digest, ItemId, ItemKind, ItemState, to_ms
from backupng.engine.restore.apart import NAMED, apart, can_stand_apart, renamed
from backupng.engine.restore.compare import is_half_made, is_same

_NAMES: Final = 20
"""Under so many further names an item is looked for."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What an item is to be, where, what is begun of it there, and its bytes if the backup has
    others.
    """

    state: ItemState
    folder: ItemId | None
    begun: ItemId | None = None
    blob: bytes | None = None

    def chunks(self, path: BackupPath, digest: Digest) -> Iterator[bytes]:
        """Yield the plain bytes of a blob of the item. Raises ReadError or BrokenItem."""
        is_last = digest == self.state.digest
        if is_last and self.blob is not None:
            yield self.blob
        else:
            yield from path.blob(digest, size=self.state.size if is_last else None)

    def apart(self, path: BackupPath) -> Ready:
        """Return the item under another name or UID. Raises ItemError."""
        state, blob = apart(
            self.state, lambda digest: b"".join(self.chunks(path, digest)), folder=self.folder
        )
        return replace(self, state=state, blob=blob)


def put_folder(
    writer: MailboxWriter, state: ItemState, parent: ItemId, *, keep: bool, beside: bool
) -> tuple[Ready, ItemId, bool]:
    """Make a folder as the writer does, `beside` one that it cannot be under its next free name.

    Returns it as it was made, its id, and whether it is new.
    """
    while True:
        try:
            return Ready(state, parent), *writer.put_folder(state, parent, keep=keep)
        except InvalidItem as error:
            if not (beside and can_stand_apart(state, error)):
                raise
        state = renamed(state)


def equal_to(
    ready: Sequence[Ready],
    moved: Mapping[ItemId, ItemId],
    writer: MailboxWriter,
    *,
    in_place: bool = False,
    exact: bool = False,
    beside: bool = False,
) -> dict[ItemId, Sequence[ItemId]]:
    """Return for old ids what there is equal; `in_place` only what lies in the folder meant,
    `exact` only what looks as wanted, too.

    `moved` says where the documents of comments have gone. A calendar item is found by its UID,
    wherever it lies; `beside` documents, search folders and mountpoints also by those that
    they get beside others.
    """
    asked = [
        (state, each.folder)
        for each in ready
        for state in (
            _in_new_place(each.state, moved),
            *(_others(each.state) if beside else ()),
        )
    ]
    found: dict[ItemId, Sequence[ItemId]] = {
        # As they are made in this order, the first that was made is the first that is found.
        item: sorted(items)
        for item, items in writer.equal(asked).items()
    }
    if in_place:
        shown = writer.read_back(sorted({item for items in found.values() for item in items}))
        for each in ready:
            items = found.get(each.state.item_id, ())
            there = [item for item in items if item in shown]
            found[each.state.item_id] = [
                item for item in there if _is_back(each, shown[item], exact=exact)
            ]
    return found


def _is_back(ready: Ready, found: ItemState, *, exact: bool) -> bool:
    is_there = found.folder_id == ready.folder
    return is_there and (not exact or _is_wanted(ready.state, found))


def _is_wanted(wanted: ItemState, found: ItemState) -> bool:
    """Say whether an equal item is that state of it, or what a kill has left on the way to it.

    It may have another name. What a kill has left has the date of its coming still, which is after
    that state; what came as another state has that one's.
    """
    if is_same(replace(wanted, name=found.name, subject=found.subject), found):
        return True
    is_late = found.date * 1000 > to_ms(wanted.start)
    return is_late and is_half_made(wanted, found)


def _others(state: ItemState) -> Iterator[ItemState]:
    """Yield an item under its next names; nothing for what gets no other."""
    for _ in range(_NAMES if state.kind in NAMED and state.name else 0):
        state = renamed(state)
        yield state


def _in_new_place(state: ItemState, moved: Mapping[ItemId, ItemId]) -> ItemState:
    """Return a comment as one of its document's new place; anything else as it is."""
    if state.kind is not ItemKind.COMMENT:
        return state
    document = moved.get(ItemId(state.row.get("parent_id", 0)))
    return replace(state, row={**state.row, "parent_id": document})
