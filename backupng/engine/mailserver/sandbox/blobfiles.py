"""class BlobFiles: the blob files of one change on a sandbox's volumes.

Written before the change is committed, removed after it: a kill leaves files that no row names, and
never a row without its file.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from backupng.engine.errors import MailServerError, ReadError
from backupng.engine.mailserver.zimbra import volumes
from backupng.engine.model import spell_digest


class BlobFiles:
    """Blob files of one mailbox, kept or undone together."""

    def __init__(
        self, all_volumes: Mapping[int, volumes.Volume], current: int, mailbox_id: int
    ) -> None:
        self._volumes = all_volumes
        self._current = all_volumes[current]
        self._mailbox_id = mailbox_id
        self._written: list[Path] = []
        self._forgotten: list[Path] = []

    def write(self, item: int, data: bytes, *, mod_content: int) -> dict[str, Any]:
        """Write a blob to the current volume; return the columns that name it."""
        path = volumes.blob_path(
            self._current, self._mailbox_id, item_id=item, mod_content=mod_content
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            with path.open("wb") as file:
                self._written.append(path)
                file.write(self.packed(data))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise MailServerError(f"The blob {path} cannot be written: {error}.") from error
        return {
            "locator": str(self._current.volume_id),
            "blob_digest": spell_digest(hashlib.sha256(data).digest()),
            "size": len(data),
        }

    def read(self, item: int, row: Mapping[str, Any]) -> bytes:
        """Return the plain bytes of an item's blob. Raises ReadError or BrokenItem."""
        try:
            volume = self._volumes[volumes.volume_id_of(row["locator"])]
        except KeyError as error:
            raise ReadError(f"item {item}: its volume is not there") from error
        mod_content = int(row["mod_content"])
        path = volumes.find_blob(volume, self._mailbox_id, item_id=item, mod_content=mod_content)
        with volumes.open_blob(path, row["size"]) as blob:
            return blob.read()

    def forget(self, item: int, row: Mapping[str, Any]) -> None:
        """Note that a row of an item or of its older versions goes, and its blob with it.

        What lies in a store that only the server itself can reach stays there.
        """
        if row["locator"] is None:
            return
        with suppress(ReadError, KeyError, ValueError):
            volume = self._volumes[volumes.volume_id_of(row["locator"])]
            mod_content = int(row["mod_content"])
            path = volumes.find_blob(
                volume, self._mailbox_id, item_id=item, mod_content=mod_content
            )
            self._forgotten.append(path)

    def undo(self) -> None:
        """Remove what a failed change has written."""
        _remove(self._written)

    def settle(self) -> None:
        """Remove what a committed change has forgotten."""
        _remove(self._forgotten)

    def packed(self, data: bytes) -> bytes:
        """Compress as the volume says; a result of the very length of the data would look plain."""
        volume = self._current
        if not volume.compress_blobs or len(data) <= volume.compression_threshold_bytes:
            return data
        packed = gzip.compress(data, mtime=0)
        return packed if len(packed) != len(data) else data


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()
