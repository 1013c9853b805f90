"""How badges, times and numbers are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.template import engines
from django.utils import timezone

from console.models import Level, QueuedOperation, State
from console.templatetags import console
from tests.console import rows

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
BADGES = {
    State.QUEUED: ("idle", "…", "Queued"),
    State.STARTED: ("run", "◐", "Running"),
    State.SUCCESSFUL: ("ok", "✓", "Successful"),
    State.FAILED: ("err", "✕", "Failed"),
    State.STOPPED: ("warn", "■", "Stopped"),
    State.REMOVED: ("idle", "–", "Removed"),
    State.INTERRUPTED: ("err", "↯", "Interrupted"),
}


def badge(row: QueuedOperation) -> str:
    return str(console.op_badge(row))


def drawn(kind: str, sign: str, text: str) -> str:
    return f'<span class="badge {kind}"><span aria-hidden="true">{sign}</span> {text}</span>'


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_colour_a_sign_and_a_word(state: State) -> None:
    assert badge(QueuedOperation(state=state)) == drawn(*BADGES[state])


def test_no_two_states_look_alike() -> None:
    assert len({sign for _, sign, _ in BADGES.values()}) == len(State)


def test_a_running_operation_that_is_to_stop_says_so() -> None:
    assert "Stopping" in badge(rows.restore(stop_requested_at=NOON))


def test_losses_make_a_success_a_warning() -> None:
    assert badge(rows.restored()) == drawn("warn", "!", "Successful, with losses")


def test_a_failure_with_losses_is_a_failure() -> None:
    row = rows.ended(rows.restore(), State.FAILED, report=rows.RESTORED)
    assert badge(row) == drawn("err", "✕", "Failed")


@pytest.mark.parametrize("level", Level)
def test_every_level_has_a_badge(level: Level) -> None:
    assert level.label in str(console.level_badge(level))


# Times


def test_a_moment_names_its_zone() -> None:
    with timezone.override(BERLIN):
        text = str(console.moment(NOON))
    assert text == '<time datetime="2026-11-25T12:00:00+00:00">25/11/2026 13:00:00 CET</time>'


def test_no_moment_is_a_dash() -> None:
    assert console.moment(None) == console.clock_time(None) == "–"


def test_of_today_the_time_of_day_is_enough() -> None:
    with time_machine.travel(NOON, tick=False), timezone.override(BERLIN):
        today = str(console.clock_time(NOON))
        yesterday = str(console.clock_time(NOON - timedelta(days=1)))
    assert ">13:00:00<" in today
    assert ">24/11/2026 13:00:00 CET<" in yesterday


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (251, "4 min 11 s"),
        (3600, "1 h 0 min"),
        (90061, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert console.duration(timedelta(seconds=seconds)) == text


def test_an_operation_that_never_ran_took_no_time() -> None:
    removed = QueuedOperation(state=State.REMOVED, ended_at=NOON)
    assert console.op_duration(removed) == "–"
    assert console.op_duration(rows.restored()) == "6 min 3 s"


# Numbers


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0"), (999, "999"), (1234567, "1\u202f234\u202f567")]
)
def test_digits_are_grouped_by_thin_spaces(value: int | None, text: str) -> None:
    assert console.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_950, "9.9 kB"),
        (99_960, "100 kB"),
        (123_456, "123 kB"),
        (999_999, "1.0 MB"),
        (412_000_000_000, "412 GB"),
        (10**15, "1.0 PB"),
        (10**21, "1000 EB"),
    ],
)
def test_a_size_has_three_digits_and_a_unit(value: int | None, text: str) -> None:
    assert console.size(value) == text


# Operations and live parts


def test_the_words_of_an_operation_are_those_of_its_mail() -> None:
    row = rows.restore()
    assert console.op_title(row) == "Restore on New Account"
    assert console.op_subject(row) == "a1@example.com → copy@example.com"
    assert console.asked_by(row) == "admin@example.com (console)"
    assert console.op_subject(rows.scan()) == "–"


def test_text_of_users_is_escaped() -> None:
    row = rows.restore(parameters={"account": "<script>"})
    template = engines["django"].from_string("{% load console %}{{ row|op_subject }}")
    assert template.render({"row": row}) == "&lt;script&gt;"


def test_the_version_of_a_part_is_that_of_its_text() -> None:
    assert console.version("a") == console.version("a") != console.version("b")
