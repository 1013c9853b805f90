"""Histories and blobs read from a tree: whole, checked, and only what a writer can have written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from backupng.engine.backuppath import blobs, layout, metadata, values
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import Place
from backupng.engine.errors import BrokenItem, DamagedBackup, LostBlob
from backupng.engine.model import Digest, EntryState, ItemState, MailboxState

State = TypeVar("State", ItemState, EntryState, MailboxState)
Parse = Callable[[Mapping[str, Any]], State]


def read_states(tree: Tree, path: Place, parse: Parse[State]) -> tuple[State, ...]:
    """Return the states of the history at `path`, oldest first; empty if there is none.

    Raises ReadError when the file cannot be read, BrokenItem when it is damaged.
    """
    lines = intact_lines(tree, path)
    try:
        return tuple(states_of(tree, lines.bodies, parse))
    except BrokenItem as error:
        raise DamagedBackup(f"{tree.root / path} is damaged: {error}.") from error


def intact_lines(tree: Tree, path: Place) -> metadata.Lines:
    """Return the lines of the history at `path`. Raises ReadError, or BrokenItem if damaged."""
    lines = _lines(tree, path)
    if lines.damage:
        # A writer may have cut a torn tail, and written there, while we were reading.
        lines = _lines(tree, path)
    if lines.damage:
        raise DamagedBackup(f"{tree.root / path} is damaged: {lines.damage}.")
    return lines


def states_of(
    tree: Tree, bodies: Iterable[bytes], parse: Parse[State], *, first: int = 1
) -> Iterator[State]:
    """Yield the states that bodies spell, the first of them being number `first` of its history."""
    before: State | None = None
    room = values.LONGEST_FILE
    for number, data in enumerate(bodies, first):
        body = numbered(values.load_body(data), number)
        if values.MORE in body:
            bulk = _bulk(tree, body.pop(values.MORE), room)
            room -= len(bulk)
            body = values.load_body(bulk, longest=values.LONGEST_FILE) | body
        state = parse(body)
        if before is not None and state.start < before.start:
            # Lines order the history; a clock that ran backwards does not.
            state = replace(state, start=before.start)
        before = state
        yield state


def numbered(body: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the body of line `number` as it is. Raises BrokenItem if it bears another number."""
    if type(body.get("n")) is not int or body["n"] != number:
        raise BrokenItem(f"line {number} bears another number")
    return body


def digests_of(state: ItemState) -> frozenset[Digest]:
    """Return the digests of all blobs that a state refers to, its older versions included.

    The blob that a long body keeps its bulk in is its line's, not the state's: `bulk_of`.
    """
    if not (state.side_rows or state.kept_as):
        found = state.digest
        return frozenset([found] if found is not None and layout.is_digest(found) else ())
    named = {state.digest, *state.kept_as.values()}
    named.update(row.get("blob_digest") for row in state.side_rows.get("revision", ()))
    # A SHA-1 of an old row names no blob here: `kept_as` has the name instead.
    return frozenset(each for each in named if each is not None and layout.is_digest(each))


def bulk_of(body: bytes) -> Digest | None:
    """Return the digest of the blob that a body keeps its bulk in. Raises BrokenItem."""
    if b'"more":' not in body:
        return None
    named = values.load_body(body).get(values.MORE)
    return Digest(values.text(named)) if layout.is_digest(named) else None


def read_blob(tree: Tree, digest: Digest, size: int | None = None) -> Iterator[bytes]:
    """Yield a blob's plain bytes; verified, see `blobs.unpack`. Raises ReadError if missing.

    `size` is what its state tells, if one does: what is far larger is not read to its end.
    """
    # A digest may come from a row that somebody else wrote: it must not lead anywhere else.
    file = tree.open(layout.blob_file(digest)) if layout.is_digest(digest) else None
    if file is None:
        raise LostBlob(f"the blob {digest} is missing from {tree.root}")
    try:
        yield from blobs.unpack(file, digest, most=blobs.most_of(size))
    except BrokenItem as error:
        raise DamagedBackup(str(error)) from error


def _lines(tree: Tree, path: Place) -> metadata.Lines:
    data = tree.read(path, limit=values.LONGEST_FILE) or b""
    return metadata.read_lines(data, layout.chain_seed(path))


def _bulk(tree: Tree, digest: object, room: int) -> bytes:
    if not layout.is_digest(digest):
        raise BrokenItem("a state names an impossible blob")
    bulk = bytearray()
    for chunk in read_blob(tree, Digest(values.text(digest))):
        bulk += chunk
        if len(bulk) > room:
            raise BrokenItem("its states are larger than the format allows")
    return bytes(bulk)
