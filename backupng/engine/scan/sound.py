"""Which blobs of the Backup Path a scan may rely on: those that are there, or those that are whole.

A deep scan reads each blob once before it relies on it. One that is damaged counts as missing: it
is read from the mail server again, and the complete one takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.backuppath.verifying import Verifier
from backupng.engine.errors import ItemError
from backupng.engine.model import Digest

_REMEMBERED: Final = 100_000
"""Blobs that were found whole; more of them are read once more where they are met again."""

_PAUSE_EVERY: Final = 100


class SoundBlobs:
    """The blobs that a scan may rely on; with `reads` only those that were read and are whole."""

    def __init__(
        self, path: BackupPath, writer: Writer, pause: Callable[[], None], *, reads: bool
    ) -> None:
        """`pause` is called now and then while blobs are read; it may raise Stopped."""
        self._tree, self._writer, self._pause = path.tree, writer, pause
        self._verifier = Verifier() if reads else None
        self._whole: set[Digest] = set()

    def has(self, digest: Digest) -> bool:
        """Say whether a blob may be relied on; one that may not is to be kept anew."""
        try:
            if not self._writer.has_blob(digest):
                return False
            self._verify(digest)
        except ItemError:
            # What lies there is no blob, or another: whoever keeps it tells of what it cannot.
            self._writer.distrust(digest)
            return False
        return True

    def _verify(self, digest: Digest) -> None:
        if self._verifier is None or digest in self._whole:
            return
        file = self._tree.open(layout.blob_file(digest))
        if file is None:
            # It waits in the writer's group.
            return
        self._verifier.verify(file, digest)
        if len(self._whole) >= _REMEMBERED:
            self._whole.clear()
        self._whole.add(digest)
        if len(self._whole) % _PAUSE_EVERY == 0:
            self._pause()
