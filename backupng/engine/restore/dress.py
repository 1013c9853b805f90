"""Dress: give a state without a database row one, made from what its history knows (pure).

A state that the redo log alone told has its visible fields and its blob, but no row. The row of
the nearest state of the same item stands in, with those fields put over it; an item whose row
nobody ever saw gets one of its fields alone. Column names and metadata keys: `zimbra-store.md` §8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.metadata import Value, decode_column, encode_column
from backupng.engine.mailserver.zimbra.parsing import mime
from backupng.engine.mailserver.zimbra.parsing.contacts import file_as
from backupng.engine.mailserver.zimbra.parsing.subject import describe_subject
from backupng.engine.mailserver.zimbra.rows import full_subject
from backupng.engine.model import (
    CONTENT_TYPE,
    CREATOR,
    FOLDER_LIKE,
    ItemKind,
    ItemState,
    to_ms,
)

_MAIL: Final = frozenset({ItemKind.MESSAGE, ItemKind.CHAT})
_INDEXED: Final = _MAIL | {ItemKind.CONTACT}
_OF_CONTENT: Final = ("f", "s", "t", "p", "r")
"""Metadata of a message that follows from its blob."""
_PRIORITIES: Final = {1: int(codes.Flag.HIGH_PRIORITY), -1: int(codes.Flag.LOW_PRIORITY)}


def dressed(history: Sequence[ItemState], state: ItemState) -> ItemState:
    """Return a living state of that history with a row; one that has a row is returned as it is.

    Raises BrokenItem when the metadata of the row that stands in cannot be read.
    """
    if state.row or state.deleted:
        return state
    nearest = _nearest(history, state)
    if state.kind is ItemKind.TAG:
        return replace(state, row=_tag_row(nearest.row if nearest else {}, state))
    row = dict(nearest.row) if nearest else _new_row(state)
    values = decode_column(row.get("metadata"))
    same_content = nearest is not None and nearest.digest == state.digest
    _put_columns(row, state, same_content=same_content)
    _put_subject(row, values, state)
    _put_values(values, state, same_content=same_content)
    row["metadata"] = encode_column(values)
    return replace(
        state,
        row=row,
        side_rows=nearest.side_rows if nearest else {},
        kept_as={**nearest.kept_as, **state.kept_as} if nearest else state.kept_as,
    )


def is_bare(state: ItemState) -> bool:
    """Say whether the row of a message lacks what only its blob tells."""
    if state.kind not in _MAIL or state.digest is None or not state.row:
        return False
    values = decode_column(state.row.get("metadata"))
    return not any(key in values for key in _OF_CONTENT)


def described(state: ItemState, raw: bytes) -> ItemState:
    """Return a message's state with the part of its row that follows from its blob."""
    facts = mime.describe(raw)
    values: dict[str, Value] = decode_column(state.row.get("metadata"))
    values |= mime.message_metadata(facts)
    bits = _PRIORITIES.get(facts.priority, 0)
    bits |= int(codes.Flag.ATTACHED) if facts.has_attachment else 0
    columns = {
        "sender": facts.sender_column,
        "recipients": facts.recipients_column,
        "subject": facts.subject_column,
        "flags": int(state.row.get("flags", 0)) | bits,
        "metadata": encode_column(values),
    }
    found = {name: value for name, value in columns.items() if value is not None}
    return replace(state, row={**state.row, **found})


def _nearest(history: Sequence[ItemState], state: ItemState) -> ItemState | None:
    """Return the state whose row stands in: an earlier one rather, one of the same blob first."""
    place = next(index for index, each in enumerate(history) if each is state)
    near = [*reversed(history[:place]), *history[place + 1 :]]
    found = [each for each in near if each.row and not each.deleted]
    same = [each for each in found if each.digest == state.digest]
    return next(iter([*same, *found]), None)


def _tag_row(row: Mapping[str, Any], state: ItemState) -> dict[str, Any]:
    made = {**row, "id": state.item_id, "name": state.name or "", "sequence": state.mod}
    made.pop("color", None)
    made.setdefault("listed", 1)
    return made | ({"color": state.color} if state.color else {})


def _new_row(state: ItemState) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": state.item_id,
        "type": codes.TYPE_OF_KIND[state.kind],
        "mod_content": state.mod,
        "unread": 0,
        "flags": 0,
    }
    if state.kind in _INDEXED:
        row |= {"index_id": state.item_id, "imap_id": state.item_id}
    if state.kind is ItemKind.DOCUMENT:
        # Any text will do: it says that the item has one, each server gives its own.
        row |= {"index_id": 0, "imap_id": 0, "uuid": "", "sender": state.sender}
    if state.kind is ItemKind.CONTACT and state.fields:
        row["sender"] = file_as(dict(state.fields))
    return row


def _put_columns(row: dict[str, Any], state: ItemState, *, same_content: bool) -> None:
    """Put the readable fields over a row's columns; those that are None are no columns."""
    is_folder = state.kind in FOLDER_LIKE
    bits = int(row.get("flags", 0)) & ~int(codes.CLIENT_BITS) | codes.bits_of(state.flags)
    columns: dict[str, Any] = {
        "folder_id": state.folder_id,
        "mod_metadata": state.mod,
        "change_date": to_ms(state.start) // 1000,
        "name": state.name,
        "date": state.date,
        "flags": bits,
        "tag_names": codes.join_tags(state.tags),
    }
    if not is_folder:
        columns |= {"unread": int(state.unread), "size": state.size or 0}
    if not same_content:
        columns |= {"blob_digest": state.digest, "mod_content": state.mod}
    if is_folder:
        columns["parent_id"] = state.folder_id
    for name, value in columns.items():
        if value is None:
            row.pop(name, None)
        else:
            row[name] = value


def _put_subject(row: dict[str, Any], values: dict[str, Value], state: ItemState) -> None:
    """Let the row say the state's subject; one that says it already keeps its way to say so."""
    if full_subject(row.get("subject"), values) == state.subject:
        return
    values.pop("p", None)
    values.pop("r", None)
    described_as = describe_subject(state.subject)
    row["subject"] = described_as.column if state.kind in _MAIL else state.subject or ""
    if state.kind in _MAIL:
        parts = {"p": described_as.prefix, "r": described_as.raw}
        values |= {key: text for key, text in parts.items() if text is not None}


def _put_values(values: dict[str, Value], state: ItemState, *, same_content: bool) -> None:
    """Put the readable fields over a row's metadata."""
    values.pop("c", None)
    if state.color:
        values["c"] = state.color
    if state.kind is ItemKind.CONTACT and state.fields:
        # The oldest form has the fields themselves at the top.
        for name in state.fields if "fld" not in values else ():
            values.pop(name, None)
        values["fld"] = dict(state.fields)
    if state.kind is ItemKind.DOCUMENT and CONTENT_TYPE in state.fields:
        values["ct"] = state.fields[CONTENT_TYPE]
        values["cr"] = state.fields.get(CREATOR, "")
        values.setdefault("ver", 1)
    if state.kind in _MAIL and not same_content:
        for key in _OF_CONTENT:
            values.pop(key, None)
