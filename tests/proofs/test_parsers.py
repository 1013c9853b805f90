"""P24. Parsers survive garbage: whatever is changed in real samples, only our errors come out.

Damaged redo logs have tests of their own (tests/engine/redolog/test_mutations.py).
"""

from __future__ import annotations

import io
import json
import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import blobs, metadata, provisioning, values
from backupng.engine.backuppath.pending import Frontier
from backupng.engine.errors import BackupError
from backupng.engine.mailserver.zimbra import rows
from backupng.engine.mailserver.zimbra.ldap import LdapDirectory
from backupng.engine.mailserver.zimbra.ldapclient import Found
from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.mailserver.zimbra.parsing import mime
from backupng.engine.mailserver.zimbra.parsing.calendar import read_ics
from backupng.engine.mailserver.zimbra.parsing.contacts import read_vcard
from backupng.engine.model import AccountId, Digest, EntryKind, ItemId
from tests.cast import message
from tests.proofs.golden import CARD, EVENT
from tests.proofs.told import new_seed, tell

TREE = Path(__file__).resolve().parents[2] / "fixtures" / "formats" / "1.0" / "tree"
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**31, 2**63, -(2**63), 10**30, 1.5, "", "\x00", "\ud800"),
    *([], {}, [[]], {"base64": "!"}, {"": None}, [None], "true", "1", "../../x", "é" * 40),
)
PIECES = (*(bytes([each]) for each in b'\x00\xff"{}[]\n-e:;,'), b"\\u", b"9" * 30, b"=?")

Read = Callable[[bytes], object]


