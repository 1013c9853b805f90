"""The bytes that records of the redo log carry: kept as blobs before anything refers to them."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import ItemError, ReadError
from backupng.engine.mailserver.zimbra.parsing.mime import Heading, read_heading
from backupng.engine.model import Digest
from backupng.engine.redolog.cursor import Span
from backupng.engine.redolog.ops_mail import INLINE
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.scan.effects import Content

_HEAD_BYTES: Final = 256 << 10
"""Headers of a message lie in so many bytes; more of it is not looked at."""
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_PIECE_BYTES: Final = 1 << 16
_REMEMBERED: Final = 1_000


class Contents:
    """Keeps what records carry, and tells what a record's content is.

    A delivery to several mailboxes carries its bytes in a record of its own and then only names
    their digest, so what a digest was found to be is remembered for a while.
    """

    def __init__(self, path: BackupPath, writer: Writer) -> None:
        self._path = path
        self._writer = writer
        self._facts: OrderedDict[Digest, Heading] = OrderedDict()

    def of(self, fields: Mapping[str, Any], log: RedoLog, *, is_message: bool) -> Content | None:
        """Return what a record with a digest carries or names; None if its bytes cannot be had.

        What its bytes are not, by size or digest, it does not carry.
        """
        digest = Digest(fields["digest"] or "")
        if fields.get("bodyType", INLINE) == INLINE:
            return self._keep(fields, log, digest, is_message=is_message)
        try:
            is_kept = self._writer.has_blob(digest)
        except ReadError:
            return None
        if not is_kept:
            return None
        facts = self._known_facts(digest) if is_message else None
        return Content(digest=digest, size=fields["msgSize"], facts=facts)

    def _keep(
        self, fields: Mapping[str, Any], log: RedoLog, digest: Digest, *, is_message: bool
    ) -> Content | None:
        head = bytearray()
        plain = _noting(_plain(log, fields["data"], fields["msgSize"]), head)
        try:
            found, length, _ = self._writer.add_blob(plain)
        except (ItemError, zlib.error):
            return None
        if length != fields["msgSize"] or (len(digest) == len(found) and digest != found):
            return None
        facts = None
        if is_message:
            facts = self._remember(found, read_heading(bytes(head)))
        return Content(digest=found, size=length, facts=facts)

    def _known_facts(self, digest: Digest) -> Heading:
        if digest in self._facts:
            return self._facts[digest]
        head = bytearray()
        for chunk in self._path.blob(digest):
            head += chunk
            if len(head) >= _HEAD_BYTES:
                break
        return self._remember(digest, read_heading(bytes(head)))

    def _remember(self, digest: Digest, facts: Heading) -> Heading:
        self._facts[digest] = facts
        while len(self._facts) > _REMEMBERED:
            self._facts.popitem(last=False)
        return facts


def _plain(log: RedoLog, span: Span, size: int) -> Iterator[bytes]:
    """Yield a record's bytes as they are, or unpacked where a compressing volume packed them.

    Raises zlib.error; at most one byte more than `size` is unpacked.
    """
    chunks = log.chunks(span)
    first = next(chunks, b"")
    if span.length == size or not first.startswith(_GZIP_MAGIC):
        yield from chain([first], chunks)
        return
    stream, left = zlib.decompressobj(wbits=_GZIP_WINDOW), size + 1
    for packed in chain([first], chunks):
        rest = packed
        while rest and left > 0:
            plain = stream.decompress(rest, min(left, _PIECE_BYTES))
            left -= len(plain)
            rest = stream.unconsumed_tail
            if plain:
                yield plain


def _noting(chunks: Iterable[bytes], head: bytearray) -> Iterator[bytes]:
    for chunk in chunks:
        head += chunk[: max(_HEAD_BYTES - len(head), 0)]
        yield chunk
