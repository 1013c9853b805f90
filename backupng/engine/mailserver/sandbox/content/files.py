"""Files of the seeded content: what people send along and keep in their briefcase.

They are built by hand, byte by byte: a compressor or a library of another version would write
other bytes, and the same seed has to give the same ones everywhere.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from backupng.engine.mailserver.sandbox.content.dice import Dice
from backupng.engine.mailserver.sandbox.content.words import COMPANIES, FILE_STEMS

SHARED_FILES = 8
"""Files of the company that turn up in many mailboxes."""
_USUAL = 5000
_LARGEST = 145 * 1024
"""Bytes; on its way by mail a file grows by a third."""
_LARGEST_PIECE = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file with its name, as somebody sends or keeps it."""

    name: str
    content_type: str
    content: bytes


def any_file(dice: Dice) -> File:
    """Make a file of some kind; most are small, few are large."""
    size = dice.long_tail(_USUAL, _LARGEST)
    stem = f"{dice.pick(FILE_STEMS)} {dice.between(1, 99)}"
    make = dice.pick((_pdf, _pdf, _picture, _table, _invoice, _text, _unknown))
    return make(dice, stem, size)


def shared_file(seed: int, domain: str, number: int) -> File:
    """Return one of the files that everybody in the domain has; the same for all accounts."""
    return any_file(Dice(seed, domain, "file", number % SHARED_FILES))


def picture(dice: Dice, size: int) -> bytes:
    """Return a PNG picture of about `size` bytes, coloured noise."""
    width = max(1, int((size / 3) ** 0.5))
    rows = b"".join(b"\0" + dice.noise(3 * width) for _ in range(width))
    header = struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", _stored(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in chunks)


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + checksum


def _stored(content: bytes) -> bytes:
    """Wrap bytes the way zlib does, uncompressed: no version of it can do that differently."""
    pieces = [
        content[start : start + _LARGEST_PIECE] for start in range(0, len(content), _LARGEST_PIECE)
    ]
    blocks = (
        struct.pack("<BHH", piece is pieces[-1], len(piece), len(piece) ^ 0xFFFF) + piece
        for piece in pieces
    )
    return b"\x78\x01" + b"".join(blocks) + struct.pack(">I", zlib.adler32(content))


def _picture(dice: Dice, stem: str, size: int) -> File:
    return File(name=f"{stem}.png", content_type="image/png", content=picture(dice, size))


def _pdf(dice: Dice, stem: str, size: int) -> File:
    """Make a document of one page; a stream that nothing refers to gives it its size."""
    page = f"BT /F1 18 Tf 72 720 Td (Example {dice.between(1000, 9999)}) Tj ET".encode()
    noise = dice.noise(size)
    resources = b"/Resources << /Font << /F1 5 0 R >> >>"
    bodies = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R %b >>" % resources,
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(noise), noise),
    )
    content = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(bodies, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start, count = len(content), len(bodies) + 1
    content += b"xref\n0 %d\n0000000000 65535 f \n%b" % (count, table)
    content += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, start)
    return File(name=f"{stem}.pdf", content_type="application/pdf", content=bytes(content))


def _table(dice: Dice, stem: str, size: int) -> File:
    rows = ["Nr;Firma;Größe;€"]
    for number in range(1, size // 40 + 2):
        company = dice.pick(COMPANIES).replace('"', '""')
        rows.append(f'{number};"{company}";{dice.between(1, 99)};{dice.between(100, 9999)},50')
    content = "\r\n".join(rows).encode("utf-8-sig")
    return File(name=f"{stem}.csv", content_type="text/csv", content=content)


def _invoice(dice: Dice, stem: str, size: int) -> File:
    lines = "".join(
        f'  <line number="{number}" quantity="{dice.between(1, 50)}">perché è così</line>\n'
        for number in range(1, size // 60 + 2)
    )
    content = f'<?xml version="1.0" encoding="UTF-8"?>\n<invoice>\n{lines}</invoice>\n'
    return File(name=f"{stem}.xml", content_type="application/xml", content=content.encode())


def _text(dice: Dice, stem: str, size: int) -> File:
    lines = (f"Zeile {number}: {dice.pick(FILE_STEMS)}" for number in range(size // 30 + 1))
    return File(name=f"{stem}.txt", content_type="text/plain", content="\n".join(lines).encode())


def _unknown(dice: Dice, stem: str, size: int) -> File:
    return File(
        name=f"{stem}.dat", content_type="application/octet-stream", content=dice.noise(size)
    )
