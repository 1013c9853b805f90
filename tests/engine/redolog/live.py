"""A server that writes its redo log while tests follow it, as `RolloverManager` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from backupng.engine.redolog import ops
from backupng.engine.redolog.files import LogFiles
from backupng.engine.redolog.follow import Committed, Event, Follower, Gap, Position, Unreadable
from tests.engine.redolog.logs import HEADER, commit, envelope, layout, message, write

DAY_MS = 86_400_000


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Writes the redo log of one server; `begun` are its transactions that have not ended."""

    def __init__(self, folder: Path, *, deletes: bool = True, server_id: str = "one") -> None:
        self.files = LogFiles(folder / "redo.log", folder / "archive")
        self.deletes = deletes
        self.server_id = server_id
        self.begun: dict[int, bytes] = {}
        self.created = HEADER.created
        self.sequence = -1
        self.files.archive.mkdir(exist_ok=True)

    def start(self, sequence: int = 0) -> None:
        """Make a new current file."""
        self._make(self.files.current, sequence, is_open=True)

    def _make(self, path: Path, sequence: int, *, is_open: bool) -> None:
        self.sequence = sequence
        self.created += DAY_MS
        path.write_bytes(b"")
        self._header(path, is_open=is_open)
        self.write(*self.begun.values(), path=path)
        self._header(path, is_open=is_open)

    def _header(self, path: Path, *, is_open: bool) -> None:
        head = replace(
            HEADER,
            is_open=is_open,
            size=0 if is_open else path.stat().st_size,
            sequence=self.sequence,
            server_id=self.server_id,
            created=self.created,
        )
        with path.open("r+b") as file:
            file.write(head.encode())

    def write(self, *pieces: bytes, path: Path | None = None) -> None:
        """Append to the current file."""
        with (path or self.files.current).open("ab") as file:
            file.write(b"".join(pieces))

    def begin(self, number: int, data: bytes = b"mail", **fields: Any) -> None:
        """Write an operation, or write it again."""
        self.begun[number] = message(data, number, **fields)
        self.write(self.begun[number])

    def commit(self, number: int, **changes: Any) -> None:
        """End a transaction."""
        self.begun.pop(number, None)
        self.write(commit(27, number, **changes))

    def abort(self, number: int) -> None:
        """End a transaction without effect."""
        self.begun.pop(number, None)
        self.write(write(envelope(ops.ABORT, number), layout("AbortTxn"), {"opcode": 27}))

    def mails(self, first: int, last: int) -> None:
        """Write messages and their commits."""
        for number in range(first, last + 1):
            self.begin(number)
            self.commit(number)

    def close(self) -> None:
        """Finish the header, as at an orderly stop."""
        self._header(self.files.current, is_open=False)

    def take_away(self) -> None:
        """Delete or archive the current file: the first half of a rollover."""
        self.close()
        if self.deletes:
            self.files.current.unlink()
        else:
            name = f"redo-20231114.221523.456-seq{self.sequence}.log"
            if (self.files.archive / name).exists():
                name = f"redo-20231115.221523.456-seq{self.sequence}.log"
            self.files.current.rename(self.files.archive / name)

    def rollover(self) -> None:
        """Begin the next file, with the open operations in front."""
        self.take_away()
        self.start(self.sequence + 1)

    def follower(self, position: Position | None = None, clock: Clock | None = None) -> Follower:
        """Return a new follower of this log."""
        return Follower(self.files, position=position, clock=clock or Clock())


def said(events: list[Event]) -> list[Any]:
    """Return events in few words: transactions that were committed, and what is missing."""
    return [_said(each) for each in events]


def _said(event: Event) -> Any:
    match event:
        case Committed():
            return event.record.envelope.txn.counter
        case Unreadable():
            return ("unreadable", event.mailbox_id, event.change_id)
        case Gap():
            return ("gap", event.after, event.until)


def read(follower: Follower, limit: int = 1000) -> list[Any]:
    """Return in few words what there is to read now."""
    found = []
    while events := follower.read(limit):
        found += said(events)
    return found


def replace_inode(path: Path) -> None:
    """Put a copy in place of a file."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.rename(path)
