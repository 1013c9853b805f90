"""The map of one invite: how properties of an appointment or task become codes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.mailserver.calendars import NOW_MS, SERIES, calendar, event, invite, read, todo

X_FOO = {"n": "X-FOO", "v": "baz", "numX": 1, "x0": {"n": "BAR", "v": "1"}}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["STATUS:TENTATIVE"], {"status": "TENT", "tr": "O"}),
        (["STATUS:CANCELLED", "TRANSP:TRANSPARENT"], {"status": "CANC", "tr": "T", "fb": "F"}),
        (["X-MICROSOFT-CDO-INTENDEDSTATUS:OOF"], {"fb": "O", "tr": "O"}),
        (["CLASS:PRIVATE"], {"cl": "PRI"}),
        (["DURATION:PT90M"], {"duration": "PT1H30M"}),
        (["DURATION:P14D"], {"duration": "P2W"}),
        (["DTEND:20260301T090000Z"], {"et": "20260301T090001Z"}),
        (["CATEGORIES:a,b", "COMMENT:c"], {"numCat": 2, "cat1": "b", "numCmt": 1, "cmt0": "c"}),
        (["GEO:1.5;2.5", "URL:http://x"], {"geo": {"lat": "1.5", "lon": "2.5"}, "url": "http://x"}),
        (["X-FOO;BAR=1:baz"], {"numX": 1, "x0": X_FOO}),
        (["SUMMARY:one\\ntwo"], {"n": "one two"}),
        (["PRIORITY:99", "SEQUENCE:3"], {"seq": 3}),
        (["LAST-MODIFIED:19700101T000001Z"], {"lastMod": 1000, "dts": NOW_MS}),
    ],
)
def test_properties_of_an_appointment_become_codes(
    lines: list[str], expected: dict[str, Any]
) -> None:
    found = invite(event(*lines))

    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], {"status": "NEED", "st": None, "et": None}),
        (["STATUS:IN-PROCESS", "PERCENT-COMPLETE:50"], {"status": "INPR", "pctcompl": "50"}),
        (["STATUS;X-ZIMBRA-STATUS=WAITING:IN-PROCESS"], {"status": "WAITING"}),
        (["STATUS;X-ZIMBRA-STATUS=DEFERRED:IN-PROCESS"], {"status": "DEFERRED"}),
        (["PERCENT-COMPLETE:100"], {"status": "COMP", "completed": NOW_MS}),
        (["COMPLETED:19700101T000001Z"], {"completed": 1000, "pctcompl": "100"}),
        (["DTSTART:20260301T090000Z"], {"st": None}),
        (["DUE:20260301T090000Z", "RRULE:FREQ=DAILY"], {"st": "20260301T085959Z"}),
    ],
)
def test_properties_of_a_task_become_codes(lines: list[str], expected: dict[str, Any]) -> None:
    found = invite(todo(*lines))

    assert {key: found.get(key) for key in expected} == expected
    assert found["it"] == 15


def test_a_task_without_a_date_lies_at_the_beginning_of_time() -> None:
    facts = read(todo("PRIORITY:9"))

    assert (facts.start_ms, facts.end_ms, facts.priority) == (0, 0, -1)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("MARIO.ROSSI@example.com", {"isOrg": "true", "ptst": "AC", "rsvp": "false"}),
        ("anna.bianchi@example.com", {"isOrg": "false", "ptst": "NE", "rsvp": "true"}),
        ("luca@example.com", {"isOrg": "false", "ptst": "NE", "rsvp": "true"}),
    ],
)
def test_the_owner_of_the_mailbox_has_a_part(address: str, expected: dict[str, str]) -> None:
    found = invite(calendar(SERIES), address=address)

    assert {key: found[key] for key in expected} == expected


def test_everything_said_about_an_attendee_is_kept() -> None:
    words = "CUTYPE=ROOM;ROLE=OPT-PARTICIPANT;PARTSTAT=DECLINED;X-A=1"
    words += ';SENT-BY="mailto:x@y"'

    found = invite(event("ORGANIZER:mailto:a@b", f"ATTENDEE;CN=Sala;{words}:mailto:sala@b"))

    assert found["at0"] == {
        "a": "sala@b",
        "cn": "Sala",
        "cut": "ROO",
        "r": "OPT",
        "ptst": "DE",
        "sentby": "x@y",
        "numX": 1,
        "x0": {"n": "X-A", "v": "1"},
    }


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["TRIGGER:-PT15M"], {"ac": "d", "tt": "r", "tr": "-PT15M"}),
        (["ACTION:EMAIL", "TRIGGER;RELATED=END:PT0S"], {"ac": "e", "trd": "e", "tr": "PT0S"}),
        (["TRIGGER;VALUE=DATE-TIME:20260301T080000Z"], {"tt": "a", "ta": "20260301T080000Z"}),
        (["TRIGGER:-P1D", "DURATION:PT5M", "REPEAT:2"], {"tr": "-P1D", "rd": "PT5M", "rc": 2}),
    ],
)
def test_alarms_are_kept(lines: list[str], expected: dict[str, Any]) -> None:
    found = invite(event("BEGIN:VALARM", *lines, "END:VALARM"))

    assert found["numAl"] == 1
    assert {key: found["al0"].get(key) for key in expected} == expected
