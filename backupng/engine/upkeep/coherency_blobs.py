"""The blobs of a tree beside what its metadata refer to: both in the order of names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.disk import Kind
from backupng.engine.backuppath.layout import Place
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.verifying import Verifier, unpack_twice
from backupng.engine.errors import BrokenItem, ItemError, ReadError
from backupng.engine.model import Digest
from backupng.engine.upkeep.coherency_findings import Finding, Findings, Flaw
from backupng.engine.upkeep.coherency_metadata import Pause
from backupng.engine.upkeep.coherency_references import Reference, References


@dataclass(slots=True)
class BlobCheck:
    """One pass over all blobs. With `is_whole` all metadata were read: else only what those that
    were read refer to is looked at, and nothing is said of the rest.
    """

    path: BackupPath
    references: References
    findings: Findings
    pause: Pause
    is_whole: bool = True
    looks_twice: bool = False
    """Whether what cannot be read is tried as something that was compressed twice."""
    _verifier: Verifier = field(default_factory=Verifier)

    def run(self) -> None:
        """Verify every blob, find the missing ones, and note those that nobody refers to."""
        with closing(self.references.digests()) as named:
            self._compare(named)

    def _compare(self, named: Iterator[tuple[Digest, int | None, int | None]]) -> None:
        wanted = next(named, None)
        for digest, kind in self._blobs():
            while wanted is not None and wanted[0] < digest:
                self._missing(wanted[0])
                wanted = next(named, None)
            if wanted is not None and wanted[0] == digest:
                self._look(digest, kind, sizes=frozenset(wanted[1:]))
                wanted = next(named, None)
            elif self.is_whole:
                self._look(digest, kind, is_claimed=False)
        while wanted is not None:
            self._missing(wanted[0])
            wanted = next(named, None)

    def _blobs(self) -> Iterator[tuple[Digest, Kind]]:
        """Yield every blob by its name, and what it is on the disk, in the order of names."""
        for bucket, kind in self._entries(layout.BLOBS):
            if not layout.is_blob_bucket(bucket):
                self.findings.leave(layout.BLOBS / bucket)
            elif kind is not Kind.FOLDER:
                file = layout.BLOBS / bucket
                self.findings.add(Finding(Flaw.WRONG_TYPE, file, "it is no folder"))
            else:
                self.pause(f"items/{bucket}")
                for name, found in self._entries(layout.BLOBS / bucket):
                    if layout.is_digest(name) and name.startswith(bucket):
                        yield Digest(name), found
                    else:
                        self.findings.leave(layout.BLOBS / bucket / name)

    def _entries(self, folder: Place) -> list[tuple[str, Kind]]:
        try:
            return self.path.tree.entries(folder)
        except ReadError as error:
            self.findings.add(Finding(Flaw.READ_ERROR, folder, str(error)))
            return []

    def _look(
        self,
        digest: Digest,
        kind: Kind,
        *,
        is_claimed: bool = True,
        sizes: frozenset[int | None] = frozenset(),
    ) -> None:
        """Verify one blob; one that is whole and that nobody refers to may be an orphan."""
        if kind is not Kind.FILE:
            self._tell(Flaw.WRONG_TYPE, digest, "it is no regular file", is_claimed=is_claimed)
            return
        try:
            plain = self._verify(digest, max(filter(None, sizes), default=None))
        except BrokenItem as error:
            flaw, why = self._broken(digest, str(error))
            self._tell(flaw, digest, why, is_claimed=is_claimed)
        except ReadError as error:
            self._tell(Flaw.READ_ERROR, digest, str(error), is_claimed=is_claimed)
        else:
            if is_claimed and plain is None:
                self._missing(digest)
            elif is_claimed and sizes - {plain, None}:
                self._wrong_size(digest, plain)
            elif not is_claimed and (mark := self.path.tree.mark(layout.blob_file(digest))):
                self.references.unclaim(digest, changed_ns=mark[3])

    def _verify(self, digest: Digest, size: int | None) -> int | None:
        """Return how long the content is; None if the file is gone since its folder was listed."""
        opened = self.path.tree.open(layout.blob_file(digest))
        if opened is None:
            return None
        length, plain = self._verifier.verify(opened, digest, size)
        self.findings.counts["blobs"] += 1
        self.findings.counts["bytes_read"] += length
        return plain

    def _broken(self, digest: Digest, why: str) -> tuple[Flaw, str]:
        opened = self.path.tree.open(layout.blob_file(digest)) if self.looks_twice else None
        if opened is None:
            return Flaw.WRONG_DIGEST, why
        try:
            for _ in unpack_twice(opened, digest):
                pass
        except ItemError:
            return Flaw.WRONG_DIGEST, why
        return Flaw.COMPRESSED_TWICE, "its content was compressed twice by gzip"

    def _missing(self, digest: Digest) -> None:
        for each in self._referrers(digest):
            if each.is_pending:
                self.findings.counts["pending"] += 1
            else:
                self._add(Flaw.MISSING_BLOB, digest, "a state refers to it", each)

    def _wrong_size(self, digest: Digest, plain: int | None) -> None:
        for each in self._referrers(digest):
            if each.size not in (None, plain):
                why = f"it holds {plain} bytes, its state says {each.size}"
                self._add(Flaw.WRONG_SIZE, digest, why, each)

    def _tell(self, flaw: Flaw, digest: Digest, why: str, *, is_claimed: bool) -> None:
        """Tell of a blob that is not what it should be, once for each thing that refers to it."""
        told = False
        for each in self._referrers(digest) if is_claimed else ():
            self._add(flaw, digest, why, each)
            told = True
        if not told:
            self.findings.add(Finding(flaw, layout.blob_file(digest), why))

    def _referrers(self, digest: Digest) -> Iterator[Reference]:
        found = self.references.referring_to(digest)
        return (each for each in found if not each.is_damaged)

    def _add(self, flaw: Flaw, digest: Digest, why: str, each: Reference) -> None:
        file = layout.blob_file(digest)
        self.findings.add(
            Finding(flaw, file, why, each.account, each.item, is_current=each.is_current)
        )
