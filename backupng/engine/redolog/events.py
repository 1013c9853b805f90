"""What following a redo log yields, and the place up to which it was followed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from backupng.engine.redolog.faults import BadPosition
from backupng.engine.redolog.files import LogEnd

if TYPE_CHECKING:
    from backupng.engine.redolog.reader import RedoLog
    from backupng.engine.redolog.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """One committed operation; they come in the order of their commits.

    `log` reads its bulk data, and stays open until the follower reads on. `committed_at` is the
    time of the CommitTxn, ms.
    """

    record: Record
    log: RedoLog
    committed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An operation was committed that cannot be read here.

    A mailbox id of 0 is an operation on no mailbox; where it is not known, a `Gap` is told instead.
    A change id of -1: nobody knows since which change.
    """

    mailbox_id: int | None
    change_id: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A part of the log is missing: nobody knows what happened between two places, in words.

    `since` is the time in ms of the last commit read before it by this follower, `before` that from
    which on the log is there again; 0: not known.
    """

    after: str
    until: str
    reason: str
    since: int = 0
    before: int = 0


Event = Committed | Unreadable | Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in the log of a server: all before it was yielded.

    `open_ops` are sequence and offset of operations seen without the end of their transactions.
    Sequences start anew when a server lost its log; `created`, ms, tells the files apart then.
    """

    server_id: str
    sequence: int
    inode: int
    offset: int
    open_ops: tuple[tuple[int, int], ...] = ()
    created: int = 0

    def reaches(self, end: LogEnd) -> bool:
        """Say whether this place is that end or behind it."""
        if self.created and end.created and self.created != end.created:
            return self.created > end.created
        return (self.sequence, self.offset) >= (end.sequence, end.offset)

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self) | {"open_ops": [list(each) for each in self.open_ops]}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Read what `as_json` returned. Raises BadPosition."""
        try:
            numbers = {name: int(said[name]) for name in ("sequence", "inode", "offset")}
            ops = tuple((int(sequence), int(offset)) for sequence, offset in said["open_ops"])
            return cls(
                server_id=str(said["server_id"]),
                open_ops=ops,
                created=int(said.get("created", 0)),
                **numbers,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadPosition("The position in the redo log cannot be read.") from error
