"""Calendar files, judged by rows of a real server, then by the rules it follows."""

from __future__ import annotations

import email
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.zimbra.metadata import decode_column, encode_column
from backupng.engine.mailserver.zimbra.parsing.calendar import calendar_blob
from backupng.engine.mailserver.zimbra.parsing.moments import FAR_FUTURE_MS
from backupng.engine.model import ItemKind
from tests.engine.mailserver.calendars import (
    DAY_MS,
    EXCEPTION,
    HOUR_MS,
    SERIES,
    TASK,
    WEEKLY,
    ZONE,
    calendar,
    differences,
    event,
    invite,
    read,
    todo,
)


@pytest.fixture(scope="module")
def rows(genuine: Path) -> dict[int, dict[str, Any]]:
    file = genuine / "history" / "db-rows" / "mboxgroup1.mail_item.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    return {row["id"]: row for row in map(json.loads, lines) if row["type"] in (11, 15)}


# Beside what the server only adds later (mdver, ver, the next alarm, replies): numAt and the
# exception's clSetByMe tell whether the object in its memory was already read back from a row;
# noidxmm, that the task came without any message.
GENUINE = {
    456: (
        calendar(ZONE.format(name="Europe/Rome"), WEEKLY),
        455,
        {"/mdver", "/ver", "/ad", "/rl/n", "/rl/i0", "/inv0/al0/numAt"},
    ),
    459: (
        calendar(ZONE.format(name="Europe/Rome"), EXCEPTION, SERIES),
        457,
        {"/mdver", "/inv0/al0/numAt", "/inv1/clSetByMe"},
    ),
    461: (calendar(TASK, method="PUBLISH"), 460, {"/inv0/noidxmm"}),
}


@pytest.mark.parametrize("item", GENUINE)
def test_items_are_read_as_a_real_server_read_them(
    rows: dict[int, dict[str, Any]], item: int
) -> None:
    raw, first_invite_id, later = GENUINE[item]

    facts = read(raw, first_invite_id=first_invite_id)

    assert differences(facts.metadata, decode_column(rows[item]["metadata"])) == later
    assert facts.subject == rows[item]["subject"]
    assert facts.organizer_column == rows[item]["sender"]
    assert (facts.priority == 1) == bool(rows[item]["flags"] & 1024)
    assert not facts.needs_blob


def test_the_series_comes_first_and_ids_are_counted_up() -> None:
    facts = read(calendar(EXCEPTION, SERIES), first_invite_id=700)

    assert facts.invite_ids == (700, 701)
    assert facts.kind is ItemKind.APPOINTMENT
    assert facts.uid == "serie-2@example.com"
    assert decode_column(encode_column(facts.metadata)) == facts.metadata


def test_a_day_has_no_zone_and_lasts_until_the_next_one() -> None:
    facts = read(calendar("BEGIN:VEVENT\nUID:1\nDTSTART;VALUE=DATE:20260301\nEND:VEVENT\n"))

    assert facts.end_ms - facts.start_ms == DAY_MS
    assert facts.metadata["tzm"] == {}
    assert differences(facts.metadata["inv0"], {"st": "VALUE=DATE:20260301", "af": 6}) >= {"/u"}
    assert "et" not in invite(event(start="20260301T090000Z"))


@pytest.mark.parametrize(
    ("name", "definition", "zone"),
    [
        ("Europe/Rome", ZONE, {"tzid": "Europe/Rome"}),
        ("Europe/Rome", "", {"tzid": "Europe/Rome"}),
        ("W. Europe Standard Time", "", {"tzid": "Europe/Berlin"}),
        (
            "Made up",
            ZONE,
            {
                "tzid": "Made up",
                "so": HOUR_MS,
                "do": 2 * HOUR_MS,
                "d2ss": "19701025T030000",
                "s2ds": "19700329T020000",
                "d2sr": "FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10",
                "s2dr": "FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3",
                "sn": "CET",
                "dn": "CEST",
            },
        ),
    ],
)
def test_a_zone_is_its_name_or_its_rules(name: str, definition: str, zone: dict[str, Any]) -> None:
    meeting = SERIES.replace("Europe/Rome", name)

    facts = read(calendar(definition.format(name=name), meeting))

    assert facts.metadata["tzm"] == {"#0": zone}
    assert facts.start_ms == 1_772_352_000_000


@pytest.mark.parametrize("zone", ["TZID=Nowhere:", "TZID=../../etc/passwd:", ""])
def test_a_zone_that_nobody_knows_is_utc(zone: str) -> None:
    start = f"DTSTART;{zone}20260301T090000" if zone else "DTSTART:20260301T090000"

    facts = read(calendar(f"BEGIN:VEVENT\nUID:1\n{start}\nEND:VEVENT\n"))

    assert facts.start_ms == read(event(start="20260301T090000Z")).start_ms
    assert facts.metadata["tzm"] == {}


@pytest.mark.parametrize(
    ("rule", "end"),
    [
        ("FREQ=DAILY;COUNT=5", "20260305T100000Z"),
        ("FREQ=WEEKLY;UNTIL=20260401T090000Z", "20260401T100000Z"),
        ("FREQ=MONTHLY;COUNT=3;BYMONTHDAY=31", "20260731T100000Z"),
        ("FREQ=HOURLY;INTERVAL=6;COUNT=5", "20260302T100000Z"),
        ("FREQ=YEARLY;COUNT=5;BYMONTH=2;BYMONTHDAY=30", "20260301T100000Z"),
    ],
)
def test_a_bounded_series_ends_with_its_last_instance(rule: str, end: str) -> None:
    whole = event(f"RRULE:{rule}", "DTEND:20260301T100000Z")
    once = event(f"DTEND:{end}")

    assert read(whole).end_ms == read(once).end_ms


