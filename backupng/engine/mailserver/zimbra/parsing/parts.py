"""The MIME tree of a message: where its parts lie, which are its body, which are attachments.

The rules are those of the real server, Zimbra/zm-mailbox
`store/src/java/com/zimbra/cs/mime/Mime.java`. Parts are offsets into the message, so nesting costs
no copies; depth and number have budgets, and what lies beyond them is not looked at.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field

from backupng.engine.mailserver.zimbra.parsing.headers import (
    Headers,
    decode_base64,
    decode_bytes,
    parse_parameters,
    split_headers,
)

MAX_DEPTH = 20
MAX_PARTS = 500
MAX_TEXT_BYTES = 1024 * 1024
"""Encoded bytes of one part that are read for its text."""

_INLINE_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif"})
_NO_ATTACHMENTS = frozenset(
    {
        "message/delivery-status",
        "message/disposition-notification",
        "xml/x-zimbra-share",
        "xml/x-zimbra-dl-subscription",
    }
)
_FIRST_CHILD_ONLY = frozenset(
    {"multipart/digest", "multipart/encrypted", "multipart/signed"},
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One part: its headers and the extent of its body in the message, with its children."""

    headers: Headers
    start: int
    end: int
    content_type: str
    parameters: dict[str, str]
    children: tuple[Part, ...] = ()

    @property
    def is_multipart(self) -> bool:
        return self.content_type.startswith("multipart/")

    @property
    def is_message(self) -> bool:
        return self.content_type == "message/rfc822"

    @property
    def is_text(self) -> bool:
        return self.content_type.startswith("text/")

    @property
    def is_attachment(self) -> bool:
        """Whether the part itself says so; compare `has_attachment`."""
        disposition = self.headers.first("content-disposition") or ""
        return parse_parameters(disposition)[0] == "attachment"

    def walk(self) -> Iterator[Part]:
        """Yield the part and everything below it in the order of the message."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(slots=True)
class _Reader:
    raw: bytes
    left: int = field(default=MAX_PARTS)

    def part(self, start: int, end: int, *, depth: int, default: str) -> Part:
        self.left -= 1
        headers, body = split_headers(self.raw, start, end)
        word, parameters = parse_parameters(headers.first("content-type") or "")
        content_type = word if word.count("/") == 1 else default
        children: tuple[Part, ...] = ()
        if depth < MAX_DEPTH and self.left > 0:
            children = tuple(self._children(content_type, parameters, (body, end), depth=depth + 1))
        return Part(
            headers=headers,
            start=body,
            end=end,
            content_type=content_type,
            parameters=parameters,
            children=children,
        )

    def _children(
        self, content_type: str, parameters: dict[str, str], extent: tuple[int, int], *, depth: int
    ) -> Iterator[Part]:
        if content_type == "message/rfc822":
            yield self.part(*extent, depth=depth, default="text/plain")
        elif content_type.startswith("multipart/") and parameters.get("boundary"):
            inner = "message/rfc822" if content_type == "multipart/digest" else "text/plain"
            boundary = parameters["boundary"].encode("utf-8", "replace").rstrip()
            for start, end in self._between(b"--" + boundary, extent):
                if self.left <= 0:
                    return
                yield self.part(start, end, depth=depth, default=inner)

    def _between(self, delimiter: bytes, extent: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """Yield the extents between the delimiter lines; a missing last line is forgiven."""
        begin, end = extent
        position = begin
        if not self.raw.startswith(delimiter, begin, end):
            position = self.raw.find(b"\n" + delimiter, begin, end) + 1
        while position:
            line_end = self.raw.find(b"\n", position, end)
            after = position + len(delimiter)
            if line_end < 0 or self.raw.startswith(b"--", after, end):
                return
            following = self.raw.find(b"\n" + delimiter, line_end, end)
            if following < 0:
                yield line_end + 1, end
                return
            yield line_end + 1, max(line_end + 1, self._before_line_end(following))
            position = following + 1

    def _before_line_end(self, newline: int) -> int:
        return newline - 1 if self.raw[newline - 1 : newline] == b"\r" else newline


def read_parts(raw: bytes) -> Part:
    """Read the tree of a message; any bytes give one."""
    return _Reader(raw).part(0, len(raw), depth=0, default="text/plain")


def body_parts(root: Part, *, prefer_html: bool) -> tuple[Part, ...]:
    """Return the parts that are the message's body, in order."""
    if root.is_multipart:
        return tuple(_bodies(root, prefer_html=prefer_html))
    return () if root.is_attachment else (root,)


