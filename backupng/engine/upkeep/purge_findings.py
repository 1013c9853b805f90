"""What a purge finds while it reads all metadata: what has expired, and which blobs are named."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from backupng.engine.backuppath.disk import Mark
from backupng.engine.errors import ItemError
from backupng.engine.model import AccountId, ItemId

_NAMED: Final = 10
_FIELDS: Final = 5


def length_of(mark: Mark) -> int:
    """Return the length in bytes of a file that is there."""
    return mark[2]


class References:
    """Blobs that are named: of each digest eight characters are kept beside its folder.

    Two digests that agree in them count as one, and at worst a blob is spared.
    """

    def __init__(self) -> None:
        self._folders: dict[bytes, bytearray] = defaultdict(bytearray)

    def add(self, digests: Iterable[bytes]) -> None:
        """Take note of digests."""
        for digest in digests:
            self._folders[digest[:2]] += digest[2:10]

    def of(self, bucket: str) -> set[bytes]:
        """Return the characters 2 to 9 of all digests in one folder."""
        kept = bytes(self._folders.get(bucket.encode(), b""))
        return {kept[at : at + 8] for at in range(0, len(kept), 8)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """An account that is due: since when it counts as deleted, why, and its folder's stamp."""

    name: str
    reason: str
    since_ms: int
    stamp: int


@dataclass(slots=True)
class AccountMark:
    """What was found in one account's folder; `size` is in bytes, of the `files` that are to go."""

    account: AccountId
    deletion: Deletion | None = None
    """Only of an account that is due: it goes as a whole."""
    examined: int = 0
    files: int = 0
    size: int = 0
    _expired: array[int] = field(default_factory=lambda: array("Q"))

    @property
    def purged(self) -> int:
        """How many items are to go."""
        return self.examined if self.deletion else len(self._expired) // _FIELDS

    def expired(self) -> Iterator[tuple[ItemId, Mark]]:
        """Yield each item whose history is to go, and its file as it was read."""
        found = self._expired
        for at in range(0, len(found), _FIELDS):
            yield ItemId(found[at]), tuple(found[at + 1 : at + _FIELDS])

    def expire(self, item: ItemId, mark: Mark) -> None:
        """Note an item whose history is to go."""
        self._expired.extend((item, *mark))
        self.count(mark)

    def count(self, mark: Mark) -> None:
        """Count a file that is to go."""
        self.files += 1
        self.size += length_of(mark)


@dataclass(slots=True)
class Marked:
    """What a tree holds, what of it has expired, and what is wrong with it.

    `damage` has the first few of its `flaws` in words; while there is any, no blob may be removed.
    An account that nobody knows is named there, too, and is no flaw.
    `doubtful` are accounts that have been deleted long enough by what the metadata says, but were
    written down as such much later; of items that is so of, `late` is the number.
    """

    living: References = field(default_factory=References)
    dying: References = field(default_factory=References)
    accounts: list[AccountMark] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    late: int = 0
    flaws: int = 0
    damage: list[str] = field(default_factory=list)

    def blame(self, error: ItemError) -> None:
        """Note damage."""
        self.flaws += 1
        self.remark(str(error))

    def remark(self, sentence: str) -> None:
        """Say what somebody should look at."""
        if len(self.damage) < _NAMED:
            self.damage.append(sentence)
