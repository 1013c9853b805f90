"""Letters of the seeded content: from words to the bytes that a mail server takes delivery of.

Written by hand for the same reason as files: the library of another Python version may fold or
encode a header differently.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

from backupng.engine.mailserver.sandbox.content.files import File
from backupng.engine.mailserver.sandbox.content.people import Person

_WORD_BYTES = 42
"""Bytes of text in one encoded word, so that a header line stays below 76 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message before it is written down.

    `encoding` is that of its text: 8bit, quoted-printable or base64. With `rich` the text comes
    once more as HTML. `inline` is a picture that the HTML shows.
    """

    sender: Person
    to: tuple[Person, ...]
    subject: str
    date_s: int
    message_id: str
    text: str
    references: tuple[str, ...] = ()
    charset: str = "utf-8"
    encoding: str = "8bit"
    rich: bool = False
    inline: File | None = None
    files: tuple[File, ...] = ()
    headers: tuple[str, ...] = ()


def write(letter: Letter) -> bytes:
    """Write a letter down."""
    head = [
        f"Return-Path: <{letter.sender.address}>",
        f"From: {_mailbox(letter.sender)}",
        f"To: {_joined(map(_mailbox, letter.to))}",
        f"Subject: {encode_words(letter.subject)}",
        f"Date: {format_datetime(datetime.fromtimestamp(letter.date_s, UTC))}",
        f"Message-ID: <{letter.message_id}>",
        *letter.headers,
    ]
    if letter.references:
        head.append(f"In-Reply-To: <{letter.references[-1]}>")
        head.append("References: " + "\r\n ".join(f"<{each}>" for each in letter.references))
    if letter.subject == "":
        head = [line for line in head if not line.startswith("Subject:")]
    head.append("MIME-Version: 1.0")
    return "\r\n".join(head).encode() + b"\r\n" + _content(letter)


def encode_words(text: str) -> str:
    """Return header text, as encoded words where it needs them."""
    if text.isascii() and text.isprintable() and "=?" not in text:
        return text
    words, word = [], b""
    for character in text:
        encoded = character.encode()
        if len(word) + len(encoded) > _WORD_BYTES:
            words.append(word)
            word = b""
        word += encoded
    return "\r\n ".join(f"=?UTF-8?B?{base64.b64encode(each).decode()}?=" for each in [*words, word])


def _mailbox(person: Person) -> str:
    if not person.name.isascii():
        return f"{encode_words(person.name)} <{person.address}>"
    escaped = person.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{person.address}>'


def _joined(words: Iterable[str]) -> str:
    return ",\r\n ".join(words)


def _content(letter: Letter) -> bytes:
    """Return the body with the headers that describe it."""
    content = _text_part(letter, letter.text, "plain")
    if letter.rich:
        markup = _text_part(letter, _markup(letter), "html")
        if letter.inline:
            markup = _multipart(letter, "related", [markup, _file_part(letter.inline, inline=True)])
        content = _multipart(letter, "alternative", [content, markup])
    if letter.files:
        content = _multipart(letter, "mixed", [content, *map(_file_part, letter.files)])
    return content


def _markup(letter: Letter) -> str:
    paragraphs = (
        f"<p>{html.escape(paragraph).replace(chr(10), '<br>')}</p>"
        for paragraph in letter.text.split("\n\n")
    )
    shown = '<img src="cid:picture" alt="Logo">' if letter.inline else ""
    style = "<style>p { margin: 0.5em }</style>"
    body = "\n".join(paragraphs)
    return f"<html><head>{style}</head><body>\n{shown}{body}\n</body></html>\n"


def _text_part(letter: Letter, text: str, subtype: str) -> bytes:
    raw = text.replace("\n", "\r\n").encode(letter.charset, "replace")
    if letter.encoding == "base64":
        raw = _base64(raw)
    elif letter.encoding == "quoted-printable":
        raw = binascii.b2a_qp(raw, istext=True)
    return (
        f"Content-Type: text/{subtype}; charset={letter.charset}\r\n"
        f"Content-Transfer-Encoding: {letter.encoding}\r\n\r\n"
    ).encode() + raw


def _file_part(file: File, *, inline: bool = False) -> bytes:
    if file.name.isascii():
        escaped = file.name.replace("\\", "\\\\").replace('"', '\\"')
        name = f'filename="{escaped}"'
    else:
        name = f"filename*=UTF-8''{quote(file.name, safe='')}"
    lines = [
        f"Content-Type: {file.content_type}",
        f"Content-Disposition: {'inline' if inline else 'attachment'}; {name}",
        "Content-Transfer-Encoding: base64",
    ]
    if inline:
        lines.append("Content-ID: <picture>")
    return "\r\n".join([*lines, "", ""]).encode() + _base64(file.content)


def _base64(raw: bytes) -> bytes:
    return base64.encodebytes(raw).replace(b"\n", b"\r\n")


def _multipart(letter: Letter, subtype: str, parts: list[bytes]) -> bytes:
    digest = hashlib.sha256(f"{letter.message_id}/{subtype}".encode()).hexdigest()
    boundary = f"=_{digest[:24]}"
    delimiter = f"\r\n--{boundary}\r\n".encode()
    head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n'
    body = b"".join(delimiter + part for part in parts)
    return head.encode() + body + f"\r\n--{boundary}--\r\n".encode()
