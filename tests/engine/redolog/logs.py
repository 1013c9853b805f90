"""Redo logs made for one test: a header and records, byte by byte."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backupng.engine.redolog import ops
from backupng.engine.redolog.decoding import Decoder
from backupng.engine.redolog.header import LATEST, SIZE, FileHeader, Version
from backupng.engine.redolog.layouts import Layout
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Envelope, Record, Skipped, Stop, Txn, encode

Found = Record | Skipped | Stop

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "fixtures" / "redolog" / "vectors.json").read_text("utf-8")
)
STARTED = 1_700_000_000
HEADER = FileHeader(
    is_open=False,
    size=0,
    sequence=42,
    server_id="59e5a1c2-0f9e-4d0c-8d5a-7e4b2a1c9f10",
    first_op=STARTED * 1000,
    last_op=STARTED * 1000,
    version=LATEST,
    created=STARTED * 1000,
)


def envelope(opcode: int, number: int = 1, **changes: Any) -> Envelope:
    """Return the envelope of transaction `number`, in mailbox 7 unless told otherwise."""
    usual: dict[str, Any] = {
        "version": LATEST,
        "opcode": opcode,
        "timestamp": STARTED * 1000 + number,
        "change_id": -1 if opcode in ops.CONTROL else 100 + number,
        "change_constraint": 0,
        "txn": Txn(STARTED, number),
        "mailbox_id": 7,
    }
    return Envelope(**(usual | changes))


def layout(op: str, place: int = 0) -> Layout:
    """Return the layout of an operation; some have several."""
    return [each for each in ops.LAYOUTS if each.op == op][place]


def op(name: str, number: int = 1, /, *, place: int = 0, **fields: Any) -> bytes:
    """Return a record of transaction `number`, its bulk data as bytes."""
    form = layout(name, place)
    return write(envelope(form.opcode, number), form, fields)


def write(head: Envelope, form: Layout, fields: dict[str, Any]) -> bytes:
    """Return the bytes of a record whose bulk data is bytes."""
    return b"".join(piece for piece in encode(head, form, fields) if isinstance(piece, bytes))


def message(data: bytes, number: int = 1, /, **fields: Any) -> bytes:
    """Return a record with a message; its length stands right before the data."""
    usual: dict[str, Any] = {
        **dict.fromkeys(("rcptEmail", "digest", "calPartStat", "path"), "x"),
        **dict.fromkeys(("receivedDate", "msgSize", "msgId", "folderId", "convId"), 1),
        **dict.fromkeys(("convFirstMsgId", "calItemId", "flags", "unused"), -1),
        "shared": False,
        "noICal": True,
        "mergedConvIds": [],
        "tags": [],
        "customKey": None,
        "bodyType": 1,
        "data": data,
    }
    return op("CreateMessage", number, **(usual | fields))


def commit(opcode: int, number: int = 1, **changes: Any) -> bytes:
    """Return the CommitTxn of transaction `number`."""
    head = envelope(ops.COMMIT, number, **changes)
    return write(head, layout("CommitTxn"), {"opcode": opcode})


def mails(first: int, last: int) -> bytes:
    """Return messages and their commits, transactions `first` to `last`."""
    numbers = range(first, last + 1)
    return b"".join(message(b"mail", each) + commit(27, each) for each in numbers)


def mail(number: int) -> list[tuple[str, int]]:
    """Return the outline of one message of `mails`."""
    return [("CreateMessage", number), ("CommitTxn", number)]


def overwrite(data: bytes, offset: int, new: bytes) -> bytes:
    """Return bytes with others in place of some."""
    return data[:offset] + new + data[offset + len(new) :]


def unknown(opcode: int, body: bytes, number: int = 1, version: Version = LATEST) -> bytes:
    """Return a record whose body no layout describes."""
    return envelope(opcode, number, version=version).encode() + body


def make(folder: Path, *pieces: bytes, head: bytes | None = None) -> Path:
    """Write a redo log file and return its path."""
    path = folder / "redo.log"
    path.write_bytes((HEADER.encode() if head is None else head) + b"".join(pieces))
    return path


def read(path: Path, start: int = SIZE) -> list[Found]:
    """Return all that reading a file yields."""
    with RedoLog(path) as log:
        return list(log.records(start))


def decode(data: bytes, *, is_final: bool = True) -> Record:
    """Return the record that the bytes begin with."""
    return Decoder(io.BytesIO(data), end=len(data), is_final=is_final).record(0)


def outline(found: Sequence[Found]) -> list[tuple[Any, ...]]:
    """Return what reading yielded in words and numbers: (op, transaction), stretches, the end."""
    return [_outlined(each) for each in found]


def _outlined(found: Found) -> tuple[Any, ...]:
    if isinstance(found, Record):
        return (found.op, found.envelope.txn.counter)
    if isinstance(found, Skipped):
        return ("skipped", found.start, found.end)
    return (found.reason, found.at, found.records)
