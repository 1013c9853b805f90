"""What a mail server learns from a message when it takes delivery: the content of its row."""

from __future__ import annotations

from dataclasses import dataclass

from backupng.engine.mailserver.zimbra.parsing import utf16
from backupng.engine.mailserver.zimbra.parsing.addresses import parse_address, parse_addresses
from backupng.engine.mailserver.zimbra.parsing.fragment import html_to_text, make_fragment
from backupng.engine.mailserver.zimbra.parsing.headers import (
    Headers,
    decode_words,
    split_headers,
)
from backupng.engine.mailserver.zimbra.parsing.parts import (
    Part,
    body_parts,
    decoded_text,
    has_attachment,
    read_parts,
)
from backupng.engine.mailserver.zimbra.parsing.subject import describe_subject

_ADDRESS_UNITS = 128
"""Length of the columns `sender` and `recipients`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What lists show of a message.

    `sender` and `to` are header values, unfolded, encoded words left as they are, as the metadata
    keeps them; the columns hold what lists sort by. `prefix` and `raw_subject` lead from
    `subject_column` back to `subject`.
    """

    subject: str
    subject_column: str
    prefix: str | None
    raw_subject: str | None
    sender: str
    sender_column: str | None
    to: str | None
    recipients_column: str | None

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata map of a row, so far as it is of these (`zimbra-store.md` §8.6)."""
        optional = {"t": self.to, "p": self.prefix, "r": self.raw_subject}
        return {"s": self.sender} | {
            key: text for key, text in optional.items() if text is not None
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFacts(Heading):
    """What a message says about itself.

    Message ids carry no angle brackets. `priority` is -1 for low, 1 for high.
    """

    fragment: str
    has_attachment: bool
    priority: int
    message_id: str | None
    references: tuple[str, ...]


def describe(raw: bytes) -> MessageFacts:
    """Describe a message; any bytes are one, garbage is a message without headers."""
    root = read_parts(raw)
    headers = root.headers
    heading = _heading(headers)
    return MessageFacts(
        **{name: getattr(heading, name) for name in Heading.__slots__},
        fragment=_fragment(raw, root),
        has_attachment=has_attachment(root),
        priority=_priority(headers),
        message_id=next(iter(_ids(headers, "message-id")), None),
        references=_references(headers),
    )


def read_heading(raw: bytes) -> Heading:
    """Describe a message by its headers alone; `raw` may end where they do."""
    headers, _ = split_headers(raw, 0, len(raw))
    return _heading(headers)


def message_metadata(facts: MessageFacts) -> dict[str, str]:
    """Return the metadata map of a message or chat at its delivery (`zimbra-store.md` §8.6)."""
    return {"f": facts.fragment, **facts.metadata}


def _heading(headers: Headers) -> Heading:
    subject = headers.first("subject")
    described = describe_subject(decode_words(subject) if subject is not None else None)
    sender = _sender(headers)
    to = ", ".join(headers.all("to")) if headers.first("to") is not None else None
    recipients = ", ".join(address.sort_text for address in parse_addresses(to or ""))
    return Heading(
        subject=described.full,
        subject_column=described.column,
        prefix=described.prefix,
        raw_subject=described.raw,
        sender=sender,
        sender_column=utf16.column(parse_address(sender).sort_text, _ADDRESS_UNITS) or None,
        to=to,
        recipients_column=utf16.column(recipients, _ADDRESS_UNITS) or None,
    )


def _sender(headers: Headers) -> str:
    sender = headers.first("from")
    if sender is None:
        sender = headers.first("sender") or ""
    return utf16.trim(sender[:-2]) if sender.endswith("<>") else sender


def _fragment(raw: bytes, root: Part) -> str:
    texts = (_words(raw, part) for part in body_parts(root, prefer_html=False))
    invitation = any(part.content_type == "text/calendar" for part in root.walk())
    return make_fragment(" ".join(filter(None, texts)), invitation=invitation)


def _words(raw: bytes, part: Part) -> str:
    if part.content_type == "text/html":
        return html_to_text(decoded_text(raw, part))
    is_plain = part.is_text and part.content_type != "text/calendar"
    return decoded_text(raw, part) if is_plain else ""


def _priority(headers: Headers) -> int:
    number = (headers.first("x-priority") or "").strip()[:1]
    if number and number in "12345":
        return {"1": 1, "2": 1, "3": 0}.get(number, -1)
    word = (headers.first("importance") or "").strip().lower()
    if word.startswith("high"):
        return 1
    return -1 if word.startswith("low") else 0


def _references(headers: Headers) -> tuple[str, ...]:
    ids = [*_ids(headers, "references"), *_ids(headers, "in-reply-to")]
    return tuple(dict.fromkeys(ids))


def _ids(headers: Headers, name: str) -> list[str]:
    """Return the message ids of a header without brackets; comments are left out."""
    found = []
    for value in headers.all(name):
        for word in value.replace(">", "> ").split():
            address = parse_address(word).email or word.strip("<>")
            found.append(address)
    return [utf16.clean(word) for word in found if word]
