"""States and lines as the rows of the catalog's tables, and back (pure)."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from backupng.engine.backuppath.histories import digests_of
from backupng.engine.backuppath.telling import ItemLine
from backupng.engine.catalog.schema import FOREVER
from backupng.engine.model import (
    CONVERSATION,
    Digest,
    EntryState,
    ItemId,
    ItemState,
    MailboxState,
    spell_digest,
    to_ms,
)

_RAW: Final = 32
Values = tuple[Any, ...]


def parent_of(state: ItemState) -> ItemId | None:
    """Return the conversation of a message, or the document of a comment, as far as is known."""
    if "parent_id" in state.row:
        return ItemId(state.row["parent_id"])
    noted = state.fields.get(CONVERSATION, "")
    return ItemId(int(noted)) if noted.isascii() and noted.isdigit() else None


def raw_digest(digest: Digest) -> bytes:
    """Return the bytes that a SHA-256 digest spells."""
    return base64.b64decode(digest.replace(",", "/"))


def spelled(raw: bytes | None) -> Digest | None:
    """Return the digest that these bytes are."""
    return None if raw is None else spell_digest(raw)


def state_row(account: int, line: ItemLine) -> Values:
    """Return a row of `state`, with the state's own time."""
    state = line.state
    return (
        account,
        state.item_id,
        line.number,
        to_ms(state.start),
        FOREVER,
        state.mod,
        state.kind.value,
        state.deleted,
        state.folder_id,
        state.name,
        state.subject,
        state.sender,
        state.recipients,
        state.flags,
        json.dumps(state.tags) if state.tags else None,
        _integer(parent_of(state)),
        state.date,
        state.size,
        state.is_by_scan,
        None if state.digest is None else raw_digest(state.digest),
        b"".join(others_of(line)) or None,
    )


def others_of(line: ItemLine) -> list[bytes]:
    """Return the digests, beside the state's own, of blobs that a line needs; sorted."""
    state = line.state
    if not (state.side_rows or state.kept_as or line.bulk):
        return []
    found = digests_of(state) | ({line.bulk} if line.bulk else frozenset())
    return sorted(raw_digest(each) for each in found if each != state.digest)


def reference_rows(account: int, row: Values) -> list[Values]:
    """Return the rows of `reference` that belong to a row of `state`."""
    item, number, digest, others = row[1], row[2], row[-2], row[-1]
    return [(each, account, item, number) for each in digests_in(digest, others)]


def digests_in(digest: bytes | None, others: bytes | None) -> list[bytes]:
    """Return all digests that a row of `state` names."""
    found = [] if digest is None else [digest]
    if others:
        found += [others[at : at + _RAW] for at in range(0, len(others), _RAW)]
    return found


def entry_row(account: int, number: int, time: int, state: EntryState) -> Values:
    """Return a row of `entry`; `time` is the one that counts."""
    entry = state.entry
    return (
        account,
        number,
        time,
        entry.name,
        entry.first("zimbraAccountStatus", "active"),
        entry.first("zimbraMailHost") if "zimbraMailHost" in entry.attributes else None,
        entry.first("zimbraCreateTimestamp"),
        state.deleted,
        state.reason,
    )


def scan_row(account: int, number: int, time: int, state: MailboxState) -> Values:
    """Return a row of `scan`; `time` is the one that counts."""
    return account, number, time, state.mod, len(state.unread)


def tags_of(text: str | None) -> tuple[str, ...]:
    """Return the tags of a row of `state`."""
    return () if text is None else tuple(json.loads(text))


def as_text(value: str | bytes | None) -> str | None:
    """Return a text as it was; SQLite keeps one with halves of characters as bytes."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def storable(row: Values) -> Values:
    """Return a row that SQLite takes, its texts with halves of characters as bytes."""
    return tuple(_storable(value) for value in row)


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return value if raw.decode("utf-8", "replace") == value else raw
    return value


def _integer(value: object) -> int | None:
    """A row may hold anything: what is no number of SQLite's is no parent."""
    return value if type(value) is int and -(2**63) <= value < 2**63 else None