@dataclass(frozen=True)
class Parser:
    """What reads bytes, real samples of them, and how a damaged sample is sealed again."""

    read: Read
    samples: tuple[bytes, ...]
    is_json: bool = False
    share: int = 4
    """How much of its count it is tried with, in quarters: slow ones less."""


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Change bytes at one to three places."""
    for _ in range(dice.randrange(1, 4)):
        at, size = dice.randrange(len(data) + 1), dice.choice((1, 1, 2, 8, 60))
        new = dice.choice((dice.randbytes(size), dice.choice(PIECES), data[:size], b""))
        data = data[:at] + new + data[at + dice.choice((0, len(new), size)) :]
    return data


def distorted(data: bytes, dice: random.Random) -> bytes:
    """Put something odd in the place of one value of a JSON object, or take it away."""
    body = json.loads(data)
    places = list(_places(body))
    holder, key = dice.choice(places)
    other, its_key = dice.choice(places)
    odd = dice.choice((*ODD, other[its_key]))
    holder[key] = deepcopy(odd)
    if dice.random() < 0.1:
        del holder[key]
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        inner = list(value)
    elif isinstance(value, list):
        inner = range(len(value))
    for key in inner:
        yield value, key
        yield from _places(value[key])


@cache
def bodies(pattern: str) -> tuple[bytes, ...]:
    """Return the bodies of histories in the golden tree."""
    found = [
        line.rpartition(b" #")[0]
        for file in sorted(TREE.glob(pattern))
        for line in file.read_bytes().splitlines()
    ]
    return tuple(each for each in found if b'"more":' not in each)


def read_history(data: bytes) -> None:
    """Read the lines of a history, as they are and sealed anew."""
    whole = metadata.read_lines(data, "ng1/a/257")
    assert whole.good <= len(data)
    digits, lines = metadata.first_digits("ng1/a/257"), b""
    for body in data.split(b"\n"):
        line, digits = metadata.seal(digits, body)
        lines += line
    again = metadata.read_lines(lines, "ng1/a/257")
    assert (again.good, again.damage) == (len(lines), "")


def read_format(data: bytes) -> None:
    text = data.rpartition(b"#")[0]
    for each in (data, text + b"#%08x\n" % zlib.crc32(text)):
        provisioning.parse_format(each, where="format")


def read_checkpoint(data: bytes) -> None:
    sealed = data + b" #%08x\n" % zlib.crc32(data)
    said = provisioning.parse_checkpoint(sealed, where="checkpoint")
    assert isinstance(said, dict)


def read_source(data: bytes) -> None:
    Frontier(5, 5, (1, 2)).is_newer(data.decode("utf-8", "replace"))


def read_blob(data: bytes, digest: Digest) -> None:
    """Unpack a blob: what comes out to the end is what the digest names."""
    for _ in blobs.unpack(io.BytesIO(data), digest):
        pass


def read_row(data: bytes) -> None:
    row = values.load_body(data)
    if type(row.get("id")) is int:
        rows.read_row({**dict.fromkeys(COLUMNS), **row})


COLUMNS = (
    *("mailbox_id", "id", "type", "parent_id", "folder_id", "prev_folders", "index_id", "imap_id"),
    *("date", "size", "locator", "blob_digest", "unread", "flags", "tags", "tag_names", "sender"),
    *("subject", "name", "metadata", "mod_metadata", "change_date", "mod_content", "uuid"),
    *("recipients",),
)


DIRECTORY = LdapDirectory("ldap://127.0.0.1:1", bind_dn="cn=x", password="x")
"""It never asks anybody."""


def read_entry_of_ldap(data: bytes) -> None:
    """Read an entry of a directory, with the same once more as its child."""
    text = data.decode("utf-8", "replace")
    lines = [line.partition(": ") for line in text.split("\n")]
    attributes = {name: (value.encode(), value.encode()) for name, _, value in lines[1:]}
    found = Found(dn=lines[0][2], attributes=attributes)
    for kind in EntryKind:
        DIRECTORY._entry(kind, found, [found, found])


LDAP = tuple(
    "\n".join(lines).encode()
    for lines in (
        (
            "dn: uid=alice,ou=people,dc=example,dc=com",
            "zimbraId: 115da28f-a8a0-484f-a874-7000d93242b1",
            "zimbraMailDeliveryAddress: alice@example.com",
            "uid: alice",
        ),
        (
            "dn: zimbraSignatureName=Mit Gr\\C3\\BC\\C3\\9Fen\\, A,uid=anna,dc=example,dc=com",
            "zimbraSignatureId: 5a62fc0b",
            "zimbraId: 5a62fc0b",
            "zimbraSignatureName: x",
        ),
        ("dn: dc=example,dc=com", "zimbraId: 1", "zimbraDomainName: example.com", "dc: example"),
    )
)


def _row_samples() -> tuple[bytes, ...]:
    found = [json.loads(body).get("row") for body in bodies("accounts/*/items/*/*")]
    return tuple(values.dump_body(row) for row in found if row)


def _metadata_samples() -> tuple[bytes, ...]:
    found = [json.loads(row).get("metadata") for row in _row_samples()]
    encoded = b"=?UTF-8?B?ZDE6YTM6YcOkdzE6dmkxMGVl?="
    ancient = b"a=3:xyz;v=2:10;"
    return (*{each.encode() for each in found if each}, encoded, ancient)


def _blob(name: str, codec: str) -> Parser:
    data = next(each for each in TREE.glob("items/*/*") if each.name == name).read_bytes()
    assert blobs.codec_of(io.BytesIO(data), Digest(name)) == codec
    return Parser(partial(read_blob, digest=Digest(name)), (data,))


ACCOUNT = AccountId("a")
ENTRIES = bodies("accounts/*/account") + bodies("server/*/*")
PARTS = (
    "Content-Type: multipart/mixed; boundary=b\nSubject: x\n\n--b\n"
    "Content-Type: text/html; charset=utf-7\nContent-Transfer-Encoding: base64\n\nPGI+\n--b\n"
    "Content-Type: message/rfc822\n\nSubject: =?x?b?y?=\n\nz\n--b--\n"
)
MESSAGES = (
    message("Größe =?utf-8?q?=C3=BC?=", body="x" * 200),
    PARTS.replace("\n", "\r\n").encode(),
)


def _entry_of(data: bytes) -> None:
    body = values.load_body(data)
    provisioning.parse_entry(EntryKind.ACCOUNT, str(body.get("id")), body)


def _name_of(codec: str) -> str:
    expected: Any = json.loads((TREE.parent / "expected.json").read_text("utf-8"))
    names = (str(name) for name, (each, _) in expected["blobs"].items() if each == codec)
    return next(names)


PARSERS = {
    "lines": Parser(read_history, tuple(f.read_bytes() for f in TREE.glob("accounts/*/account"))),
    "items": Parser(
        lambda data: metadata.parse_state(ItemId(257), values.load_body(data)),
        bodies("accounts/*/items/*/*"),
        is_json=True,
    ),
    "entries": Parser(_entry_of, ENTRIES, is_json=True),
    "mailboxes": Parser(
        lambda data: provisioning.parse_mailbox(ACCOUNT, values.load_body(data)),
        bodies("accounts/*/mailbox"),
        is_json=True,
    ),
    "checkpoints": Parser(read_checkpoint, bodies("checkpoint/*"), is_json=True),
    "format": Parser(read_format, ((TREE / "format").read_bytes(),)),
    "positions": Parser(read_source, (b"log:7:1234", b"scan:1772452800000")),
    "zstd": _blob(_name_of("zstd"), "zstd"),
    "gzip": _blob(_name_of("gzip"), "gzip"),
    "rows": Parser(read_row, _row_samples(), is_json=True),
    "metadata": Parser(
        lambda data: decode_column(data.decode("utf-8", "surrogateescape")), _metadata_samples()
    ),
    "directory": Parser(read_entry_of_ldap, LDAP, share=2),
    "messages": Parser(mime.describe, MESSAGES, share=2),
    "cards": Parser(read_vcard, (CARD.format("friend").encode(),)),
    "events": Parser(
        lambda data: read_ics(data, mailbox_address="a@example.com", now_ms=0, first_invite_id=9),
        (EVENT,),
        share=1,
    ),
}


@pytest.mark.parametrize("count", [150, pytest.param(8_500, marks=pytest.mark.proofs)])
@pytest.mark.parametrize("name", PARSERS)
def test_of_damaged_input_only_our_errors_come_out(name: str, count: int) -> None:
    parser, seed, refused = PARSERS[name], new_seed(), 0
    count = count * parser.share // 4
    for number in range(count):
        dice = random.Random(seed + number)  # noqa: S311 - damage, not secrets
        change = distorted if parser.is_json and dice.random() < 0.7 else damaged
        data = change(dice.choice(parser.samples), dice)
        try:
            parser.read(data)
        except BackupError:
            refused += 1
        except Exception as error:  # noqa: BLE001 - this is what must not be
            pytest.fail(f"{name}, seed {seed + number}: {error!r} came out of {data!r}")
    assert refused > 0 or name in {"lines", "positions", "messages"}
    tell("P24", count, "damaged inputs of parsers", seed=seed)
