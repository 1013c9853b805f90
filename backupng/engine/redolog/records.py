"""One record of a redo log: its envelope as bytes, and the values that reading gives.

    0    6    magic `ZMREDO`
    6    2+2  version, major and minor, of this record: a file may mix them
    10   4    opcode
    14   8    time, ms: when the transaction began; of an end marker when it was written
    22   4    change id: the mailbox's change number; -1 none
    26   4    change constraint
    30   4+4  transaction: time in seconds, and counter
    38   8    mailbox id (i32 before 1.26); 0 none, -1 several
    46        body

Zimbra/zm-mailbox `store/src/java/com/zimbra/cs/redolog/op/RedoableOp.java`. There is neither a
length nor a checksum: a record ends where reading its body ends.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backupng.engine.redolog import ops
from backupng.engine.redolog.cursor import Cursor
from backupng.engine.redolog.faults import Broken
from backupng.engine.redolog.header import FIRST, LATEST, Version
from backupng.engine.redolog.kinds import MAILBOX_ID, Piece
from backupng.engine.redolog.layouts import Layout

MAGIC = b"ZMREDO"
_FORM = struct.Struct(">hhiqiiii")
_FIRST_YEAR, _LAST_YEAR = 1_072_915_200, 4_102_444_800
"""2004, before which no server ran, and 2100, in seconds.

Clocks of servers and readers differ, so the present is no limit; chance hits neither.
"""


@dataclass(frozen=True, slots=True, order=True)
class Txn:
    """A transaction of one server process: its start in seconds, and a counter from 1 up."""

    time: int
    counter: int

    def __str__(self) -> str:
        return f"{self.time}.{self.counter}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What stands before the body of every record; `timestamp` in ms."""

    version: Version
    opcode: int
    timestamp: int
    change_id: int
    change_constraint: int
    txn: Txn
    mailbox_id: int

    @classmethod
    def read(cls, cursor: Cursor) -> Envelope:
        """Read what follows the magic. Raises Torn."""
        head = _FORM.unpack(cursor.take(_FORM.size))
        major, minor, opcode, timestamp, change_id, constraint, time, counter = head
        version = Version(major, minor)
        return cls(
            version=version,
            opcode=opcode,
            timestamp=timestamp,
            change_id=change_id,
            change_constraint=constraint,
            txn=Txn(time, counter),
            mailbox_id=MAILBOX_ID.read(cursor, gate(version), {}),
        )

    def encode(self) -> bytes:
        """Return magic and envelope."""
        head = _FORM.pack(
            self.version.major,
            self.version.minor,
            self.opcode,
            self.timestamp,
            self.change_id,
            self.change_constraint,
            self.txn.time,
            self.txn.counter,
        )
        mailbox = MAILBOX_ID.write(self.mailbox_id, gate(self.version), {})
        return MAGIC + head + b"".join(piece for piece in mailbox if isinstance(piece, bytes))

    def check(self) -> None:
        """Refuse what no server writes where a record is expected. Raises Broken."""
        if self.version.major not in (0, 1) or self.version.minor < 0:
            raise Broken(f"there is no version {self.version}")
        if not 0 < self.opcode < 1 << 15:
            raise Broken(f"there is no operation {self.opcode}")
        if self.opcode != ops.CHECKPOINT and (self.timestamp <= 0 or self.txn.time <= 0):
            raise Broken("it has no time")
        if not -1 <= self.mailbox_id < 1 << 31 or self.change_id < -1:
            raise Broken("mailbox or change number are impossible")

    @property
    def has_dates(self) -> bool:
        """Say whether its times are times of a server; those of a Checkpoint are 0."""
        dates = (self.timestamp // 1000, self.txn.time)
        if self.opcode == ops.CHECKPOINT and dates == (0, 0):
            return True
        return all(_FIRST_YEAR < each < _LAST_YEAR for each in dates)

    @property
    def is_likely(self) -> bool:
        """Say whether this can be a record even where none is expected."""
        return FIRST <= self.version <= LATEST and self.has_dates

    def ends(self, other: Envelope) -> bool:
        """Say whether this is an end marker of the other's transaction."""
        ours = (self.txn, self.mailbox_id)
        return self.opcode in ops.END_MARKERS and ours == (other.txn, other.mailbox_id)


def gate(version: Version) -> int:
    """Return the number that layouts compare with: all that is older than 1.0 is below 0."""
    return version.minor if version.major else -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record between `offset` and `end`; without a layout its body is not understood.

    Bulk data in `fields` is a Span, or bytes in a record that is to be written.
    """

    offset: int
    end: int
    envelope: Envelope
    layout: Layout | None
    fields: dict[str, Any]

    @property
    def op(self) -> str | None:
        """The name of the operation; None for a number unknown here."""
        return self.layout.op if self.layout else ops.name(self.envelope.opcode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A stretch that could not be read, between records that could."""

    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Where and why reading ended, and how many records there were."""

    reason: str
    at: int
    records: int


def encode(envelope: Envelope, layout: Layout, fields: dict[str, Any]) -> Iterator[Piece]:
    """Yield the bytes of a record; bulk data as it is given, bytes or a Span."""
    yield envelope.encode()
    yield from layout.write(fields, gate(envelope.version))
