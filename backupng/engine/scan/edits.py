"""Records that change what is there: moves, flags, tags, colours, names, dates, copies, deletions.

A positive id of a known item that is no conversation is exact. Everything else the record only
hints at: conversations, virtual ones (`-N` stands for the message N), items that a constraint may
have left out, items unknown here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from operator import attrgetter
from typing import Final

from backupng.engine.mailserver.zimbra.codes import (
    MIRRORED_FLAGS,
    UNNUMBERED_BITS,
    Flag,
    SystemFolder,
    bits_of,
    letters_of,
    three_bytes,
)
from backupng.engine.model import CONVERSATION, FOLDER_LIKE, ItemId, ItemKind, ItemState
from backupng.engine.scan.arrivals import tag_names
from backupng.engine.scan.effects import Effect, Operation, exactly, joined, touching
from backupng.engine.scan.known import Known

_KEEP_FLAGS: Final = -(2**31)
_TAG: Final = 3
_FLAG_OF_NAME: Final = {
    name.lower(): Flag(1 << (-tag_id - 1)) for tag_id, name in MIRRORED_FLAGS.items()
}
_CONVERSATIONS: Final = frozenset({-1, 4})
"""Types in a record whose ids may be conversations."""
_NOT_COPIED: Final = FOLDER_LIKE | {
    ItemKind.APPOINTMENT,
    ItemKind.TASK,
    ItemKind.CONVERSATION,
}
_MESSAGES: Final = frozenset({ItemKind.MESSAGE, ItemKind.CHAT})

_visible: Final = attrgetter(
    *("kind", "folder_id", "name", "subject", "sender", "recipients", "flags", "unread"),
    *("tags", "color", "date", "size", "digest"),
)
"""What records of this page change, or leave as it was."""

Change = Callable[[ItemState], ItemState | None]
"""What a record makes of a state; None if that cannot be told."""


def move_items(op: Operation, known: Known) -> Effect:
    """Items went to another folder; what comes into the Trash is read from then on."""
    target = ItemId(op.fields["destFolderId"])
    to_trash = known.is_in_trash(target)

    def move(state: ItemState) -> ItemState:
        read = to_trash and state.kind in _MESSAGES and not known.is_in_trash(state.folder_id)
        return _placed(op.changed(state, folder_id=target, unread=state.unread and not read))

    folders = [item for item in _ids(op) if item > 0 and _is_folder(known, ItemId(item))]
    inside = [_unread_below(known, ItemId(item)) for item in folders] if to_trash else []
    return joined([_each(op, known, move), Effect(touched=frozenset().union(*inside))])


def alter_tag(op: Operation, known: Known) -> Effect:
    """A tag, or a flag by its backslashed name, was put on items or taken off."""
    name, tagged = op.fields.get("tagName"), op.fields["tagged"]
    if name is None:
        return _only_hints(op, known)
    if name.startswith("\\"):
        flag = _FLAG_OF_NAME.get(name.lower())
        if flag is None:
            return _only_hints(op, known)
        return _each(op, known, lambda state: _with_flag(op, state, flag, on=tagged))
    (stored,) = tag_names([known.spelling(name.strip())]) or ("",)
    return _each(op, known, lambda state: _with_tag(op, state, stored, on=tagged))


def set_tags(op: Operation, known: Known) -> Effect:
    """Flags and tags of items were set as a whole, or kept where the record says so."""
    bits, tags = op.fields["flags"], op.fields.get("tags")

    def set_both(state: ItemState) -> ItemState:
        flags, unread = state.flags, state.unread
        if bits != _KEEP_FLAGS:
            # What the server computes, or never changes later, stays.
            kept = bits_of(state.flags) & UNNUMBERED_BITS
            flags = letters_of(bits & ~UNNUMBERED_BITS | kept)
            unread = bool(bits & Flag.UNREAD)
        names = state.tags if tags is None else tag_names(tags)
        return op.changed(state, flags=flags, unread=unread, tags=names)

    return _each(op, known, set_both)


def color_items(op: Operation, known: Known) -> Effect:
    """Items got another colour."""
    return _each(op, known, lambda state: op.changed(state, color=op.fields["color"]))


def date_item(op: Operation, known: Known) -> Effect:
    """An item got another date."""
    date = op.fields["date"] // 1000
    return _one(op, known, "id", lambda state: op.changed(state, date=date))


def rename_item(op: Operation, known: Known) -> Effect:
    """An item got another name, perhaps in another folder; a tag's bearers follow it."""
    name, folder = three_bytes((op.fields["name"] or "").rstrip(" ")), op.fields["folderId"]

    def rename(state: ItemState) -> ItemState:
        subject = name if state.subject == state.name else state.subject
        place = state.folder_id if folder <= 0 else ItemId(folder)
        return op.changed(state, name=name, subject=subject, folder_id=place)

    last = known.living(ItemId(op.fields["id"]))
    followers = _bearers(known, last)
    if last is None and op.fields["type"] == _TAG:
        followers = _bearers_of_unknown(known)
    if last is not None and last.kind in FOLDER_LIKE and known.is_in_trash(ItemId(folder)):
        followers = _unread_below(known, last.item_id)
    return joined([_one(op, known, "id", rename), _touch(followers)])


