"""Header blocks of mail: found, unfolded and decoded by hand.

The standard parser of Python needs quadratic time, or raises, on headers that real mailboxes hold.
Everything here is linear and total: any bytes give an answer.
"""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from backupng.engine.mailserver.zimbra.parsing import utf16

MAX_HEADER_BYTES = 256 * 1024
"""Headers beyond this are not looked at."""
_MAX_PARAMETERS = 100
_MAX_PARAMETER_BYTES = 16 * 1024

_BLANK_LINE = re.compile(rb"\r?\n")
_BLOCK_END = re.compile(rb"\n\r?\n")
_NAME = re.compile(rb"([!-9;-~]{1,200})[ \t]*:")
_ENCODED_WORD = re.compile(r"=\?([^?\s*]{1,64})(?:\*[^?\s]{0,64})?\?([bBqQ])\?([^?\r\n]*)\?=")
_PARAMETER = re.compile(r';\s*([^\s=;"]{1,100})\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;]*))', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_NO_CHARSETS = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
)
"""Text codecs of Python that no mail can mean; some of them are slow or raise."""


@dataclass(frozen=True, slots=True)
class Headers:
    """Names in lower case with their unfolded raw values, in the order of the message."""

    items: tuple[tuple[str, bytes], ...] = ()

    def all(self, name: str) -> Iterator[str]:
        """Yield the raw values under a name as text; encoded words stay encoded."""
        return (decode_bytes(value) for key, value in self.items if key == name)

    def first(self, name: str) -> str | None:
        """Return the first raw value under a name as text, or None."""
        return next(self.all(name), None)


def split_headers(raw: bytes, start: int, end: int) -> tuple[Headers, int]:
    """Read the header block at `start`; return it with the offset where the body begins."""
    blank = _BLANK_LINE.match(raw, start, end)
    if blank:
        return Headers(), blank.end()
    found = _BLOCK_END.search(raw, start, end)
    body = found.end() if found else end
    return Headers(tuple(_unfold(raw[start : min(body, start + MAX_HEADER_BYTES)]))), body


def _unfold(block: bytes) -> Iterator[tuple[str, bytes]]:
    name = ""
    value: list[bytes] = []
    for line in block.split(b"\n"):
        line = line.rstrip(b"\r")
        if line[:1] in (b" ", b"\t"):
            value.append(line)
            continue
        if name:
            yield name, b"".join(value).strip()
        match = _NAME.match(line)
        name = match[1].decode("ascii").lower() if match else ""
        value = [line[match.end() :]] if match else []
    if name:
        yield name, b"".join(value).strip()


def parse_parameters(value: str) -> tuple[str, dict[str, str]]:
    """Split `type/subtype; name=value` into the word before and the parameters, names lowered."""
    value = value[:_MAX_PARAMETER_BYTES]
    parameters: dict[str, str] = {}
    for match in _PARAMETER.finditer(value):
        name, quoted, plain = match.groups()
        text = plain.strip() if quoted is None else _ESCAPED.sub(r"\1", quoted)
        parameters.setdefault(name.lower(), text)
        if len(parameters) >= _MAX_PARAMETERS:
            break
    return value.partition(";")[0].strip().lower(), parameters


def decode_words(text: str) -> str:
    """Decode the encoded words of RFC 2047, leniently.

    Neighbours of one charset are joined before they are decoded: many programs cut a character in
    two. A word that cannot be decoded stays as it is.
    """
    pieces: list[str] = []
    pending: list[bytes] = []
    charset, position = "", 0
    for match in _ENCODED_WORD.finditer(text):
        between = text[position : match.start()]
        if not charset or between.strip() or match[1].lower() != charset:
            pieces.append(decode_bytes(b"".join(pending), charset=charset))
            pieces.append("" if charset and not between.strip() else between)
            pending = []
        charset = match[1].lower()
        pending.append(_decode_word(match[2], match[3]))
        position = match.end()
    pieces.append(decode_bytes(b"".join(pending), charset=charset))
    pieces.append(text[position:])
    return utf16.clean("".join(pieces))


def _decode_word(encoding: str, word: str) -> bytes:
    raw = word.encode("utf-8", "replace")
    if encoding in "bB":
        return decode_base64(raw)
    return binascii.a2b_qp(raw, header=True)


def decode_base64(raw: bytes) -> bytes:
    """Decode base64, skipping what is none and forgiving missing or early padding."""
    digits = _NOT_BASE64.sub(b"", raw)
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def decode_bytes(raw: bytes, *, charset: str = "") -> str:
    """Decode text in a named charset; without a usable name, as UTF-8 or else as Windows-1252."""
    codec = _text_codec(charset)
    if codec:
        try:
            return utf16.clean(raw.decode(codec, "replace"))
        except (LookupError, UnicodeError):
            pass
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _text_codec(charset: str) -> str:
    try:
        name = codecs.lookup(charset.strip()).name if charset else ""
    except (LookupError, ValueError):
        return ""
    return "" if name in _NO_CHARSETS else name
