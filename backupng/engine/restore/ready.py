"""Ready: an item whose turn has come in an injection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import Digest, ItemId, ItemState
from backupng.engine.restore.apart import apart


@dataclass(frozen=True, slots=True)
class Ready:
    """What an item is to be, where, what is begun of it there, and its bytes if the backup has
    others.
    """

    state: ItemState
    folder: ItemId | None
    begun: ItemId | None = None
    blob: bytes | None = None

    def chunks(self, path: BackupPath, digest: Digest) -> Iterator[bytes]:
        """Yield the plain bytes of a blob of the item. Raises ReadError or BrokenItem."""
        is_last = digest == self.state.digest
        if is_last and self.blob is not None:
            yield self.blob
        else:
            yield from path.blob(digest, size=self.state.size if is_last else None)

    def apart(self, path: BackupPath) -> Ready:
        """Return the item under another name or UID. Raises ItemError."""
        state, blob = apart(self.state, lambda digest: b"".join(self.chunks(path, digest)))
        return replace(self, state=state, blob=blob)
