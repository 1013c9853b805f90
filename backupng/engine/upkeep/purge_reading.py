"""One history as a purge reads it: is it whole, which blobs does it name, when was it deleted.

Names of blobs are found as what they look like: a text in quotes that could be a digest counts as
one, wherever it stands, so that none is missed and few lines are parsed. What a state really means
says `histories.digests_of`.

Nearly all histories are whole, and spelled as a writer of ours spells them: for those `told` has
all answers at once. Whatever is different in any way is read with care.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from backupng.engine.backuppath import histories, metadata, values
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.ground import Folder, Found
from backupng.engine.errors import BrokenItem
from backupng.engine.mailserver.reckoning import Reckoning
from backupng.engine.model import ItemId

_ESCAPED: Final = b"\\u00"
_DELETED: Final = b'"deleted"'
_MORE: Final = b'"more"'
_SAID: Final = re.compile(rb'"([A-Za-z0-9+,]{43}=|deleted|more)"')
"""What may name a blob, and the words that make a history need a closer look."""
_BEGIN: Final = re.compile(rb'\{"n":[0-9]+,"mod":([0-9]{1,18}),"t":([0-9]{1,15}),')
"""What a writer of ours begins a state with: change number and time."""
_DELETION: Final = re.compile(
    _BEGIN.pattern + rb'"pos":"[a-z0-9:]*","type":"[a-z]+","deleted":true\}'
)


class Told(NamedTuple):
    """What a purge has to know of an item: what it may name as a blob, and its last state.

    Times are in ms; `deleted_ms` is since when it is deleted, None if it exists.
    """

    names: Iterable[bytes]
    mod: int
    start_ms: int
    deleted_ms: int | None


@dataclass(frozen=True, slots=True)
class History:
    """A history that is there: its file, and its lines up to the first flaw."""

    found: Found
    lines: metadata.Lines

    @property
    def bodies(self) -> tuple[bytes, ...]:
        """The bodies of its intact lines, oldest first."""
        return self.lines.bodies


def history_of(folder: Folder, name: str, found: Found, seed: str) -> History:
    """Return the history in a file that was read. Raises ReadError; damage is in the answer."""
    lines = metadata.read_lines(found.data, seed)
    if lines.damage:
        # A writer may have cut a torn tail, and written there, while we were reading.
        found = folder.load(name, limit=values.LONGEST_FILE) or found
        lines = metadata.read_lines(found.data, seed)
    return History(found, lines)


def told(data: bytes, seed_sum: int) -> Told | None:
    """Return what the file of a history tells that is whole and spelled as ours are.

    None for any other: it has to be read with care. `seed_sum` is the CRC-32 of the file's seed.
    """
    bodies = metadata.whole_bodies(data, seed_sum)
    begin = _BEGIN.match(bodies[-1]) if bodies else None
    if not (bodies and begin) or (b"\\" in data and _ESCAPED in data):
        return None
    said = _SAID.findall(data)
    if b"more" in said:
        return None
    if b"deleted" not in said:
        return Told(set(said), int(begin[1]), int(begin[2]), None)
    begins = list(map(_BEGIN.match, bodies))
    if not (_DELETION.fullmatch(bodies[-1]) and all(begins)):
        return None
    since = max(int(each[2]) for each in begins if each)
    return Told(set(said) - {b"deleted"}, int(begin[1]), int(begin[2]), since)


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


def end_of(history: History) -> tuple[int, int, bool]:
    """Return change number and time in ms of the last state, and whether it is a deletion.

    Raises BrokenItem for a line that no writer can have written.
    """
    try:
        return _end_of(history.bodies[-1])
    except (KeyError, ValueError) as error:
        raise BrokenItem("a state has missing or impossible values") from error


def _end_of(last: bytes) -> tuple[int, int, bool]:
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
