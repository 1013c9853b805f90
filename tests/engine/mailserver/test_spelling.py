"""Contacts and calendar items as files: read back, they are what they were."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from icalendar import Calendar

from backupng.engine.mailserver.zimbra.metadata import Value, decode_column, encode
from backupng.engine.mailserver.zimbra.parsing.calendar import calendar_blob
from backupng.engine.mailserver.zimbra.parsing.contacts import Photo, read_vcard
from backupng.engine.mailserver.zimbra.spelling import contentlines
from backupng.engine.mailserver.zimbra.spelling.calendar import needs_blob, spell_calendar
from backupng.engine.mailserver.zimbra.spelling.vcard import photo_in, spell_vcard
from tests.engine.mailserver.calendars import (
    EXCEPTION,
    SERIES,
    TASK,
    WEEKLY,
    ZONE,
    calendar,
    differences,
    event,
    read,
    todo,
)

BREAKS = ("\r\n", "\r", "\n", "\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c")


def metadata_of(row: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", decode_column(row["metadata"]))


def rows(genuine: Path, *types: int) -> list[dict[str, Any]]:
    file = genuine / "history" / "db-rows" / "mboxgroup1.mail_item.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["type"] in types]


def lines_of(raw: bytes) -> list[str]:
    """Return the lines of a file, unfolded; whatever some reader takes for a line end is one."""
    return raw.decode().replace("\r\n ", "").splitlines()


# Lines


def test_lines_are_folded_at_75_octets_and_no_character_is_cut() -> None:
    raw = contentlines.file_of([f"NOTE:{'è€😀' * 60}"])

    rows = raw.split(b"\r\n")
    assert max(map(len, rows)) <= 75
    assert all(row.decode() for row in rows[:-1])
    assert b"".join([rows[0], *(row[1:] for row in rows[1:])]).decode() == f"NOTE:{'è€😀' * 60}"


@pytest.mark.parametrize("end", BREAKS)
def test_no_value_ends_its_line(end: str) -> None:
    hostile = f"x{end}EMAIL:evil@example.org"

    assert len(f"A:{contentlines.text(hostile)}".splitlines()) == 1
    assert len(f"A:{contentlines.uri(hostile)}".splitlines()) == 1
    assert len(contentlines.line("A", "", {"CN": hostile}).splitlines()) == 1


# Contacts


def test_a_genuine_contact_comes_back_from_its_card(genuine: Path) -> None:
    for row in rows(genuine, 6):
        fields = metadata_of(row)["fld"]

        found = read_vcard(spell_vcard(fields)).fields

        assert {key: found.get(key) for key in fields} == fields


LETTERS = "aB9è€😀,;:\\\"'=^ \t\n<>-"
NOT_DRAWN = {"workCity2", "homeURL"}
"""The second of two, and a link, which has no room for any text."""
FULL = {
    "namePrefix": "Dr.",
    "firstName": "Zoë, die; Erste",
    "middleName": "M\\N",
    "lastName": "O'Neil",
    "company": "A; B, C",
    "department": "R&D",
    "jobTitle": "Head",
    "email": "z@example.com",
    "email2": "z2@example.com",
    "homePhone": "1",
    "homePhone2": "2",
    "workPhone": "3",
    "workFax": "4",
    "mobilePhone": "5",
    "pager": "6",
    "carPhone": "7",
    "otherPhone": "8",
    "homeStreet": "Via Roma 1\nInterno 2",
    "homeCity": "Modena",
    "homePostalCode": "41100",
    "homeCountry": "Italia",
    "workCity": "Bologna",
    "workCity2": "Parma",
    "homeURL": "http://example.com/?a=1;b=2,3",
    "birthday": "1970-01-02",
    "anniversary": "2001-02-03",
    "notes": "one\ntwo; three, four \\n five",
    "nickname": "Zo",
}


def test_every_field_with_a_property_comes_back_from_its_card() -> None:
    found = read_vcard(spell_vcard(FULL)).fields

    assert {key: value for key, value in found.items() if key in FULL} == FULL
    assert set(found) - set(FULL) <= {"fullName", "fileAs"}


@pytest.mark.parametrize("seed", range(40))
def test_random_contacts_come_back_from_their_cards(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a test draws
    keys = random.sample(sorted(FULL.keys() - NOT_DRAWN), random.randint(1, len(FULL) - 2))
    fields = {key: f"<{''.join(random.choices(LETTERS, k=random.randint(0, 90)))}>" for key in keys}
    if "homePhone" not in fields:
        fields.pop("homePhone2", None)
    if "email" not in fields:
        fields.pop("email2", None)

    found = read_vcard(spell_vcard(fields)).fields

    assert {key: found.get(key) for key in fields} == fields


def test_a_field_without_a_property_is_not_lost() -> None:
    lines = lines_of(spell_vcard({"firstName": "Zoe", "imAddress1": "xmpp:z", "weird,né": "v"}))

    assert "X-ZIMBRA-IMADDRESS1:xmpp:z" in lines
    assert "X-ZIMBRA-WEIRD-N:v" in lines


def test_the_picture_of_a_contact_comes_back_from_its_card() -> None:
    picture = Photo(name="image.png", content_type="image/png", content=bytes(range(256)) * 3)
    blob = read_vcard(spell_vcard({"firstName": "Zoe"}, photo=picture)).blob

    found = photo_in(blob)

    assert found is not None
    assert (found.content, found.content_type) == (picture.content, "image/png")


def test_the_picture_of_a_genuine_contact_is_found(genuine: Path) -> None:
    (row,) = (row for row in rows(genuine, 6) if row["blob_digest"])
    (attached,) = metadata_of(row)["att"]
    (file,) = (genuine / "history" / "volumes" / "store").glob(f"**/{row['id']}-*.msg")

    found = photo_in(file.read_bytes())

    assert found is not None
    assert len(found.content) == attached["size"]
    assert found.content.startswith(b"\x89PNG\r\n")


def test_a_group_names_its_members() -> None:
    members: list[Value] = [
        {"t": "I", "v": '"Bianchi, Anna" <anna@example.com>'},
        {"t": "C", "v": "300"},
        {"t": "I", "v": "b@example.com"},
    ]
    group = {"type": "group", "nickname": "Team", "fileAs": "8:Team"}

    raw = spell_vcard(group | {"groupMember": encode({"m": members})})

    assert read_vcard(raw).fields["dlist"] == "anna@example.com, b@example.com"
    assert "X-ZIMBRA-MEMBER;TYPE=C:300" in lines_of(raw)
    assert read_vcard(spell_vcard(group | {"dlist": "a@b.example"})).fields == {
        **group,
        "dlist": "a@b.example",
    }


def test_a_hostile_contact_adds_no_property() -> None:
    for end in BREAKS:
        hostile = f"x{end}EMAIL:evil@example.org{end}END:VCARD{end}BEGIN:VCARD"
        keys = (*FULL, "imAddress1", "dlist", "fullName", "type", f"k{end}EMAIL:e")
        raw = spell_vcard(dict.fromkeys(keys, hostile), tags=(hostile,))

        harmless = spell_vcard(dict.fromkeys(keys, "x"), tags=("x",))
        names = [line.partition(":")[0] for line in lines_of(raw)]
        assert names.count("BEGIN") == names.count("END") == 1
        assert {name for name in names if name.startswith("EMAIL")} == {"EMAIL;TYPE=INTERNET"}
        assert len(names) <= len(lines_of(harmless)) + 1


# Calendar items


OF_THE_SERVER = {"mdver", "ver", "ad", "rl", "mthd", "noidxmm", "clSetByMe", "numAt"}
"""What a server adds by itself, and the method: a file for everybody publishes."""


@pytest.mark.parametrize("item", [456, 459, 461])
def test_a_genuine_calendar_item_comes_back_from_its_file(genuine: Path, item: int) -> None:
    (row,) = (row for row in rows(genuine, 11, 15) if row["id"] == item)
    metadata = metadata_of(row)

    facts = read(spell_calendar(metadata), first_invite_id=int(metadata["inv0"]["mid"]))

    different = differences(facts.metadata, metadata)
    assert {path for path in different if path.rpartition("/")[2] not in OF_THE_SERVER} - {
        "/rl/n",
        "/rl/i0",
    } == set()


RICH = event(
    "DURATION:PT1H30M",
    "SUMMARY:Größe\\; Menge\\, Wahl",
    "DESCRIPTION:eins\\nzwei",
    "X-ALT-DESC;FMTTYPE=text/html:<p>eins</p>",
    "LOCATION:Saal",
    "CATEGORIES:a,b",
    "COMMENT:c1",
    "CONTACT:d1",
    "GEO:44.5;11.3",
    "URL:http://example.com/a?b=1",
    "CLASS:PRIVATE",
    "PRIORITY:1",
    "TRANSP:TRANSPARENT",
    "STATUS:TENTATIVE",
    "SEQUENCE:3",
    "RRULE:FREQ=MONTHLY;COUNT=5;BYMONTHDAY=1",
    "EXDATE:20260401T090000Z",
    'ORGANIZER;CN="Rossi, Mario";SENT-BY="mailto:s@example.com":mailto:mario@example.com',
    'ATTENDEE;CUTYPE=ROOM;ROLE=CHAIR;PARTSTAT=DECLINED;DELEGATED-TO="mailto:d@x.example"'
    ":mailto:room@x.example",
    "X-MOZ-THING;X-P=1:value",
    "BEGIN:VALARM",
    "ACTION:AUDIO",
    "TRIGGER;VALUE=DATE-TIME:20260301T080000Z",
    "DURATION:PT5M",
    "REPEAT:2",
    "END:VALARM",
)
OWN_ZONE = calendar(
    ZONE.format(name="Own Zone"), WEEKLY.replace("Europe/Rome", "Own Zone"), method="PUBLISH"
)


@pytest.mark.parametrize(
    "raw",
    [
        RICH,
        OWN_ZONE,
        calendar(SERIES, EXCEPTION, method="PUBLISH"),
        calendar(TASK, method="PUBLISH"),
        todo("SUMMARY:x", "STATUS:COMPLETED", "COMPLETED:20260302T100000Z"),
        todo("SUMMARY:x", "STATUS;X-ZIMBRA-STATUS=WAITING:IN-PROCESS", "PERCENT-COMPLETE:30"),
    ],
    ids=["rich", "own zone", "exception", "task", "done", "waiting"],
)
def test_a_calendar_item_comes_back_from_its_file(raw: bytes) -> None:
    before = read(raw).metadata

    after = read(spell_calendar(before)).metadata

    assert {path for path in differences(after, before) if not path.endswith("/mthd")} == set()


def test_a_well_known_zone_is_defined_in_the_file() -> None:
    raw = spell_calendar(read(calendar(WEEKLY)).metadata)

    found = Calendar.from_ical(raw)
    assert [str(zone["TZID"]) for zone in found.walk("VTIMEZONE")] == ["Europe/Rome"]


def test_a_long_description_comes_from_the_blob() -> None:
    raw = event(f"DESCRIPTION:{'lang ' * 2000}end", "SUMMARY:x")
    facts = read(raw)
    blob = calendar_blob(raw, facts.invite_ids)

    (found,) = Calendar.from_ical(spell_calendar(facts.metadata, blob)).walk("VEVENT")

    assert needs_blob(facts.metadata)
    assert str(found["DESCRIPTION"]).endswith("lang end")
    assert not needs_blob(read(RICH).metadata)


def test_a_hostile_calendar_item_adds_no_property() -> None:
    for end, raw in product(BREAKS, (RICH, OWN_ZONE)):
        metadata = hostile(read(raw).metadata, f"x{end}EVIL:1{end}")

        lines = lines_of(spell_calendar(metadata))

        assert not [line for line in lines if line.startswith("EVIL")]
        assert lines.count("BEGIN:VCALENDAR") == lines.count("END:VCALENDAR") == 1


def test_no_name_adds_a_property_or_an_address() -> None:
    metadata: dict[str, Any] = dict(read(RICH).metadata)
    metadata["inv0"]["org"]["cn"] = 'Rossi":mailto:evil@example.org;X="'
    metadata["inv0"]["x0"]["n"] = "END"

    raw = spell_calendar(metadata)

    (found,) = Calendar.from_ical(raw).walk("VEVENT")
    assert found["ORGANIZER"] == "mailto:mario@example.com"
    assert "END:value" not in raw.decode()
    assert "X-MOZ-THING" not in raw.decode()


def hostile(value: Any, text: str) -> Any:
    """Return a map with that text behind each of its texts."""
    if isinstance(value, dict):
        return {key: hostile(each, text) for key, each in value.items()}
    return f"{value}{text}" if isinstance(value, str) else value
