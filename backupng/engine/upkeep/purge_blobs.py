"""Which blobs nothing names any more, and what lies in the trash."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.ground import Folder, Ground
from backupng.engine.backuppath.layout import Place
from backupng.engine.upkeep.purge_findings import Marked, References

_DIGEST_LENGTH: Final = 44
_BETWEEN_TICKS: Final = 16
_PURGE_ID: Final = re.compile(r"[0-9]{1,15}")
BLOBS: Final = "items"
ACCOUNTS: Final = "accounts"
"""What a purge's folder in the trash holds: blobs by their digests, accounts by their ids."""


@dataclass(slots=True)
class Survey:
    """All blobs by number; of those to go also their bytes, and which they are, by folder.

    `young` are blobs that nothing names and that are not old enough; `still_named` are those that
    something expired names, and something else too.
    """

    blobs: int = 0
    dead: int = 0
    dead_size: int = 0
    young: int = 0
    still_named: int = 0
    _dead: dict[str, str] = field(default_factory=dict)

    def names_of(self, bucket: str) -> list[str]:
        """Return the blobs of a folder that are to go."""
        joined = self._dead[bucket]
        return [joined[at : at + _DIGEST_LENGTH] for at in range(0, len(joined), _DIGEST_LENGTH)]

    @property
    def buckets(self) -> list[str]:
        """The folders that blobs are to go from, sorted."""
        return sorted(self._dead)

    def add(self, bucket: str, names: list[str]) -> None:
        """Note the blobs of a folder that are to go."""
        if names:
            self._dead[bucket] = "".join(names)
            self.dead += len(names)


def survey(
    ground: Ground, marked: Marked, *, settled_before_ns: int, tick: Callable[[int, int], None]
) -> Survey:
    """Look at all blobs. Raises ReadError, and what `tick` raises."""
    found = Survey()
    with ground.folder(layout.BLOBS) as blobs:
        buckets = sorted(filter(layout.is_blob_bucket, blobs.names()))
        for number, bucket in enumerate(buckets):
            if not number % _BETWEEN_TICKS:
                tick(number, len(buckets))
            with blobs.inner(bucket) as folder:
                _look(folder, bucket, marked, found, settled_before_ns)
    return found


def _look(
    folder: Folder, bucket: str, marked: Marked, found: Survey, settled_before_ns: int
) -> None:
    living, dying = marked.living.of(bucket), marked.dying.of(bucket)
    found.still_named += len(dying & living)
    dead = []
    for name in folder.names():
        if not layout.is_digest(name) or name[:2] != bucket:
            continue
        found.blobs += 1
        if name[2:10].encode() in living:
            continue
        lying = folder.lying(name)
        if lying is None:
            continue
        if lying.used_ns >= settled_before_ns:
            found.young += 1
            continue
        dead.append(name)
        found.dead_size += lying.size
    found.add(bucket, dead)


# The trash


def trash_folder(purge_ms: int) -> Place:
    """Return where the purge that began then puts what it removes."""
    return layout.TRASH / str(purge_ms)


def earlier_purges(ground: Ground) -> list[int]:
    """Return when the purges began whose trash is there, in ms, oldest first. Raises ReadError."""
    with ground.folder(layout.TRASH) as trash:
        return sorted(int(name) for name in trash.names() if _PURGE_ID.fullmatch(name))


def needed(ground: Ground, purge_ms: int, living: References) -> Iterator[str]:
    """Yield the blobs in a purge's trash that something names. Raises ReadError."""
    with ground.folder(trash_folder(purge_ms) / BLOBS) as folder:
        names = sorted(filter(layout.is_digest, folder.names()))
    for bucket, inside in groupby(names, key=lambda name: name[:2]):
        named = living.of(bucket)
        yield from (name for name in inside if name[2:10].encode() in named)
