"""Golden records, written by the server's own classes: decoded, and encoded to the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backupng.engine.redolog import ops
from backupng.engine.redolog.cursor import Span
from backupng.engine.redolog.faults import BadRecord
from backupng.engine.redolog.header import LATEST, FileHeader, Version
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Envelope, Record, Txn
from tests.engine.redolog.logs import VECTORS, decode, make, outline, read, write

RECORDS: list[dict[str, Any]] = VECTORS["records"]
VECTORS_BY_NAME = {f"{place}-{each['op']}": each for place, each in enumerate(RECORDS)}
"""The name of the golden record, in front of what is compared, tells which one fails."""


def with_bytes(value: Any, data: bytes) -> Any:
    """Return fields with bulk data in place of its Spans."""
    if isinstance(value, Span):
        return data[value.offset : value.offset + value.length]
    if isinstance(value, dict):
        return {name: with_bytes(each, data) for name, each in value.items()}
    return [with_bytes(each, data) for each in value] if isinstance(value, list) else value


def from_hex(value: Any) -> Any:
    """Return the fields of the file of vectors with bulk data as bytes."""
    if isinstance(value, dict) and value.keys() == {"hex"}:
        return bytes.fromhex(value["hex"])
    if isinstance(value, dict):
        return {name: from_hex(each) for name, each in value.items()}
    return [from_hex(each) for each in value] if isinstance(value, list) else value


def head(vector: dict[str, Any]) -> Envelope:
    return Envelope(
        version=LATEST,
        opcode=vector["opcode"],
        timestamp=vector["timestamp"],
        change_id=vector["changeId"],
        change_constraint=vector["constraint"],
        txn=Txn(*vector["txn"]),
        mailbox_id=vector["mailboxId"],
    )


def test_a_golden_record_decodes_to_what_was_written() -> None:
    for name, vector in VECTORS_BY_NAME.items():
        data = bytes.fromhex(vector["hex"])
        record = decode(data)
        found = (record.op, record.envelope, record.end)
        assert (name, *found) == (name, vector["op"], head(vector), len(data))
        assert (name, with_bytes(record.fields, data)) == (name, from_hex(vector["fields"]))


def test_a_golden_record_encodes_byte_for_byte() -> None:
    for name, vector in VECTORS_BY_NAME.items():
        data = bytes.fromhex(vector["hex"])
        record = decode(data)
        assert record.layout is not None
        written = write(record.envelope, record.layout, from_hex(vector["fields"]))
        assert (name, written) == (name, data)


def test_a_golden_record_that_is_cut_anywhere_is_torn_or_broken_but_never_another() -> None:
    for name, vector in VECTORS_BY_NAME.items():
        data = bytes.fromhex(vector["hex"])
        opcode = decode(data).envelope.opcode
        shorter = {_op(data[:length]) for length in range(len(data))}
        # A mountpoint that ends early is a link; nothing in its bytes says otherwise.
        allowed = {None, *({"CreateLink"} if opcode == 35 else set())} | (
            {"CreateVolume", "SetRetentionPolicy"} if opcode in (38, 86) else set()
        )
        assert (name, shorter - allowed) == (name, set())


def _op(data: bytes) -> str | None:
    try:
        return decode(data).op
    except BadRecord:
        return None


def test_there_is_a_golden_record_of_every_operation_with_a_layout() -> None:
    assert {each.op for each in ops.LAYOUTS} == {each["op"] for each in RECORDS}


def test_the_golden_header_decodes_and_encodes_byte_for_byte() -> None:
    data = bytes.fromhex(VECTORS["header"]["hex"])
    header = FileHeader.decode(data, name="redo.log")
    fields = VECTORS["header"]["fields"]
    assert header == FileHeader(
        is_open=True,
        size=fields["size"],
        sequence=fields["seq"],
        server_id=fields["server"],
        first_op=fields["first"],
        last_op=fields["last"],
        version=Version(1, 42),
        created=fields["create"],
    )
    assert header.encode() == data


def test_the_golden_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = make(tmp_path, head=bytes.fromhex(VECTORS["file"]))
    assert outline(read(path)) == [
        ("CreateFolder", 3),
        ("CommitTxn", 3),
        ("MoveItem", 4),
        ("CommitTxn", 4),
        ("DeleteItem", 5),
        ("CommitTxn", 5),
        ("end", 920, 6),
    ]


def test_all_golden_records_in_one_file_are_copied_byte_for_byte(tmp_path: Path) -> None:
    pieces = [bytes.fromhex(each["hex"]) for each in RECORDS]
    with RedoLog(make(tmp_path, *pieces)) as log:
        records = [each for each in log.records() if isinstance(each, Record)]
        copies = [b"".join(log.encoded(each)) for each in records]
    assert [each.op for each in records] == [each["op"] for each in RECORDS]
    assert copies == pieces
