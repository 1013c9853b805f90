"""The 512 bytes at the start of a redo log file: bytes <-> FileHeader.

    0    7    magic `ZM_REDO`
    7    1    open: 1 while a writer has it, or died having it
    8    8    size of the file in bytes, as of the last orderly close
    16   8    sequence: +1 with every rollover
    24   1    length of the server id
    25   127  server id, UTF-8, zero-padded
    152  8    time of the first operation, ms; 0: none yet
    160  8    time of the last operation, ms, as of the first one or of the close
    168  2+2  version, major and minor
    172  8    time of creation, ms
    180  332  zeros

Zimbra/zm-mailbox `store/src/java/com/zimbra/cs/redolog/logger/FileHeader.java`: the code, whose
class comment names other sizes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Self

from backupng.engine.redolog.faults import FutureRedoLog, NotARedoLog

SIZE = 512
MAGIC = b"ZM_REDO"
_FORM = struct.Struct(">7sBqqB127sqqhhq332s")
_ID_BYTES = 127


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """The version of a file or record; all Zimbra and Carbonio servers of today write 1.42."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


FIRST = Version(1, 0)
LATEST = Version(1, 42)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHeader:
    """What a redo log file says about itself; times in ms since the epoch."""

    is_open: bool
    size: int
    sequence: int
    server_id: str
    first_op: int
    last_op: int
    version: Version
    created: int

    @classmethod
    def decode(cls, data: bytes, *, name: str) -> Self:
        """Read the first bytes of the file `name`. Raises NotARedoLog or FutureRedoLog."""
        if data[: len(MAGIC)] != MAGIC:
            what = "is no redo log" if data else "is empty, so it is no redo log"
            raise NotARedoLog(f"{name} {what}.")
        if len(data) < SIZE:
            raise NotARedoLog(f"{name} is no redo log: it ends within its header.")
        _, is_open, size, sequence, length, raw_id, *rest = _FORM.unpack(data[:SIZE])
        first_op, last_op, major, minor, created, _ = rest
        version = Version(major, minor)
        if version > LATEST:
            raise FutureRedoLog(
                f"{name} was written in version {version} of the redo log.",
                hint=f"Versions up to {LATEST} can be read.",
            )
        return cls(
            is_open=bool(is_open),
            size=size,
            sequence=sequence,
            server_id=raw_id[: min(length, _ID_BYTES)].decode("utf-8", "surrogateescape"),
            first_op=first_op,
            last_op=last_op,
            version=version,
            created=created,
        )

    def encode(self) -> bytes:
        """Return the 512 bytes; a server id that is too long loses whole characters at its end."""
        server_id = self.server_id
        while len(server_id.encode("utf-8", "surrogateescape")) > _ID_BYTES:
            server_id = server_id[:-1]
        raw_id = server_id.encode("utf-8", "surrogateescape")
        return _FORM.pack(
            MAGIC,
            self.is_open,
            self.size,
            self.sequence,
            len(raw_id),
            raw_id,
            self.first_op,
            self.last_op,
            self.version.major,
            self.version.minor,
            self.created,
            b"",
        )
