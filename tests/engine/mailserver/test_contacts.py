"""vCards of all versions, good and bad."""

from __future__ import annotations

import email
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.mailserver.zimbra.parsing.contacts import Photo, file_as, read_vcard

PIXEL = b"\x89PNG\r\n\x1a\nnot really"


def card(*lines: str, version: str = "3.0") -> bytes:
    rows = ("BEGIN:VCARD", f"VERSION:{version}", *lines, "END:VCARD", "")
    return "\r\n".join(rows).encode()


ANNA = (
    "N:Bianchi;Anna;;;",
    "EMAIL;TYPE=INTERNET:anna.bianchi@example.com",
    "EMAIL;TYPE=HOME:anna@casa.example",
    "NOTE:prima riga\\nseconda è",
)


@pytest.fixture(scope="module")
def rows(genuine: Path) -> dict[int, dict[str, Any]]:
    file = genuine / "history" / "db-rows" / "mboxgroup1.mail_item.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    return {row["id"]: row for row in map(json.loads, lines) if row["type"] == 6}


@pytest.mark.parametrize(
    ("item", "raw"),
    [
        (451, card(*ANNA, "TEL;TYPE=CELL:+39 000 111")),
        (452, card(*ANNA, "NICKNAME:annina")),
        (453, card("FN:Gruppo è", "KIND:group", version="4.0")),
    ],
)
def test_fields_and_sort_name_are_those_of_a_real_server(
    rows: dict[int, dict[str, Any]], item: int, raw: bytes
) -> None:
    facts = read_vcard(raw)

    assert facts.fields == decode_column(rows[item]["metadata"])["fld"]
    assert facts.file_as == rows[item]["sender"]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("TEL;TYPE=HOME:1", {"homePhone": "1"}),
        ("TEL;TYPE=WORK,FAX:1", {"workFax": "1"}),
        ('TEL;TYPE="work,voice";PREF=1;VALUE=uri:tel:+39', {"workPhone": "+39"}),
        ("TEL;CELL;VOICE:1", {"mobilePhone": "1"}),
        ("TEL:1", {"otherPhone": "1"}),
        ("ORG:Esempio SpA;Vendite", {"company": "Esempio SpA", "department": "Vendite"}),
        ("TITLE:Capo", {"jobTitle": "Capo"}),
        ("BDAY:1980-01-02", {"birthday": "1980-01-02"}),
        ("URL;TYPE=WORK:http://x", {"workURL": "http://x"}),
        ("item1.NICKNAME:annina", {"nickname": "annina"}),
        ("NOTE:a\\, b\\; c\\\\", {"notes": "a, b; c\\"}),
        ("NOTE:fol\r\n ded", {"notes": "folded"}),
        ("NOTE;ENCODING=QUOTED-PRINTABLE;CHARSET=iso-8859-1:Gr=F6=\r\n=DFe", {"notes": "Größe"}),
        (
            "ADR;TYPE=HOME:;2. Stock;Via X\\, 1;Roma;RM;00100;Italia",
            {
                "homeStreet": "2. Stock, Via X, 1",
                "homeCity": "Roma",
                "homeState": "RM",
                "homePostalCode": "00100",
                "homeCountry": "Italia",
            },
        ),
    ],
)
def test_each_property_has_its_field(line: str, fields: dict[str, str]) -> None:
    facts = read_vcard(card("EMAIL:a@b", line))

    assert facts.fields == {"email": "a@b", **fields}


def test_values_of_one_kind_are_numbered() -> None:
    addresses = ("ADR;TYPE=WORK:;;A;B;;;", "ADR;TYPE=WORK:;;C;D;;;")

    facts = read_vcard(card("EMAIL:a@b", "EMAIL:c@d", "EMAIL:e@f", *addresses))

    assert facts.fields == {
        "email": "a@b",
        "email2": "c@d",
        "email3": "e@f",
        "workStreet": "A",
        "workCity": "B",
        "workStreet2": "C",
        "workCity2": "D",
    }


@pytest.mark.parametrize(
    ("lines", "sort_name", "asked"),
    [
        (["N:Bianchi;Anna", "FN:Anna Bianchi"], "Bianchi, Anna", None),
        (["N:Bianchi;Anna", "FN:Bianchi, Anna"], "Bianchi, Anna", None),
        (["N:Bianchi", "FN:Bianchi"], "Bianchi", None),
        (["ORG:Esempio SpA", "FN:Esempio SpA"], "Esempio SpA", "3"),
        (["N:Bianchi;Anna", "FN:Die Chefin"], "Die Chefin", "8:Die Chefin"),
        (["EMAIL:a@b"], None, None),
        (["N:Bianchi;😀"], "Bianchi, ?", None),
    ],
)
def test_contacts_sort_by_last_name_unless_shown_otherwise(
    lines: list[str], sort_name: str | None, asked: str | None
) -> None:
    facts = read_vcard(card(*lines))

    assert (facts.file_as, facts.fields.get("fileAs")) == (sort_name, asked)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("1", "Bianchi, Anna"),
        ("2", "Anna Bianchi"),
        ("3", "Esempio"),
        ("4", "Bianchi, Anna (Esempio)"),
        ("5", "Anna Bianchi (Esempio)"),
        ("6", "Esempio (Bianchi, Anna)"),
        ("7", "Esempio (Anna Bianchi)"),
        ("8:Die Chefin", "Die Chefin"),
        ("nonsense", "Bianchi, Anna"),
    ],
)
def test_every_order_of_a_sort_name_is_known(code: str, text: str) -> None:
    fields = {"firstName": "Anna", "lastName": "Bianchi", "company": "Esempio", "fileAs": code}

    assert file_as(fields) == text