def copy_items(op: Operation, known: Known) -> Effect:
    """Items were copied into a folder, or brought back from the dumpster."""
    target = ItemId(op.fields["destFolderId"])
    effects = []
    for copy in op.fields.get("copies") or ():
        source = known.content(ItemId(copy["srcId"]))
        if source is None or source.kind in _NOT_COPIED:
            effects.append(touching(copy["destId"]))
        else:
            state = replace(op.changed(source, folder_id=target), item_id=ItemId(copy["destId"]))
            effects.append(exactly([_placed(state)]))
    return joined(effects)


def delete_items(op: Operation, known: Known) -> Effect:
    """Items were deleted. A folder perhaps: the record also begins a deletion that goes on."""
    effects = []
    for item in _ids(op):
        last = known.living(ItemId(abs(item)))
        if last is None and op.fields["type"] == _TAG:
            effects.append(_touch(_bearers_of_unknown(known)))
        elif item < 0 or last is None or op.fields["hasConstraint"]:
            effects.append(_doom({ItemId(abs(item)), *_members(op, known, item, last)}))
        elif last.kind in FOLDER_LIKE or last.kind is ItemKind.CONVERSATION:
            effects.append(_doom({last.item_id, *_members(op, known, item, last)}))
        else:
            effects.append(_deletion(op, known, last))
    exact = {state.item_id for each in effects for state in each.exact}
    joint = joined(effects)
    return replace(joint, doomed=joint.doomed - exact)


def empty_folder(op: Operation, known: Known) -> Effect:
    """Old servers only: everything in a folder was deleted, perhaps what never was seen too."""
    folder = ItemId(op.fields["folderId"])
    inside = known.below(folder) if op.fields["subfolders"] else known.index.inside(folder)
    return Effect(doomed=frozenset(inside), whole="a folder was emptied by an old server")


def purge_imap_deleted(op: Operation, known: Known) -> Effect:
    """Everything that IMAP had marked as deleted was deleted."""
    settled = known.index.marked - known.ahead
    marked = {item for item, is_marked in known.marked.items() if is_marked}
    return Effect(
        doomed=frozenset(settled | marked), maybe=frozenset(known.ahead - known.marked.keys())
    )


def _deletion(op: Operation, known: Known, last: ItemState) -> Effect:
    comments = known.index.children(last.item_id) if last.kind is ItemKind.DOCUMENT else ()
    return Effect(
        exact=(op.deletion(last.item_id, last.kind),),
        touched=_bearers(known, last),
        doomed=frozenset(comments),
    )


def _each(op: Operation, known: Known, change: Change) -> Effect:
    """Apply a change to every item that a record names."""
    return joined(_to_item(op, known, item, change) for item in _ids(op))


