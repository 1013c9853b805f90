"""One redo log file, read record by record.

Bulk data stays in the file: `digest` and `chunks` read it piece by piece, so memory is flat however
long bodies and files are. Zimbra/zm-mailbox
`store/src/java/com/zimbra/cs/redolog/logger/FileLogReader.java`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from backupng.engine.redolog import header, ops, resync
from backupng.engine.redolog.cursor import Span
from backupng.engine.redolog.decoding import CHUNK_BYTES, NO_RECORD, Decoder
from backupng.engine.redolog.faults import BadRecord, Broken, NotARedoLog, Torn, UnreadableLog
from backupng.engine.redolog.header import FileHeader
from backupng.engine.redolog.records import (
    MAGIC,
    Envelope,
    Record,
    Skipped,
    Stop,
    Txn,
    encode,
)

END, TRUNCATED, ZEROS, GARBAGE = "end", "truncated record", "zero padding", "garbage"
_ENVELOPE_BYTES = 46


class RedoLog:
    """A redo log file as long as it was when it was opened, or last refreshed."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises NotARedoLog, FutureRedoLog or UnreadableLog."""
        self.path = path
        try:
            if not path.is_file():
                raise _no_file(path)
            self._file = path.open("rb")
        except OSError as error:
            raise UnreadableLog(f"{path} cannot be read: {error.strerror or error}.") from error
        try:
            self.header = self._read_header()
        except BaseException:
            self._file.close()
            raise
        self.size = self.refresh()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; repeating it is harmless."""
        self._file.close()

    @property
    def inode(self) -> int:
        """The number of the file on its file system: the same under every name it has."""
        return self._stat().st_ino

    def mark(self) -> tuple[int, int]:
        """Look how long the file is now; return what differs once it was written to."""
        # Going to the end also drops what is buffered: bytes may have been replaced by others.
        return self.refresh(), self._stat().st_mtime_ns

    def reread(self) -> FileHeader:
        """Read the header again, which its writer changes. Raises as opening does."""
        self.refresh()
        self.header = self._read_header()
        return self.header

    def refresh(self) -> int:
        """Look how long the file is now, in bytes."""
        try:
            self.size = self._file.seek(0, 2)
        except OSError as error:
            raise UnreadableLog(f"{self.path} cannot be read: {error.strerror}.") from error
        return self.size

    def read(self, offset: int, *, is_final: bool) -> Record:
        """Return the record at `offset`. Raises Torn, Broken or UnreadableLog.

        In a file that still grows (not `is_final`) Torn means: wait for more.
        """
        decoder = self._decoder(is_final=is_final)
        envelope, cursor = decoder.envelope(offset)
        envelope.check()
        if not decoder.layouts(envelope):
            return _undecoded(decoder, envelope, offset)
        record = decoder.body(envelope, cursor, offset)
        _check_length(decoder, record)
        return record

    def records(self, start: int = header.SIZE) -> Iterator[Record | Skipped | Stop]:
        """Yield all records from `start` on, what lies between them, and last the Stop.

        The end of the file counts as final. Raises UnreadableLog.
        """
        if start == header.SIZE or self._begins_at(start):
            yield from self._walk(start)
        else:
            yield from self._walk_from_within(start)

    def _begins_at(self, start: int) -> bool:
        decoder = self._decoder(is_final=True)
        try:
            return start == self.size or decoder.lands(decoder.record(start).end)
        except BadRecord:
            return False

    def _walk_from_within(self, start: int) -> Iterator[Record | Skipped | Stop]:
        # Only the way there tells where bodies begin and end, and the next record with them.
        for found in self._walk(header.SIZE):
            if isinstance(found, Stop):
                yield Stop(reason=found.reason, at=max(start, found.at), records=0)
            elif found.end > start:
                yield Skipped(start=start, end=found.end, reason=NO_RECORD)
                yield from self._walk(found.end)
            elif found.end == start:
                yield from self._walk(start)
            if isinstance(found, Stop) or found.end >= start:
                return

    def _walk(self, start: int) -> Iterator[Record | Skipped | Stop]:
        offset, count, newest = start, 0, Txn(0, 0)
        while offset < self.size:
            try:
                record = self.read(offset, is_final=True)
            except BadRecord as fault:
                found = self.resume(offset, fault, newest=newest, is_final=True)
                if found is None:
                    yield Stop(reason=self._tail(offset, fault), at=offset, records=count)
                    return
                yield Skipped(start=offset, end=found, reason=self._reason(offset, fault))
                offset = found
            else:
                yield record
                offset, count = record.end, count + 1
                newest = max(newest, record.envelope.txn)
        yield Stop(reason=END, at=offset, records=count)

    def resume(self, offset: int, fault: BadRecord, *, newest: Txn, is_final: bool) -> int | None:
        """Return where to read on after the bad record at `offset`, if anywhere.

        `newest` is the newest transaction read before it. Raises UnreadableLog.
        """
        # A file that is cut meanwhile has no place to read on at.
        with suppress(Torn):
            decoder = self._decoder(is_final=is_final)
            return resync.find(decoder, offset, fault=fault, newest=newest)
        return None

    def envelope(self, offset: int) -> Envelope | None:
        """Return the envelope of a record whose body cannot be read, if that much is good."""
        with suppress(BadRecord):
            envelope, _ = self._decoder(is_final=True).envelope(offset)
            envelope.check()
            return envelope
        return None

    def unread(self, start: int, end: int) -> Record | None:
        """Return a record that cannot be read, without its fields, if its envelope is good."""
        head = self.envelope(start)
        if head is None or head.opcode in ops.CONTROL:
            return None
        return Record(offset=start, end=end, envelope=head, layout=None, fields={})

    def is_alone(self, record: Record) -> bool:
        """Say whether a record that cannot be read hides no other one, as far as that shows."""
        behind = record.offset + len(MAGIC)
        with suppress(Torn):
            inside = next(self._decoder(is_final=True).magics(behind, record.end), None)
            return inside is None and self.end_marker(record.envelope, behind) is not None
        return False

    def again(self, offset: int) -> Record | None:
        """Return an operation that was read before, even if only its envelope can be read."""
        for is_final in (False, True):
            with suppress(BadRecord):
                return self.read(offset, is_final=is_final)
        return self.unread(offset, offset)

    def is_zero(self, offset: int) -> bool:
        """Say whether nothing but zeros follows to the end of the file."""
        with suppress(Torn):
            return not self._filled(offset)
        return False

    def end_marker(self, envelope: Envelope, start: int) -> int | None:
        """Return where the end of that record's transaction is recorded from `start` on."""
        with suppress(Torn):
            return self._decoder(is_final=True).end_marker(envelope, start)
        return None

    def chunks(self, span: Span) -> Iterator[bytes]:
        """Yield bulk data piece by piece. Raises Torn or UnreadableLog."""
        cursor = self._decoder(is_final=True).cursor(span.offset)
        end = span.offset + span.length
        while cursor.position < end:
            # Each piece has a cursor of its own: what one record may hold is no limit here.
            cursor = self._decoder(is_final=True).cursor(cursor.position)
            yield cursor.take(min(CHUNK_BYTES, end - cursor.position))

    def digest(self, span: Span) -> str:
        """Return the SHA-256 of bulk data in hexadecimal. Raises Torn or UnreadableLog."""
        digest = hashlib.sha256()
        for chunk in self.chunks(span):
            digest.update(chunk)
        return digest.hexdigest()

    def encoded(self, record: Record) -> Iterator[bytes]:
        """Yield the bytes of a record as they are written; one without a layout is copied."""
        if record.layout is None:
            yield from self.chunks(Span(record.offset, record.end - record.offset))
            return
        for piece in encode(record.envelope, record.layout, record.fields):
            if isinstance(piece, Span):
                yield from self.chunks(piece)
            else:
                yield piece

    def _decoder(self, *, is_final: bool) -> Decoder:
        return Decoder(self._file, end=self.size, is_final=is_final)

    def _read_header(self) -> FileHeader:
        try:
            self._file.seek(0)
            return FileHeader.decode(self._file.read(header.SIZE), name=str(self.path))
        except OSError as error:
            raise UnreadableLog(f"{self.path} cannot be read: {error.strerror}.") from error

    def _stat(self) -> os.stat_result:
        try:
            return os.fstat(self._file.fileno())
        except OSError as error:
            raise UnreadableLog(f"{self.path} cannot be read: {error.strerror}.") from error

    def _tail(self, offset: int, fault: BadRecord) -> str:
        """Name what lies from the last good record to the end of the file."""
        try:
            filled_bytes = self._filled(offset)
        except Torn:
            return TRUNCATED
        if isinstance(fault, Torn):
            return TRUNCATED
        if not filled_bytes:
            return ZEROS
        begun = self._decoder(is_final=True).begins(offset)
        return TRUNCATED if begun and filled_bytes <= _ENVELOPE_BYTES else GARBAGE

    def _filled(self, offset: int) -> int:
        """Return how many bytes there are before the zeros at the end; many count as many."""
        filled = passed = 0
        for chunk in self.chunks(Span(offset, self.size - offset)):
            kept = chunk.rstrip(b"\0")
            filled = passed + len(kept) if kept else filled
            passed += len(chunk)
            if filled > _ENVELOPE_BYTES:
                break
        return filled

    def _reason(self, offset: int, fault: BadRecord) -> str:
        """Say what is known of a record that cannot be read: with luck its mailbox and change."""
        envelope = self.envelope(offset)
        if envelope is None:
            return str(fault)
        op = ops.name(envelope.opcode) or f"operation {envelope.opcode}"
        return f"{op} of mailbox {envelope.mailbox_id}, change {envelope.change_id}: {fault}"


def _no_file(path: Path) -> NotARedoLog:
    if path.exists():
        return NotARedoLog(f"{path} is no file.")
    return NotARedoLog(f"There is no file {path}.", code="path_missing")


def _undecoded(decoder: Decoder, envelope: Envelope, offset: int) -> Record:
    """Return a record whose body is not understood: it reaches as far as no other begins."""
    if not envelope.has_dates:
        raise Broken("it has no sensible time")
    found = resync.find(decoder, offset, fault=Broken("unknown"), newest=envelope.txn)
    if found is None and not decoder.is_final:
        raise Torn("the end of an unknown operation is not there yet")
    end = decoder.end if found is None else found
    return Record(offset=offset, end=end, envelope=envelope, layout=None, fields={})


def _check_length(decoder: Decoder, record: Record) -> None:
    """Refuse a record that swallowed the end of its own transaction. Raises Broken.

    Only one of several signs of a wrong length, and looked for only where nothing begins behind it.
    """
    if record.envelope.opcode in ops.CONTROL or decoder.lands(record.end):
        return
    inside = decoder.end_marker(record.envelope, record.offset + len(MAGIC), record.end)
    if inside is not None:
        raise Broken("its length is wrong", in_body=True)
