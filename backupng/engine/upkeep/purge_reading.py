"""One history as a purge reads it: is it whole, which blobs does it name, when was it deleted.

Names of blobs are found as what they look like: a text in quotes that could be a digest counts as
one, wherever it stands, so that none is missed and few lines are parsed. What a state really means
says `histories.digests_of`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from backupng.engine.backuppath import histories, metadata, values
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.ground import Folder, Found
from backupng.engine.errors import BrokenItem
from backupng.engine.mailserver.reckoning import Reckoning
from backupng.engine.model import ItemId

_ESCAPED: Final = b"\\u00"
_DELETED: Final = b'"deleted"'
_MORE: Final = b'"more"'
_BEGIN: Final = re.compile(rb'\{"n":[0-9]+,"mod":([0-9]{1,18}),"t":([0-9]{1,15}),')
"""What a writer of ours begins a state with: change number and time."""


@dataclass(frozen=True, slots=True)
class History:
    """A history that is there: its file, and its lines up to the first flaw."""

    found: Found
    lines: metadata.Lines

    @property
    def bodies(self) -> tuple[bytes, ...]:
        """The bodies of its intact lines, oldest first."""
        return self.lines.bodies


def read_history(folder: Folder, name: str, seed: str) -> History | None:
    """Read a history; None if it is not there. Raises ReadError; damage is part of the answer."""
    found = folder.load(name, limit=values.LONGEST_FILE)
    if found is None:
        return None
    lines = metadata.read_lines(found.data, seed)
    if lines.damage:
        # A writer may have cut a torn tail, and written there, while we were reading.
        found = folder.load(name, limit=values.LONGEST_FILE) or found
        lines = metadata.read_lines(found.data, seed)
    return History(found, lines)


def named(tree: Tree, history: History) -> set[bytes]:
    """Return all that a history may name as a blob, its torn tail and its bulk included.

    Raises BrokenItem or ReadError where the bulk cannot be read, or a line is no JSON.
    """
    data = history.found.data
    names = metadata.quoted_digests(data)
    if _ESCAPED in data:
        # JSON may spell any character this way; no writer of ours does.
        names |= metadata.quoted_digests(b"\n".join(map(_plainly, history.bodies)))
    if _MORE in data:
        for body in history.bodies:
            names |= _in_bulk(tree, body)
    return names


def reckon(reckoning: Reckoning, item: ItemId, history: History) -> None:
    """Add an item's last state to what the account has; one that cannot be read is in doubt."""
    last = history.bodies[-1] if history.bodies else b""
    try:
        mod, start_ms, deleted = _end_of(last)
    except (BrokenItem, KeyError, ValueError):
        reckoning.doubt(item)
        return
    if history.lines.torn:
        reckoning.doubt(item)
    else:
        reckoning.add(item, mod=mod, start_ms=start_ms, deleted=deleted)


def is_unseen(reckoning: Reckoning, history: History) -> bool:
    """Say whether a history ends with a deletion that no scan has seen yet.

    Raises BrokenItem for a line that no writer can have written.
    """
    try:
        mod, start_ms, _ = _end_of(history.bodies[-1])
    except (KeyError, ValueError) as error:
        raise BrokenItem("a state has missing or impossible values") from error
    return reckoning.is_unseen(mod=mod, start_ms=start_ms)


def _end_of(last: bytes) -> tuple[int, int, bool]:
    """Return change number, time in ms, and whether it is a deletion."""
    begin = _BEGIN.match(last)
    if begin and _DELETED not in last:
        return int(begin[1]), int(begin[2]), False
    body = values.load_body(last)
    deleted = values.flag(body.get("deleted", False))
    return values.integer(body["mod"]), values.integer(body["t"]), deleted


def deleted_since(bodies: Iterable[bytes], *, before_ms: int | None) -> tuple[int, Any] | None:
    """Return since when, in ms, a history's last state is a deletion, and its body; else None.

    The time of a line is never before that of the lines above it. One that is not before
    `before_ms` is none. Raises BrokenItem for a line that no writer can have written.
    """
    *earlier, last = bodies or (b"",)
    if _DELETED not in last:
        return None
    body = values.load_body(last)
    try:
        since = values.integer(body["t"])
        if not values.flag(body.get("deleted", False)) or _is_late(since, before_ms):
            return None
        since = max([since, *(values.integer(json.loads(each)["t"]) for each in earlier)])
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenItem("a state has missing or impossible values") from error
    return None if _is_late(since, before_ms) else (since, body)


def _is_late(moment_ms: int, before_ms: int | None) -> bool:
    return before_ms is not None and moment_ms >= before_ms


def _in_bulk(tree: Tree, body: bytes) -> set[bytes]:
    digest = histories.bulk_of(body)
    if digest is None:
        return set()
    bulk = b"".join(histories.read_blob(tree, digest))
    found = metadata.quoted_digests(bulk) | metadata.quoted_digests(_plainly(bulk))
    return found | {digest.encode()}


def _plainly(body: bytes) -> bytes:
    try:
        return json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError) as error:
        raise BrokenItem("a line is not the JSON that the format asks for") from error
