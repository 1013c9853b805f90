"""Parameter types: what text is accepted, and that it reads back as it is spelled."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backupng.engine.errors import BadRequest
from backupng.engine.operations.words import (
    Addresses,
    Moment,
    Words,
    is_address,
    is_ambiguous,
    parse,
    spell,
)

ROME = ZoneInfo("Europe/Rome")


def read(kind: Any, text: str) -> Any:
    return parse(kind, text, name="it", zone=ROME)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (bool, "TRUE", True),
        (bool, "off", False),
        (int, "0", 0),
        (Addresses, "a@example.com, b@example.com", ("a@example.com", "b@example.com")),
        (Words, "+unread,-flagged", ("+unread", "-flagged")),
        (Path, "/mnt/import/", Path("/mnt/import")),
        (Moment, "LAST", Moment(keyword="last")),
        (
            Moment,
            "28/09/2021 10:15:10",
            Moment(at=datetime(2021, 9, 28, 8, 15, 10, tzinfo=UTC)),
        ),
        (
            Moment,
            "2021-09-28T10:15:10+05:00",
            Moment(at=datetime(2021, 9, 28, 5, 15, 10, tzinfo=UTC)),
        ),
        (Moment, "2021-09-28 10:15:10", Moment(at=datetime(2021, 9, 28, 8, 15, 10, tzinfo=UTC))),
    ],
    ids=str,
)
def test_text_is_read_as_its_type(kind: Any, text: str, value: object) -> None:
    assert read(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (bool, "maybe"),
        (int, "-1"),
        (int, "1.5"),
        (int, ""),
        (Addresses, "a@example.com,b"),
        (Addresses, "a@b\nBcc: c@d.example"),
        (Path, "relative/path"),
        (Path, "/mnt/../etc"),
        (Path, "/mnt/\0"),
        (str, ""),
        (str, "a\x1bb"),
        (Moment, "yesterday"),
        (Moment, "31/02/2021 10:00:00"),
        (Moment, "28/09/2021"),
        (Moment, "28/09/2021 25:00:00"),
    ],
    ids=repr,
)
def test_other_text_is_refused_with_what_is_expected(kind: Any, text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(kind, text)
    assert refused.value.code == "bad_value"
    assert str(refused.value).startswith("it: ")
    assert refused.value.hint.startswith("Expected: ")


def test_a_refused_date_is_answered_with_one_that_would_be_taken() -> None:
    with pytest.raises(BadRequest) as refused:
        read(Moment, "yesterday")
    example = refused.value.hint.partition("such as ")[2].strip('".')
    assert read(Moment, example).at == datetime(2021, 9, 28, 8, 15, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("john@example.com", True),
        ("o'brien+mail@example.com", True),
        (f"{'a' * 64}@example.com", True),
        (f"{'a' * 65}@example.com", False),
        ("a,b@example.com", False),
        ('"a"@example.com', False),
        ("../../a@example.com", False),
        ("-rf@example.com", False),
        ("a..b@example.com", False),
        ("a\\b@example.com", False),
    ],
)
def test_an_address_is_nothing_that_a_list_or_an_option_could_be(
    text: str, *, accepted: bool
) -> None:
    assert is_address(text) is accepted


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "01/01/0001 00:00:00"],
)
def test_a_date_outside_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        read(Moment, text)
    assert refusal.value.code == "bad_value"


def test_a_time_that_a_clock_change_skipped_is_refused() -> None:
    with pytest.raises(BadRequest, match="skipped"):
        read(Moment, "28/03/2027 02:30:00")


def test_a_time_that_a_clock_change_repeats_is_the_later_one() -> None:
    moment = read(Moment, "25/10/2026 02:30:00")
    assert moment.at == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert is_ambiguous(moment, ROME)
    assert not is_ambiguous(read(Moment, "25/10/2026 12:30:00"), ROME)


@pytest.mark.parametrize(
    "moment",
    [
        Moment(keyword="last"),
        Moment(at=datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        Moment(at=datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        Moment(at=datetime(2026, 7, 1, 0, 0, tzinfo=UTC)),
    ],
    ids=str,
)
def test_a_moment_reads_back_as_it_is_spelled(moment: Moment) -> None:
    assert read(Moment, spell(Moment, moment, ROME)) == moment