@pytest.mark.parametrize("rule", ["FREQ=DAILY", "FREQ=YEARLY;INTERVAL=2"])
def test_an_unbounded_series_never_ends(rule: str) -> None:
    assert read(event(f"RRULE:{rule}")).end_ms == FAR_FUTURE_MS


def test_a_rule_that_would_run_for_ever_is_estimated() -> None:
    facts = read(event("RRULE:FREQ=SECONDLY;COUNT=100000000;BYMONTH=2;BYMONTHDAY=30"))

    assert facts.start_ms < facts.end_ms < facts.start_ms + DAY_MS


def test_excluded_days_and_cancelled_instances_are_kept() -> None:
    cancelled = EXCEPTION.replace("STATUS:CONFIRMED", "STATUS:CANCELLED")
    series = SERIES.replace("STATUS", "EXDATE;TZID=Europe/Rome:20260303T090000\nSTATUS")

    recurrence: Any = read(calendar(series, cancelled)).metadata["apptRecur"]

    assert recurrence["sub"]["r0"]["rexd"] == {
        "isrd": "false",
        "vt": "dt",
        "tzid": "Europe/Rome",
        "numV": 1,
        "v0": "20260303T090000",
    }
    assert recurrence["numEx"] == "1"
    assert recurrence["ca0"] == {"recurId": {"dt": "TZID=Europe/Rome:20260302T090000", "r": 1}}


def test_a_long_description_needs_a_blob() -> None:
    facts = read(event(f"DESCRIPTION:{'word ' * 1000}"))
    found: Any = facts.metadata["inv0"]

    assert facts.needs_blob
    assert not {"dinM", "desc"} & found.keys()
    assert found["frag"].startswith("word word")


def test_the_blob_is_a_digest_with_one_message_for_each_invite() -> None:
    raw = calendar(ZONE.format(name="Europe/Rome"), EXCEPTION, SERIES)

    blob = calendar_blob(raw, (457, 458))
    parts: Any = email.message_from_bytes(blob).get_payload()
    inner = [part.get_payload(0).get_payload(decode=True) for part in parts]

    assert email.message_from_bytes(blob).get_content_type() == "multipart/digest"
    assert [part["invId"] for part in parts] == ["457", "458"]
    assert [read(each).subject for each in inner] == ["Serie", "Serie (eccezione)"]
    assert all(b"BEGIN:VTIMEZONE" in each for each in inner)
    assert calendar_blob(raw, (457, 458)) == blob


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage",
        b"\xff\xfe\x00",
        b"BEGIN:VCALENDAR\r\n" * 2000,
        b"BEGIN:VEVENT\r\nUID:1\r\nEND:VEVENT\r\n",
        b"BEGIN:VCARD\r\nEND:VCARD\r\n",
        calendar(),
        calendar(WEEKLY, SERIES),
        calendar(SERIES, SERIES),
        calendar(SERIES, TASK.replace("attivita-1", "serie-2")),
        calendar("BEGIN:VEVENT\nDTSTART:20260301T090000Z\nEND:VEVENT\n"),
        calendar("BEGIN:VEVENT\nUID:1\nEND:VEVENT\n"),
        event(start="tomorrow"),
        event("RRULE:FREQ=NEVER"),
        event("RRULE:COUNT=3"),
        event("RRULE:FREQ=DAILY;COUNT=3;BYDAY=99XX"),
        event("RECURRENCE-ID:once"),
        event("DURATION:P99999999W"),
        event("RRULE:FREQ=HOURLY;COUNT=9999;INTERVAL=999999999"),
        todo("RRULE:FREQ=DAILY"),
        SERIES.replace("Europe/Rome", "Europe").encode(),
        calendar(SERIES.replace("Europe/Rome", "Europe")),
        b"x" * (4 * 1024 * 1024 + 1),
    ],
)
def test_what_is_not_one_item_is_refused_with_a_sentence(raw: bytes) -> None:
    with pytest.raises(InvalidItem, match=r"^The .*[^ ]$"):
        read(raw)


@pytest.mark.parametrize("seed", range(10))
def test_damaged_files_are_read_or_refused(seed: int) -> None:
    outcomes = [outcome(damage(f"{seed}/{number}")) for number in range(50)]

    assert {*outcomes} <= {"read", "refused"}


def outcome(raw: bytes) -> str:
    try:
        facts = read(raw)
    except InvalidItem:
        return "refused"
    calendar_blob(raw, facts.invite_ids)
    return "read" if encode_column(facts.metadata).encode("utf-8") else "unreadable"


def damage(seed: str) -> bytes:
    random = Random(seed)  # noqa: S311  # the same damage in every run
    raw = bytearray(random.choice([each[0] for each in GENUINE.values()]))
    pieces = (b"\r\n", b";", b":", b"TZID=", b"99991231T235959Z", b"INTERVAL=0;", b"\xff", b"")
    for _ in range(random.randint(1, 6)):
        position = random.randrange(len(raw))
        raw[position : position + random.randrange(20)] = random.choice(pieces)
    return bytes(raw)
