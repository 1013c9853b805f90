"""Keep the blobs that a state read from the mail server needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from backupng.engine.backuppath.store import Writer
from backupng.engine.errors import BrokenItem
from backupng.engine.mailserver.port import BlobReference, Source
from backupng.engine.model import Digest, ItemState, Mailbox, spell_digest
from backupng.engine.scan.counts import ScanCounts

_SHA256_LENGTH: Final = 44


@dataclass(frozen=True, slots=True)
class BlobKeeper:
    """Copies blobs from the mail server into the writer's group; durable with its commit."""

    source: Source
    writer: Writer
    counts: ScanCounts

    def keep(self, mailbox: Mailbox, state: ItemState) -> ItemState:
        """Keep every blob of a state read from the source; return it with the digests kept.

        Raises ItemError; the state is not to be written then.
        """
        kept = {
            reference.digest: self._keep(mailbox, reference)
            for reference in self.source.blobs_of(state)
        }
        if all(old == new for old, new in kept.items()):
            return state
        return replace(
            state,
            digest=None if state.digest is None else kept[state.digest],
            kept_as={old: new for old, new in kept.items() if old != new},
        )

    def _keep(self, mailbox: Mailbox, reference: BlobReference) -> Digest:
        """Keep one blob; one of a digest already kept is not read again."""
        is_sha256 = len(reference.digest) == _SHA256_LENGTH
        if is_sha256 and self.writer.has_blob(reference.digest):
            return reference.digest
        old = hashlib.sha1(usedforsecurity=False)
        plain = self.source.blob(mailbox, reference)
        digest, length, written = self.writer.add_blob(plain if is_sha256 else _hashed(plain, old))
        self.counts.bytes_read += length
        self.counts.bytes_written += written
        self.counts.blobs_new += written > 0
        if reference.digest != (digest if is_sha256 else spell_digest(old.digest())):
            raise BrokenItem(
                f"item {reference.item_id}: the blob has another digest than its row says"
            )
        return digest


def _hashed(chunks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
