"""Undelete: what was deleted in a period, how it comes back, and what is back already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import Flag
from backupng.engine.model import FOLDER_LIKE, AccountId, ItemId, ItemKind, ItemState
from backupng.engine.restore.origins import Origins
from backupng.engine.restore.rename import Plan
from backupng.engine.restore.select import Selection, living_at

_DELETED_LETTER: Final = "x"


@dataclass(slots=True)
class Gone:
    """When items that are brought back had gone, and which of them are back: the `Known` of a
    mailbox that gets its own items back.

    An item is back if the backup has it living again, or if an equal one came after it had gone.
    """

    path: BackupPath
    account: AccountId
    moments: dict[ItemId, datetime] = field(default_factory=dict)
    living: set[ItemId] = field(default_factory=set)

    def find(self, item: ItemId) -> ItemId | None:
        """Return the item itself if it lives again."""
        return item if item in self.living else None

    def is_free(self, state: ItemState, found: ItemId) -> bool:
        """Say whether what was found came after the item had gone."""
        try:
            history = self.path.history(self.account, found)
        except ItemError:
            return False
        moment = self.moments.get(state.item_id)
        return not history or (moment is not None and history[0].start >= moment)

    def record(self, pairs: Iterable[tuple[ItemId, ItemId]]) -> None:
        """Remember nothing: the mailbox itself is what is asked the next time."""


@dataclass(slots=True, kw_only=True)
class Deleted:
    """What was deleted from `start` to before `end`: the last living state of each.

    Of several deletions of one item the last is meant. `tag` is put on what comes back. What lived
    at the moment `but_living` is left out.
    """

    gone: Gone
    origins: Origins
    start: datetime
    end: datetime
    tag: str = ""
    but_living: datetime | None = None

    @classmethod
    def of(cls, path: BackupPath, account: AccountId, start: datetime, end: datetime) -> Deleted:
        """Look at one account of a tree."""
        return cls(gone=Gone(path, account), origins=Origins(path, account), start=start, end=end)

    def selection(self) -> Selection:
        """Return what to read."""
        return Selection(
            path=self.gone.path, account=self.gone.account, pick=self.pick, look=self.look
        )

    def plan(self, plan: Plan, *, top: str) -> Plan:
        """Complete a plan: folders for what comes back, all below `top` if there is one."""
        plan.frame, plan.top = self.origins.frame, top
        return plan

    def pick(self, history: Sequence[ItemState]) -> ItemState | None:
        """Choose the state before the last deletion in the period."""
        if self.but_living is not None and living_at(history, self.but_living):
            return None
        for before, after in reversed([*pairwise(history)]):
            if after.deleted and not before.deleted and self.start <= after.start < self.end:
                self.gone.moments[before.item_id] = after.start
                if not history[-1].deleted:
                    self.gone.living.add(before.item_id)
                return before
        return None

    def look(self, history: Sequence[ItemState], state: ItemState) -> ItemState:
        """Return the state as it comes back: where it belongs, visible to IMAP clients."""
        moment = self.gone.moments[state.item_id]
        folder = self.origins.folder_of(history, state, moment)
        return visible(replace(state, folder_id=folder), tag=self.tag)


def visible(state: ItemState, *, tag: str = "") -> ItemState:
    """Return a state without the mark by which IMAP hides what is deleted, and with a tag."""
    if state.kind is ItemKind.TAG or state.kind in FOLDER_LIKE:
        return state
    row = dict(state.row)
    row["flags"] = int(row.get("flags", 0)) & ~int(Flag.DELETED)
    tags = state.tags if not tag or tag in state.tags else (*state.tags, tag)
    if tags:
        row["tag_names"] = codes.join_tags(tags)
    return replace(state, flags=state.flags.replace(_DELETED_LETTER, ""), tags=tags, row=row)