def _one(op: Operation, known: Known, key: str, change: Change) -> Effect:
    return _to_item(op, known, op.fields[key], change)


def _to_item(op: Operation, known: Known, item: int, change: Change) -> Effect:
    last = known.living(ItemId(item)) if item > 0 else None
    if last is None or last.kind is ItemKind.CONVERSATION or op.fields.get("hasConstraint"):
        return _touch({ItemId(abs(item)), *_members(op, known, item, last)})
    state = change(last)
    if state is None:
        return touching(item)
    if _looks_same(last, state):
        return Effect(seen=frozenset({last.item_id}))
    return exactly([state])


def _looks_same(before: ItemState, after: ItemState) -> bool:
    """Say whether a record only repeated what was so already: then nothing has changed."""
    return _visible(before) == _visible(after)


def _only_hints(op: Operation, known: Known) -> Effect:
    return joined(touching(abs(item)) for item in _ids(op))


def _ids(op: Operation) -> Iterator[int]:
    """Yield the ids a record names; -1 means none, a virtual conversation is left to its twin."""
    legacy = op.fields["legacyId"]
    named = [legacy] if legacy > 0 else op.fields["ids"]
    positive = {item for item in named if item > 0}
    for item in dict.fromkeys(named):
        if item > 0 or (item < -1 and -item not in positive):
            yield item


def _with_flag(op: Operation, state: ItemState, flag: Flag, *, on: bool) -> ItemState:
    if flag is Flag.UNREAD:
        return op.changed(state, unread=on)
    bits = bits_of(state.flags)
    return op.changed(state, flags=letters_of(bits | flag if on else bits & ~flag))


def _with_tag(op: Operation, state: ItemState, name: str, *, on: bool) -> ItemState:
    # The server finds a tag in any case.
    there = [each for each in state.tags if each.casefold() == name.casefold()]
    if on:
        return op.changed(state, tags=state.tags if there else (*state.tags, name))
    return op.changed(state, tags=tuple(each for each in state.tags if each not in there))


def _placed(state: ItemState) -> ItemState:
    """Return a state as its folder has it: Junk is in no conversation."""
    if state.folder_id != ItemId(SystemFolder.JUNK):
        return state
    fields = {name: value for name, value in state.fields.items() if name != CONVERSATION}
    return replace(state, fields=fields)


def _is_folder(known: Known, item: ItemId) -> bool:
    last = known.living(item)
    return last is not None and last.kind in FOLDER_LIKE


def _unread_below(known: Known, folder: ItemId) -> frozenset[ItemId]:
    briefs = known.index.briefs
    return frozenset(item for item in known.below(folder) if briefs[item].kind in _MESSAGES)


def _bearers(known: Known, tag: ItemState | None) -> frozenset[ItemId]:
    """Return the items that bear a tag; none if it is not a tag."""
    if tag is None or tag.kind is not ItemKind.TAG:
        return frozenset()
    return frozenset(known.index.bearers(tag.name or ""))


def _bearers_of_unknown(known: Known) -> frozenset[ItemId]:
    """Return the items that bear any tag unknown here: made on the way, and gone since."""
    names = {state.name for state in map(known.living, known.index.tags) if state}
    lost = known.index.tag_names() - names
    return frozenset().union(*map(known.index.bearers, lost))


def _members(op: Operation, known: Known, item: int, last: ItemState | None) -> frozenset[ItemId]:
    """Return the messages of a conversation, also of one that was never seen itself."""
    is_one = last is not None and last.kind is ItemKind.CONVERSATION
    if not is_one and (last is not None or item < 0 or op.fields["type"] not in _CONVERSATIONS):
        return frozenset()
    return frozenset(known.index.children(ItemId(item)))


def _doom(items: Iterable[ItemId]) -> Effect:
    return Effect(doomed=frozenset(items))


def _touch(items: Iterable[ItemId]) -> Effect:
    return Effect(touched=frozenset(items))
