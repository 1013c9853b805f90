"""What a server reads from a message: judged by rows of a real one, then by hostile mail."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random
from typing import Any

import pytest

from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.mailserver.zimbra.parsing.mime import MessageFacts, describe, message_metadata

MESSAGE, CHAT = 5, 16
ATTACHED, COPIED, HIGH, LOW = 2, 16, 1024, 2048
AT_DELIVERY = ("f", "s", "t", "p", "r")
VOLUMES = {"1": "store", "3": "store2"}

# What the server itself did to these rows after their delivery, by (mailbox, item).
LATER = {
    **{(1, item): ["recipients"] for item in range(440, 445)},  # copied: the column is not filled
    (1, 447): ["sender"],  # a draft saved again: the column stays that of its first version
}


@dataclass(frozen=True)
class Delivered:
    """A row of a real server with the message that it was made from."""

    key: tuple[int, int]
    row: dict[str, Any]
    raw: bytes

    @property
    def as_stored(self) -> dict[str, Any]:
        metadata = decode_column(self.row["metadata"])
        return {
            "metadata": {key: metadata[key] for key in AT_DELIVERY if key in metadata},
            "subject": self.row["subject"],
            "sender": self.row["sender"],
            "recipients": self.row["recipients"],
            "attached": bool(self.row["flags"] & ATTACHED),
            "priority": bool(self.row["flags"] & HIGH) - bool(self.row["flags"] & LOW),
        }

    @property
    def as_described(self) -> dict[str, Any]:
        facts = describe(self.raw)
        return {
            "metadata": message_metadata(facts),
            "subject": facts.subject_column,
            "sender": facts.sender_column,
            "recipients": facts.recipients_column,
            "attached": facts.has_attachment,
            "priority": facts.priority,
        }

    @property
    def differences(self) -> list[str]:
        described = self.as_described
        return [key for key, value in self.as_stored.items() if value != described[key]]


@pytest.fixture(scope="module")
def delivered(genuine: Path) -> list[Delivered]:
    """Every message and chat of the genuine store, those in the dumpster too."""
    history = genuine / "history"
    return [
        Delivered((row["mailbox_id"], row["id"]), row, _blob(history, row))
        for file in sorted((history / "db-rows").glob("mboxgroup*.mail_item*.jsonl"))
        for row in map(json.loads, file.read_text(encoding="utf-8").splitlines())
        if row["type"] in (MESSAGE, CHAT)
    ]


def _blob(history: Path, row: dict[str, Any]) -> bytes:
    folder = history / "volumes" / VOLUMES[row["locator"]] / "0" / str(row["mailbox_id"])
    raw = (folder / "msg" / "0" / f"{row['id']}-{row['mod_content']}.msg").read_bytes()
    return raw if len(raw) == row["size"] else gzip.decompress(raw)


def test_messages_are_described_as_a_real_server_described_them(
    delivered: list[Delivered],
) -> None:
    differing = {each.key: each.differences for each in delivered if each.differences}

    assert len(delivered) == 258
    assert differing == LATER


def test_the_only_other_keys_of_real_metadata_came_after_delivery(
    delivered: list[Delivered],
) -> None:
    keys = {key for each in delivered for key in decode_column(each.row["metadata"])}

    assert keys - {*AT_DELIVERY} == {"d", "mdver", "p3uid", "ver", "xd.zwc"}


def message(*headers: str, body: str = "") -> bytes:
    return "\r\n".join([*headers, "", body]).encode()


@pytest.mark.parametrize(
    ("subject", "column", "prefix", "raw"),
    [
        ("Lunch", "Lunch", None, None),
        ("Re: Lunch", "Lunch", "Re: ", None),
        ("AW: Re(2): [office] Lunch", "Lunch", "AW: Re(2): [office] ", None),
        ("Re:  Lunch  today", "Lunch today", None, "Re:  Lunch  today"),
        ("Lunch (fwd)", "Lunch", None, "Lunch (fwd)"),
        ("[Fwd: Lunch]", "Lunch", None, "[Fwd: Lunch]"),
        ("[office]", "[office]", None, None),
        ("Accepted: Lunch", "Lunch", "Accepted: ", None),
        ("Warning: Lunch", "Warning: Lunch", None, None),
        ("Re:", "", "Re:", None),
        ("=?utf-8?B?8J+YgA==?= party", "? party", None, "😀 party"),
        ("=?utf-8?Q?caf=C3?= =?utf-8?Q?=A9?=", "café", None, None),
        ("=?iso-8859-1?Q?Gr=F6=DFe?=", "Größe", None, None),
        ("=?no-such-charset?Q?caf=C3=A9?=", "café", None, None),
        ("", "", None, None),
    ],
)
def test_a_subject_is_normalised_and_can_be_had_back(
    subject: str, column: str, prefix: str | None, raw: str | None
) -> None:
    facts = describe(message(f"Subject: {subject}"))

    assert (facts.subject_column, facts.prefix, facts.raw_subject) == (column, prefix, raw)
    assert facts.subject in (raw, f"{prefix or ''}{column}")


def test_a_long_subject_is_cut_in_the_column_only() -> None:
    facts = describe(message("Subject: " + "a" * 1023 + "😀" * 5))

    assert facts.subject_column == "a" * 1023 + "?"
    assert facts.raw_subject == facts.subject == "a" * 1023 + "😀" * 5


@pytest.mark.parametrize(
    ("value", "column"),
    [
        ("Ann Sample <ann@example.com>", "Ann Sample"),
        ('"Sample, Ann" <ann@example.com>', "Sample, Ann"),
        ("=?utf-8?Q?Zo=C3=AB?= <zoe@example.com>", "Zoë"),
        ("ann.sample@example.com", "ann sample"),
        ("<ann@example.com>", "ann@example.com"),
        ("ann@example.com (Ann Sample)", "Ann Sample"),
        ("Ann Sample", "Ann Sample"),
        ("Ann <>", "Ann"),
        ("", None),
        ("x" * 200 + " <ann@example.com>", "x" * 128),
    ],
)
def test_lists_sort_by_the_name_of_the_sender_or_by_the_address(
    value: str, column: str | None
) -> None:
    assert describe(message(f"From: {value}")).sender_column == column


def test_recipients_of_all_headers_and_lines_are_joined() -> None:
    raw = message("To: Ann <a@example.com>,", '\t"B, C" <b@example.com>', "To: team: x@y.example;")

    facts = describe(raw)

    assert facts.recipients_column == "Ann, B, C, team"
    assert facts.to == 'Ann <a@example.com>,\t"B, C" <b@example.com>, team: x@y.example;'


def test_without_a_header_there_is_no_value() -> None:
    facts = describe(b"\r\nhello")

    assert (facts.to, facts.recipients_column, facts.sender_column) == (None, None, None)
    assert (facts.message_id, facts.references) == (None, ())
    assert message_metadata(facts) == {"f": "hello", "s": ""}


def test_references_come_first_and_once() -> None:
    raw = message("Message-ID: <c@x>", "In-Reply-To: <b@x> (note)", "References: <a@x><b@x>")

    facts = describe(raw)

    assert facts.message_id == "c@x"
    assert facts.references == ("a@x", "b@x", "(note)")


@pytest.mark.parametrize(
    ("header", "priority"),
    [
        ("X-Priority: 1 (Highest)", 1),
        ("X-Priority: 3", 0),
        ("X-Priority: 5", -1),
        ("Importance: HIGH", 1),
        ("Importance: low", -1),
        ("Importance: whatever", 0),
    ],
)
def test_priority_is_read_from_either_header(header: str, priority: int) -> None:
    assert describe(message(header)).priority == priority


def mixed(*parts: str, subtype: str = "mixed") -> bytes:
    head = f'Content-Type: multipart/{subtype}; boundary="b"'
    return message(head, body="".join(f"--b\r\n{part}\r\n" for part in parts) + "--b--\r\n")


PLAIN = "Content-Type: text/plain\r\n\r\nplain words"
HTML = "Content-Type: text/html\r\n\r\n<style>p{}</style><p>rich&nbsp;<b>words</b> &amp; more</p>"
PDF = 'Content-Type: application/pdf; name="a.pdf"\r\n\r\nx'
INLINE = "Content-Type: image/png\r\nContent-ID: <1>\r\n\r\nx"
FILE = "Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nnotes"


@pytest.mark.parametrize(
    ("raw", "attached", "fragment"),
    [
        (mixed(PLAIN, PDF), True, "plain words"),
        (mixed(PLAIN, HTML, subtype="alternative"), False, "plain words"),
        (mixed(HTML, INLINE, subtype="related"), True, "rich\xa0 words & more"),
        (mixed(PLAIN, FILE), True, "plain words"),
        (mixed(PLAIN, PLAIN), False, "plain words plain words"),
        (mixed("Content-Type: image/png\r\n\r\nx"), False, ""),
        (mixed("\r\nno headers"), False, "no headers"),
        (mixed(), False, ""),
        (b"Content-Type: application/pdf\r\n\r\nx", True, ""),
    ],
)
def test_attachments_and_fragment_follow_the_structure(
    raw: bytes, *, attached: bool, fragment: str
) -> None:
    facts = describe(raw)

    assert (facts.has_attachment, facts.fragment) == (attached, fragment)


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        ("  one\r\n\r\n two\tthree ", "one two three"),
        ("Fine.\r\n\r\nOn Monday Ann wrote:\r\n> lunch?\r\n> now?\r\n\r\nBye", "Fine. ... Bye"),
        ("> lunch?\r\nYes.", "Yes."),
        ("Hello\r\n-- \r\nAnn Sample", "Hello"),
        ("See below\r\n-----Original Message-----\r\nFrom: x", "See below"),
        ("=======\r\nnews", "== news"),
        ("> only\r\n> quoted", "> only > quoted"),
        ("word " * 60, "word " * 29 + "word ..."),
        ("😀" * 100, "😀" * 75 + " ..."),
    ],
)
def test_the_fragment_is_what_somebody_wrote(body: str, fragment: str) -> None:
    assert describe(message("Content-Type: text/plain; charset=utf-8", body=body)).fragment == (
        fragment
    )


def test_the_fragment_of_an_invitation_begins_after_its_rule() -> None:
    text = "Content-Type: text/plain\r\n\r\nWhen: now\r\n\r\n*~*~*~*~*~*~*~*~*~*\r\n\r\nCome!"

    facts = describe(mixed(text, "Content-Type: text/calendar\r\n\r\nx", subtype="alternative"))

    assert facts.fragment == "Come!"


@pytest.mark.parametrize(
    ("charset", "raw"),
    [
        ("utf-8", "è".encode()),
        ("iso-8859-1", b"\xe8"),
        ("no-such-charset", "è".encode()),
        ("zlib", b"\xe8"),
        ("punycode", "è".encode()),
        ("utf-7", b"+AOg-"),
    ],
)
def test_text_is_read_whatever_the_charset_says(charset: str, raw: bytes) -> None:
    facts = describe(message(f"Content-Type: text/plain; charset={charset}") + raw)

    assert facts.fragment == "è"


MANY = 100_000
HOSTILE = {
    "nothing": b"",
    "one line end": b"\r\n",
    "all bytes": bytes(range(256)) * 500,
    "lone surrogates": b"Subject: \xed\xa0\x80\r\nFrom: \xed\xb0\x80@x\r\n\r\n\xed\xa0\x80",
    "surrogate in UTF-7": b"Subject: =?utf-7?Q?+2AA-?=\r\n\r\n",
    "many headers": b"X: y\r\n" * MANY,
    "many recipients": b"To: " + b"a@b, " * MANY + b"\r\n\r\n",
    "open comments": b"From: " + b"(" * MANY + b"\r\n\r\n",
    "open quotes": b"From: " + b'\\"' * MANY + b"\r\n\r\n",
    "many prefixes": b"Subject: " + b"Re: " * MANY + b"\r\n\r\n",
    "many braces": b"Subject: " + b"[re: " * MANY + b"]" * MANY + b"\r\n\r\n",
    "many encoded words": b"Subject: " + b"=?utf-8?B?4pyT?= " * MANY + b"\r\n\r\n",
    "open encoded words": b"Subject: " + b"=?utf-8?B?" * MANY + b"\r\n\r\n",
    "many ids": b"References: " + b"<a@b>" * MANY + b"\r\n\r\n",
    "many parameters": b"Content-Type: text/plain" + b'; a="' * MANY + b"\r\n\r\nx",
    "deep multiparts": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (depth, depth)
        for depth in range(3000)
    ),
    "deep messages": b"Content-Type: message/rfc822\r\n\r\n" * 3000,
    "many parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * MANY,
    "boundary of dashes": b"Content-Type: multipart/mixed; boundary=-\r\n\r\n" + b"\n---" * MANY,
    "endless comment": b"Content-Type: text/html\r\n\r\n" + b"<!--" * MANY,
    "endless script": b"Content-Type: text/html\r\n\r\n" + b"<script>" * MANY,
    "many tags": b"Content-Type: text/html\r\n\r\n" + b"<" * MANY + b"&" * MANY,
    "many quotations": b"\r\nx\r\n" + b"y:\r\n\r\n> z\r\n" * MANY,
    "much white": b"\r\nx" + b"\r\n" * MANY + b"y:" + b" \r\n" * MANY,
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_hostile_mail_is_described_within_all_limits(raw: bytes) -> None:
    facts = describe(raw)

    assert all(text.encode("utf-8") or not text for text in texts_of(facts))
    assert len(facts.subject_column) <= 1024
    assert len(facts.sender_column or "") <= 128
    assert len(facts.recipients_column or "") <= 128
    assert len(facts.fragment) <= 154


@pytest.mark.parametrize("seed", range(20))
def test_damaged_mail_is_described(seed: int) -> None:
    damaged = [damage(f"{seed}/{number}") for number in range(100)]

    texts = [text for raw in damaged for text in texts_of(describe(raw))]

    assert "".join(texts).encode("utf-8")


def damage(seed: str) -> bytes:
    """Change some bytes of a message, or move pieces of another one into it."""
    random = Random(seed)  # noqa: S311  # the same damage in every run
    sources = [mixed(PLAIN, HTML, FILE), *(raw[:2000] for raw in HOSTILE.values())]
    raw = bytearray(random.choice(sources))
    for _ in range(random.randint(1, 12)):
        position = random.randrange(len(raw) + 1)
        piece = random.choice(sources)[: random.randrange(40)]
        raw[position : position + random.randrange(20)] = random.choice([piece, b"", b"\xff"])
    return bytes(raw)


def texts_of(facts: MessageFacts) -> Iterator[str]:
    values = [getattr(facts, field.name) for field in fields(facts)]
    yield from (value for value in values if isinstance(value, str))
    yield from facts.references
