"""Undelete: what was deleted in a period, how it comes back, and what is back already."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import heappop, heappush
from itertools import pairwise
from typing import Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BrokenItem, ItemError
from backupng.engine.mailserver.port import MailboxWriter
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import Flag, SystemFolder, folded
from backupng.engine.mailserver.zimbra.grants import aim_of
from backupng.engine.model import FOLDER_LIKE, AccountId, Digest, ItemId, ItemKind, ItemState
from backupng.engine.restore.inject import Injection
from backupng.engine.restore.origins import Origins
from backupng.engine.restore.rename import Plan, Planned
from backupng.engine.restore.select import Selection, living_at

_DELETED_LETTER: Final = "x"
_TOP: Final = ItemId(SystemFolder.USER_ROOT)
_OF_UNDELETE: Final = re.compile(r"undelete_[0-9]{2}_[0-9]{2}_[0-9]{2}(_[0-9]{1,4})?")
_DATED: Final = frozenset({ItemKind.MESSAGE, ItemKind.CHAT})
_TOLD_BY_METADATA: Final = frozenset({ItemKind.APPOINTMENT, ItemKind.TASK, ItemKind.NOTE})


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
        """Say whether what was found is another one that came after the item had gone."""
        if found == state.item_id:
            return False
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
    contents: dict[ItemId, tuple[bytes, ItemId, datetime]] = field(default_factory=dict)
    """A digest of what each item holds, the document of a comment, and when the item came."""
    copies: dict[ItemId, ItemId] = field(default_factory=dict)
    """Which one comes in place of each that does not."""
    merged: int = 0
    """How many folders come as one with another of their path; items of both are in it."""

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
        """Complete a plan: folders for what comes back, all below `top` if there is one.

        What an earlier Undelete brought into its folder belongs where that had it from, and comes
        only once if the first one of it was deleted in the period, too.
        """
        plan.top = top
        plan.frame = self.origins.frame
        _without_undeletes(plan)
        folders, plan.folders = plan.folders, _merged(plan.folders, plan.frame)
        self.merged = len(folders) - len(plan.folders)
        plan.shares = _merged(plan.shares, plan.frame)
        self._find_copies(plan)
        plan.items = [item for item in plan.items if item.item_id not in self.copies]
        return plan

    def _find_copies(self, plan: Plan) -> None:
        """Find of those with one content in one folder all that came after another had gone.

        Two that were there at one time are two. Documents' comments go after them.
        """
        folders = {each.item_id: each for each in plan.frame}
        places: dict[tuple[object, ...], Alike] = defaultdict(Alike)
        for item in sorted(plan.items, key=_documents_first):
            content, parent, came = self.contents[item.item_id]
            parent = self.copies.get(parent, parent)
            alike = places[_path(item.folder_id, folders), content, parent]
            first = alike.add(item.item_id, came, self.gone.moments[item.item_id])
            if first != item.item_id:
                self.copies[item.item_id] = first

    def injection(
        self, selection: Selection, writer: MailboxWriter, holds: frozenset[ItemKind]
    ) -> Injection:
        """Return what brings it back to the mailbox itself."""
        return Injection(
            selection=selection,
            writer=writer,
            holds=holds,
            accounts={self.gone.account: self.gone.account},
            known=self.gone,
            at_home=True,
            again=True,
        )

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
        if state.kind is ItemKind.COMMENT:
            document = ItemId(state.row.get("parent_id", 0))
            state = replace(
                state, row={**state.row, "parent_id": self.copies.get(document, document)}
            )
            self.contents[state.item_id] = _content(state), document, history[0].start
        elif state.kind not in FOLDER_LIKE:
            self.contents[state.item_id] = _content(state), ItemId(0), history[0].start
        return visible(replace(state, folder_id=folder), tag=self.tag)


@dataclass(slots=True)
class Alike:
    """Equal items in one place, in lines: in each, every item came after that before it had gone.

    A line is known by its number, and by when its last item had gone.
    """

    _firsts: list[ItemId] = field(default_factory=list)
    _by_moment: list[tuple[datetime, int]] = field(default_factory=list)
    _by_number: list[tuple[int, datetime]] = field(default_factory=list)
    """A heap, too: of those that had ended when any of the items so far came."""

    def add(self, item: ItemId, came: datetime, gone: datetime) -> ItemId:
        """Put an item into the first line that fits, else into a new one; returns whose line it is.

        As most come in the order of time, hardly more than one line is looked at.
        """
        while self._by_moment and self._by_moment[0][0] <= came:
            moment, line = heappop(self._by_moment)
            heappush(self._by_number, (line, moment))
        passed = list[tuple[int, datetime]]()
        while self._by_number and self._by_number[0][1] > came:
            passed.append(heappop(self._by_number))
        line = heappop(self._by_number)[0] if self._by_number else len(self._firsts)
        for each in passed:
            heappush(self._by_number, each)
        if line == len(self._firsts):
            self._firsts.append(item)
        heappush(self._by_moment, (gone, line))
        return self._firsts[line]


def _without_undeletes(plan: Plan) -> None:
    """Put what lies within folders of earlier Undeletes where those lie, at the top.

    Of the folders in there only those come that nothing else stands for.
    """
    tops = {_TOP}
    folders = [*plan.frame, *plan.folders]
    while found := {each.item_id for each in folders if _is_of_undelete(each, tops)} - tops:
        tops |= found
    above = {each.item_id: each for each in plan.frame}
    within = {each.item_id for each in plan.folders if (tops - {_TOP}) & _chain(each, above)}
    plan.folders = [each for each in plan.folders if each.item_id not in tops]
    plan.folders.sort(key=lambda each: each.item_id in within)
    plan.frame, plan.folders, plan.shares = (
        [replace(each, folder_id=_TOP) if each.folder_id in tops else each for each in part]
        for part in (plan.frame, plan.folders, plan.shares)
    )
    plan.folders = _unlike(plan.folders, plan.frame, within)


def _unlike(
    folders: Sequence[ItemState], frame: Sequence[ItemState], within: Collection[ItemId]
) -> list[ItemState]:
    """Return the folders without those of `within` that have the path of another one."""
    above = {each.item_id: each for each in frame}
    paths = {_path(each.item_id, above) for each in frame}
    found = []
    for each in folders:
        path = (folded(each.name or ""), *_path(each.folder_id, above))
        if each.item_id not in within or path not in paths:
            found.append(each)
        paths.add(path)
    return found


def _merged(folders: Sequence[ItemState], frame: Sequence[ItemState]) -> list[ItemState]:
    """Return the folders, of those of one path the first: what lay in any of them comes there."""
    above = {each.item_id: each for each in frame}
    found: dict[tuple[object, ...], ItemState] = {}
    for each in folders:
        key = (each.kind, _aim(each), folded(each.name or ""), *_path(each.folder_id, above))
        found.setdefault(key, each)
    return [*found.values()]


def _aim(folder: ItemState) -> object:
    """Return what a folder leads to or looks for: one that cannot be read is like no other."""
    try:
        return aim_of(folder)
    except BrokenItem:
        return folder.item_id


def _is_of_undelete(folder: ItemState, tops: Collection[ItemId]) -> bool:
    is_named = _OF_UNDELETE.fullmatch(folder.name or "") is not None
    return is_named and folder.kind is ItemKind.FOLDER and folder.folder_id in tops


def _documents_first(item: Planned) -> tuple[bool, ItemId]:
    return item.kind is ItemKind.COMMENT, item.item_id


def _path(folder: ItemId | None, folders: Mapping[ItemId, ItemState]) -> tuple[object, ...]:
    """Return the names of a folder and of those above it, from below; ids of unknown ones.

    Names that the server takes for one are one.
    """
    names: list[object] = []
    seen = {_TOP}
    while folder is not None and folder not in seen:
        seen.add(folder)
        state = folders.get(folder)
        names.append(folder if state is None else folded(state.name or ""))
        folder = None if state is None else state.folder_id
    return tuple(names)


def _chain(state: ItemState, folders: Mapping[ItemId, ItemState]) -> set[ItemId]:
    """Return the ids of the folders that one lies in."""
    seen = set[ItemId]()
    folder = state.folder_id
    while folder is not None and folder not in seen:
        seen.add(folder)
        folder = folders[folder].folder_id if folder in folders else None
    return seen


def _content(state: ItemState) -> bytes:
    """Return a digest of what a user would call the same; not of flags, tags and colours."""
    revisions = state.side_rows.get("revision", ())
    older = [Digest(each["blob_digest"]) for each in revisions if each.get("blob_digest")]
    parts: list[object] = [state.kind, state.name, state.subject, state.digest]
    parts += [sorted(state.fields.items()), [state.kept_as.get(each, each) for each in older]]
    if state.kind in _DATED:
        parts.append(state.date)
    if state.kind in _TOLD_BY_METADATA:
        parts.append(state.row.get("metadata"))
    return hashlib.blake2b(repr(parts).encode(errors="replace"), digest_size=16).digest()


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