def _bodies(part: Part, *, prefer_html: bool) -> list[Part]:
    if part.content_type == "multipart/alternative":
        return _alternative(part, prefer_html=prefer_html)
    if part.content_type == "multipart/related":
        return _related(part, prefer_html=prefer_html)
    children = part.children
    if part.content_type in _FIRST_CHILD_ONLY:
        children = children[:1]
    found: list[Part] = []
    for child in children:
        if child.is_multipart:
            found += _bodies(child, prefer_html=prefer_html)
        elif _may_be_body(child):
            found.append(child)
    return found


def _may_be_body(part: Part) -> bool:
    named = part.headers.first("content-id") is not None
    return not part.is_attachment and not part.is_message and (part.is_text or not named)


def _alternative(part: Part, *, prefer_html: bool) -> list[Part]:
    wanted, other = "text/plain", "text/html"
    if prefer_html:
        wanted, other = other, wanted
    second: list[Part] = []
    for child in part.children:
        if child.is_multipart:
            found = _bodies(child, prefer_html=prefer_html)
            if found:
                return found
        elif child.content_type == wanted and not child.is_attachment:
            return [child]
        elif child.content_type in (other, "text/enriched") and not child.is_attachment:
            second = second or [child]
    return second


def _related(part: Part, *, prefer_html: bool) -> list[Part]:
    root = part.parameters.get("start")
    named = [child for child in part.children if root and child.headers.first("content-id") == root]
    for child in named or part.children:
        if child.is_multipart:
            return _bodies(child, prefer_html=prefer_html)
        if child.is_text or named:
            return [child]
    return list(part.children[:1])


def has_attachment(root: Part) -> bool:
    """Tell whether users see a paper clip on the message."""
    bodies = frozenset(body_parts(root, prefer_html=True))
    return any(
        part not in bodies or part.content_type not in _INLINE_IMAGES
        for part in _attachments(root, bodies, above=())
    )


def _attachments(part: Part, bodies: frozenset[Part], *, above: tuple[Part, ...]) -> Iterator[Part]:
    if not part.is_multipart and part.content_type not in _NO_ATTACHMENTS:
        is_plain_text = part.is_text and (part in bodies or _belongs_to_text(part, above))
        if not is_plain_text:
            yield part
    for child in part.children:
        yield from _attachments(child, bodies, above=(*above, part))


def _belongs_to_text(part: Part, above: tuple[Part, ...]) -> bool:
    """Tell whether a text part is the text of some message rather than a file sent with it."""
    if not above or above[-1].is_message:
        return True
    parent = above[-1]
    if parent.content_type == "multipart/alternative":
        return True
    is_top = len(above) == 1 or above[-2].is_message
    return is_top and parent.children[0] is part


def decoded_text(raw: bytes, part: Part) -> str:
    """Return the text of a text part, decoded, as far as the budget of `MAX_TEXT_BYTES` goes."""
    body = raw[part.start : min(part.end, part.start + MAX_TEXT_BYTES)]
    encoding = (part.headers.first("content-transfer-encoding") or "").strip().lower()
    if encoding == "base64":
        body = decode_base64(body)
    elif encoding == "quoted-printable":
        body = binascii.a2b_qp(body)
    return decode_bytes(body, charset=part.parameters.get("charset", ""))
