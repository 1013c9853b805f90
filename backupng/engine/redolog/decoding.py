"""Reads the record at one place of a file, and finds places where one can begin.

Which of several layouts a record has shows only where it ends: the right one ends where the next
record begins, or the file. Zimbra/zm-mailbox
`store/src/java/com/zimbra/cs/redolog/logger/FileLogReader.java` knows the first layout of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from backupng.engine.redolog import ops
from backupng.engine.redolog.cursor import Cursor
from backupng.engine.redolog.faults import BadRecord, Broken, Torn
from backupng.engine.redolog.header import LATEST
from backupng.engine.redolog.layouts import Layout
from backupng.engine.redolog.records import MAGIC, Envelope, Record, gate

CHUNK_BYTES = 1 << 20
NO_RECORD = "no record begins there"
_ZEROS = bytes(len(MAGIC))


class Decoder:
    """Reads records of a file of which the first `end` bytes count.

    `is_final` when nothing will be appended: the end of the file can then be the end of a record.
    """

    def __init__(self, file: BinaryIO, *, end: int, is_final: bool) -> None:
        self.end = end
        self.is_final = is_final
        self._file = file

    def cursor(self, position: int) -> Cursor:
        """Return a new cursor."""
        return Cursor(self._file, position, end=self.end)

    def envelope(self, offset: int) -> tuple[Envelope, Cursor]:
        """Return the envelope there and the cursor behind it. Raises BadRecord."""
        cursor = self.cursor(offset)
        start = cursor.take(min(len(MAGIC), cursor.left))
        if not MAGIC.startswith(start):
            raise Broken(NO_RECORD)
        if len(start) < len(MAGIC):
            raise Torn("the file ends within the record")
        return Envelope.read(cursor), cursor

    def record(self, offset: int) -> Record:
        """Return the record there. Raises BadRecord; also for one without a layout."""
        envelope, cursor = self.envelope(offset)
        envelope.check()
        return self.body(envelope, cursor, offset)

    def body(self, envelope: Envelope, cursor: Cursor, offset: int) -> Record:
        """Read the body at the cursor. Raises BadRecord."""
        layouts = self.layouts(envelope)
        if not layouts:
            raise Broken("its layout is unknown")
        if len(layouts) == 1:
            return _read(layouts[0], envelope, cursor, offset=offset)
        return self._try(layouts, envelope, cursor.position, offset=offset)

    def layouts(self, envelope: Envelope) -> Sequence[Layout]:
        """Return the layouts the body can have: none of a number or version unknown here."""
        return ops.layouts(envelope.opcode) if envelope.version <= LATEST else ()

    def lands(self, position: int) -> bool:
        """Say whether a record begins there, or the file has its end."""
        return self.begins(position) or (self.is_final and position == self.end)

    def begins(self, position: int) -> bool:
        """Say whether the magic of a record stands there."""
        return self._peek(position) == MAGIC

    def fades(self, position: int) -> bool:
        """Say whether nothing but padding seems to follow."""
        return self._peek(position) == _ZEROS

    def magics(self, start: int, stop: int | None = None) -> Iterator[int]:
        """Yield every place from `start` on where the magic of a record stands."""
        end = self.end if stop is None else min(stop, self.end)
        while start < end:
            # The chunks overlap: a magic may lie across their border.
            chunk = self.cursor(start).take(min(CHUNK_BYTES + len(MAGIC) - 1, self.end - start))
            found = chunk.find(MAGIC)
            while 0 <= found < min(CHUNK_BYTES, end - start):
                yield start + found
                found = chunk.find(MAGIC, found + 1)
            start += CHUNK_BYTES

    def end_marker(self, envelope: Envelope, start: int, stop: int | None = None) -> int | None:
        """Return where the end of that record's transaction is first recorded, if it is."""
        for place in self.magics(start, stop):
            try:
                marker, cursor = self.envelope(place)
                ends = marker.ends(envelope) and marker.is_likely
                if ends and self.body(marker, cursor, place).fields["opcode"] == envelope.opcode:
                    return place
            except BadRecord:
                continue
        return None

    def _peek(self, position: int) -> bytes:
        cursor = self.cursor(position)
        return cursor.take(max(0, min(len(MAGIC), cursor.left)))

    def _try(
        self, layouts: Sequence[Layout], envelope: Envelope, position: int, *, offset: int
    ) -> Record:
        read: list[Record] = []
        faults: list[BadRecord] = []
        for layout in layouts:
            try:
                read.append(_read(layout, envelope, self.cursor(position), offset=offset))
            except BadRecord as fault:
                faults.append(fault)
        # Zeros look like the end of a longer body too: the shortest one comes first there.
        for record in [each for each in read if self.lands(each.end)] or reversed(read):
            if self.lands(record.end) or self.fades(record.end):
                return record
        return self._refuse(read, faults)

    def _refuse(self, read: Sequence[Record], faults: Sequence[BadRecord]) -> Record:
        undecided = not self.is_final and any(self.end - each.end < len(MAGIC) for each in read)
        torn = next((fault for fault in faults if isinstance(fault, Torn)), None)
        if undecided:
            raise Torn("what follows the record is not there yet")
        raise torn or Broken("none of its layouts fits")


def _read(layout: Layout, envelope: Envelope, cursor: Cursor, *, offset: int) -> Record:
    try:
        fields = layout.read(cursor, gate(envelope.version))
    except BadRecord as fault:
        fault.in_body |= cursor.has_skipped
        raise
    return Record(
        offset=offset, end=cursor.position, envelope=envelope, layout=layout, fields=fields
    )