def test_the_card_of_a_group_becomes_a_list() -> None:
    members = ("MEMBER:mailto:a@b", "MEMBER:urn:uuid:unknown", "MEMBER:mailto:c@d")

    facts = read_vcard(card("FN:Gruppo", "KIND:group", *members, version="4.0"))

    assert facts.file_as == "Gruppo"
    assert facts.fields == {
        "fileAs": "8:Gruppo",
        "nickname": "Gruppo",
        "type": "group",
        "dlist": "a@b, c@d",
    }


@pytest.mark.parametrize(
    "line",
    [
        "PHOTO;ENCODING=b;TYPE=PNG:iVBORw0KGgpub3Qg\r\n cmVhbGx5",
        "PHOTO;BASE64;PNG:iVBORw0KGgpub3QgcmVhbGx5",
        "PHOTO:data:image/png;base64,iVBORw0KGgpub3QgcmVhbGx5",
    ],
)
def test_a_picture_of_any_version_is_kept(line: str) -> None:
    facts = read_vcard(card("FN:Anna", line))
    attached: Any = email.message_from_bytes(facts.blob).get_payload()

    assert facts.photo == Photo(name="image.png", content_type="image/png", content=PIXEL)
    assert facts.attachments == (
        {
            "name": "image.png",
            "ctype": "image/png",
            "part": "1",
            "field": "image",
            "size": len(PIXEL),
        },
    )
    assert attached[0].get_content_type() == "image/png"
    assert PIXEL in facts.blob
    assert facts.blob == read_vcard(card("FN:Anna", line)).blob


def test_a_picture_elsewhere_is_left_out() -> None:
    facts = read_vcard(card("FN:Anna", "PHOTO;VALUE=URI:http://x/y.png"))

    assert (facts.photo, facts.attachments, facts.blob) == (None, (), b"")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage",
        b"BEGIN:VCARD\r\nFN:Anna\r\n",
        b"END:VCARD\r\n",
        card(),
        card("X-UNKNOWN:x"),
        card("KIND:group", "MEMBER:mailto:a@b"),
        card("FN:Anna") + card("FN:Ugo"),
        b"x" * (16 * 1024 * 1024 + 1),
    ],
)
def test_what_is_not_one_card_is_refused_with_a_sentence(raw: bytes) -> None:
    with pytest.raises(InvalidItem, match=r"^The .*\.$"):
        read_vcard(raw)


MANY = 50_000


@pytest.mark.parametrize(
    "raw",
    [
        card("TEL:1\r\n" * MANY),
        card("ADR:;;a;b\r\n" * 10_000),
        card("N:" + "\\" * MANY),
        card("N:" + ";" * MANY),
        card('N;X="' + ":" * MANY),
        card("N;QUOTED-PRINTABLE:" + "=\r\n" * MANY),
        card("NOTE:" + "\r\n a" * MANY),
    ],
    ids=["phones", "addresses", "escapes", "parts", "colons", "soft ends", "folds"],
)
def test_hostile_cards_are_read_within_limits(raw: bytes) -> None:
    assert outcome(raw) in ("read", "refused")


@pytest.mark.parametrize("seed", range(10))
def test_damaged_cards_are_read_or_refused(seed: int) -> None:
    outcomes = [outcome(damage(f"{seed}/{number}")) for number in range(200)]

    assert {*outcomes} == {"read", "refused"}


def outcome(raw: bytes) -> str:
    try:
        facts = read_vcard(raw)
    except InvalidItem:
        return "refused"
    text = "".join([*facts.fields, *facts.fields.values(), facts.file_as or ""])
    return "read" if text.encode("utf-8") and len(facts.fields) < 1100 else "unreadable"


def damage(seed: str) -> bytes:
    random = Random(seed)  # noqa: S311  # the same damage in every run
    raw = bytearray(card(*ANNA, "FN:Anna", "PHOTO;ENCODING=b:aaaa", "MEMBER:mailto:a@b"))
    pieces = (
        b"\n",
        b"=\n",
        b";",
        b":",
        b"\\",
        b"KIND:group\n",
        b"ENCODING=QUOTED-PRINTABLE",
        b"\xed",
    )
    for _ in range(random.randint(1, 8)):
        position = random.randrange(len(raw))
        raw[position : position + random.randrange(10)] = random.choice(pieces)
    return bytes(raw)
