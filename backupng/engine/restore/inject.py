"""Inject: make a plan's states on the destination, then read back what is really there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.port import MailboxWriter, Places
from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.model import AccountId, ItemId, ItemKind, ItemState, from_ms
from backupng.engine.restore.dress import described, is_bare
from backupng.engine.restore.rename import FIRST_USER_ID, ROOTS, Plan, unknown_folder

_TICK_EVERY: Final = 25
_NEVER: Final = from_ms(0)
CANNOT_HOLD: Final = "cannot be held by this mail server"
NOT_FOUND: Final = "not found after writing"
DIFFERS: Final = "differs after writing"
_READ_BACK: Final = "kind", "name", "subject", "flags", "unread", "tags", "color", "size", "digest"
"""What must be the same when the destination is read again, besides the folder."""


@dataclass(slots=True)
class Injection:
    """One account's plan on its way into a mailbox.

    Afterwards `restored` maps old ids of folders and items to new ones, `tags_made` are the new
    tags, `skipped` those that were there already, and `unrestored` lists the others with their
    cause (`errors` has the reasons); together they are the plan.
    """

    path: BackupPath
    writer: MailboxWriter
    holds: frozenset[ItemKind]
    accounts: Mapping[AccountId, AccountId]
    tick: Callable[[int, int], None]
    restored: dict[ItemId, ItemId] = field(default_factory=dict)
    tags_made: list[ItemId] = field(default_factory=list)
    skipped: list[ItemId] = field(default_factory=list)
    unrestored: list[tuple[ItemId, str]] = field(default_factory=list)
    errors: list[tuple[ItemId, ItemError]] = field(default_factory=list)
    grants_lost: int = 0
    _places: dict[ItemId, ItemId] = field(default_factory=dict)
    _wanted: dict[ItemId, ItemState] = field(default_factory=dict)
    _done: int = 0
    _total: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """The items so far, by what became of them."""
        return {
            "restored": len(self.restored) + len(self.tags_made),
            "skipped": len(self.skipped),
            "unrestored": len(self.unrestored),
        }

    def run(self, plan: Plan) -> None:
        """Make tags, then folders, then items, then read back."""
        self._total = plan.size
        self._places = {root: root for root in ROOTS}
        self.grants_lost = sum(_grants(state) for state in (*plan.system, *plan.folders))
        for state in plan.tags:
            self._attempt(state, self._put_tag)
        for state in (*plan.system, *plan.folders):
            self._attempt(state, self._put_folder)
        for state in plan.items:
            self._attempt(state, self._put_item)
        self.tick(self._done, self._total)
        self._read_back()

    def _attempt(self, state: ItemState, put: Callable[[ItemState], None]) -> None:
        if state.kind not in self.holds:
            self.unrestored.append((state.item_id, CANNOT_HOLD))
            return
        try:
            put(state)
        except ItemError as error:
            self.unrestored.append((state.item_id, error.cause))
            self.errors.append((state.item_id, error))
        self._done += state.item_id >= FIRST_USER_ID
        if self._done % _TICK_EVERY == 0:
            self.tick(self._done, self._total)

    def _put_tag(self, state: ItemState) -> None:
        made = self.writer.put_tag(state)
        (self.tags_made if made else self.skipped).append(state.item_id)

    def _put_folder(self, state: ItemState) -> None:
        folder, new = self.writer.put_folder(state, self._place(state.folder_id))
        self._places[state.item_id] = folder
        if state.item_id < FIRST_USER_ID:
            return
        if new:
            self.restored[state.item_id] = folder
            self._wanted[folder] = state
        else:
            self.skipped.append(state.item_id)

    def _put_item(self, state: ItemState) -> None:
        places = Places(
            folder=self._place(state.folder_id), items=self.restored, accounts=self.accounts
        )
        if is_bare(state) and state.digest is not None:
            state = described(state, b"".join(self.path.blob(state.digest)))
        item = self.writer.put_item(state, places, self.path.blob)
        self.restored[state.item_id] = item
        self._wanted[item] = state

    def _place(self, folder: ItemId | None) -> ItemId:
        """Return where a folder has gone; one that nobody knows any more is made at the top."""
        old = folder or ItemId(0)
        if old not in self._places:
            lost = ItemState(
                item_id=ItemId(max(old, FIRST_USER_ID)),
                kind=ItemKind.FOLDER,
                mod=0,
                start=_NEVER,
                name=unknown_folder(folder),
            )
            self._places[old], _ = self.writer.put_folder(lost, ROOTS[0])
        return self._places[old]

    def _read_back(self) -> None:
        """Believe only what the destination shows: what is missing or differs is unrestored."""
        found = self.writer.read_back(sorted(self._wanted))
        for item, state in self._wanted.items():
            cause = self._flaw(state, found.get(item))
            if cause:
                self.unrestored.append((state.item_id, cause))
                del self.restored[state.item_id]

    def _flaw(self, wanted: ItemState, found: ItemState | None) -> str:
        """Return what is wrong with an item as the destination shows it; empty if nothing is."""
        if found is None:
            return NOT_FOUND
        placed = found.folder_id == self._place(wanted.folder_id)
        same = all(getattr(wanted, name) == getattr(found, name) for name in _READ_BACK)
        return "" if placed and same else DIFFERS


def _grants(state: ItemState) -> int:
    access = decode_column(state.row.get("metadata")).get("aclm")
    grants = access.get("g") if isinstance(access, dict) else None
    return len(grants) if isinstance(grants, list) else 0
