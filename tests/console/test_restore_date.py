"""The date step of the Restore wizard: zones, clock changes, boundaries, the calendar."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User

from backupng.engine.operations import parameters
from console import wizard, wizards
from console.models import Preferences, QueuedOperation, Server
from tests.console.conftest import SCANNED
from tests.console.restoring import DATE, LAST, MODE, NOW, Page, Visitor, a_user


@pytest.fixture
def clock() -> Iterator[Any]:
    """Let it be NOW until a test moves on."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def anna(scanned: Server, clock: Any) -> Visitor:
    """Return an operator who has begun a run."""
    visitor = Visitor(a_user())
    visitor.begin()
    return visitor


def in_zone(zone: str) -> None:
    Server.objects.update(zone=zone)


def typed(text: str) -> dict[str, str]:
    """Return the fields for `28/09/2026 10:15:10`."""
    day, _, time = text.partition(" ")
    return dict(zip(("day", "hour", "minute", "second"), (day, *time.split(":")), strict=True))


NO_DATES: tuple[tuple[dict[str, str], str], ...] = (
    ({"day": ""}, "Choose a day, or type it as dd/MM/yyyy."),
    ({"day": "31/02/2026"}, "“31/02/2026” is no day."),
    ({"day": "yesterday"}, "“yesterday” is no day."),
    ({"day": "<b>1</b>"}, "“<b>1</b>” is no day."),
    ({"day": "28/09/0001"}, "There is no backup of the year 1."),
    ({"day": "0001-01-01T00:00:00+23:59"}, "There is no backup of the year 1."),
    ({"day": "28/09/9999"}, "There is no backup of the year 9999."),
    ({"hour": "24"}, "Select a valid choice."),
    ({"hour": ""}, "Hour: a number from 0 to 23."),
    ({"minute": "60"}, "Minute: a number from 0 to 59."),
    ({"minute": "-1"}, "Minute: a number from 0 to 59."),
    ({"second": "٣"}, "Second: a number from 0 to 59."),
    ({"second": ""}, "Second: a number from 0 to 59."),
    ({"which": "third"}, "Select a valid choice."),
)


def test_a_date_that_is_none_is_refused_and_kept(anna: Visitor) -> None:
    anna.send("mode", **MODE)
    for words, message in NO_DATES:
        answer = anna.send("date", **(DATE | words))
        page = Page(answer)
        assert (words, answer.status_code) == (words, 422)
        assert message in page.text
        kept = {each["name"]: each.get("value") for each in page.inputs if each.get("value")}
        assert kept.get("day", "") == (DATE | words)["day"]
        assert "date" not in anna.row.words


def accepted(visitor: Visitor, **words: str) -> str:
    """Send the date step, which takes it, and return the date that the operation would have."""
    assert visitor.send("date", **(DATE | words)).status_code == 303
    run = wizard.Run(wizards.RESTORE, visitor.row)
    assert run.first_invalid(before="summary") is None
    return str(parameters.spell(run.operation(), visitor.row.server.zone_info)["date"])


def test_the_whole_present_second_is_not_the_future(anna: Visitor) -> None:
    anna.send("mode", **MODE)
    assert anna.send("date", **typed("25/11/2026 20:00:00")).status_code == 303


def test_the_next_second_lies_in_the_future(anna: Visitor) -> None:
    anna.send("mode", **MODE)
    answer = anna.send("date", **typed("25/11/2026 20:00:01"))
    assert answer.status_code == 422
    assert "in the future; now it is 25/11/2026 20:00:00" in Page(answer).text


def test_the_first_second_can_be_restored_and_none_before_it(anna: Visitor) -> None:
    anna.send("mode", **MODE)
    answer = anna.send("date", **typed("02/03/2026 11:59:59"))
    page = Page(answer)
    assert answer.status_code == 422
    assert "The backup of this account begins at 02/03/2026 12:00:00" in page.text
    [button] = [
        link for link in page.links if "day=02%2F03%2F2026" in link and "month=" not in link
    ]
    taken = Page(anna.client.get(button))
    assert {each["name"]: each.get("value") for each in taken.inputs}["day"] == "02/03/2026"
    assert anna.send("date", **typed("02/03/2026 12:00:00")).status_code == 303


PASTED = {
    "2026-09-28T10:15:10Z": "28/09/2026 12:15:10",
    "2026-09-28T10:15:10+02:00": "28/09/2026 10:15:10",
    "2026-09-28 10:15:10": "28/09/2026 10:15:10",
    "2026-09-28T10:15:10.999+02:00": "28/09/2026 10:15:10",
    "2026-09-28": "28/09/2026 10:15:10",
    "8/9/2026": "08/09/2026 10:15:10",
}


def test_a_pasted_date_is_understood(anna: Visitor) -> None:
    in_zone("Europe/Rome")
    anna.send("mode", **MODE)
    assert {pasted: accepted(anna, day=pasted) for pasted in PASTED} == PASTED


TWICE = (
    ("Europe/Rome", "25/10/2026 02:00:00", "00:00:00", "01:00:00"),
    ("Europe/Rome", "25/10/2026 02:59:59", "00:59:59", "01:59:59"),
    ("America/New_York", "01/11/2026 01:00:00", "05:00:00", "06:00:00"),
    ("America/New_York", "01/11/2026 01:59:59", "05:59:59", "06:59:59"),
    ("Australia/Lord_Howe", "05/04/2026 01:30:00", "14:30:00", "15:00:00"),
    ("Australia/Lord_Howe", "05/04/2026 01:59:59", "14:59:59", "15:29:59"),
)


def test_of_a_time_that_was_twice_both_are_offered_the_later_preset(anna: Visitor) -> None:
    anna.send("mode", **MODE)
    for zone, time, earlier, later in TWICE:
        in_zone(zone)
        answer = anna.send("date", **typed(time))
        radios = [each for each in Page(answer).inputs if each["name"] == "which"]
        assert (time, answer.status_code) == (time, 422)
        assert [(each["value"], "checked" in each) for each in radios] == [
            ("earlier", False),
            ("later", True),
        ]
        assert utc_of(anna, time, which="earlier") == earlier
        assert utc_of(anna, time, which="later") == later


def utc_of(visitor: Visitor, time: str, **which: str) -> str:
    """Send the date step and return the time in UTC that the summary shows."""
    assert visitor.send("date", **typed(time), **which).status_code == 303
    text = Page(visitor.see("summary")).text.partition("In UTC ")[2]
    return text.split()[1]


BESIDE = (
    ("Europe/Rome", "25/10/2026 01:59:59"),
    ("Europe/Rome", "25/10/2026 03:00:00"),
    ("Europe/Rome", "29/03/2026 01:59:59"),
    ("Europe/Rome", "29/03/2026 03:00:00"),
    ("America/New_York", "01/11/2026 00:59:59"),
    ("America/New_York", "01/11/2026 02:00:00"),
    ("America/New_York", "08/03/2026 03:00:00"),
    ("Australia/Lord_Howe", "05/04/2026 01:29:59"),
    ("Australia/Lord_Howe", "05/04/2026 02:00:00"),
    ("Australia/Lord_Howe", "04/10/2026 02:30:00"),
)


def test_the_seconds_beside_a_clock_change_are_taken_as_they_are(anna: Visitor) -> None:
    anna.send("mode", **MODE)
    for zone, time in BESIDE:
        in_zone(zone)
        assert (zone, accepted(anna, **typed(time))) == (zone, time)


NEVER = (
    ("Europe/Rome", "29/03/2026 02:00:00", "01:59:59", "03:00:00"),
    ("Europe/Rome", "29/03/2026 02:59:59", "01:59:59", "03:00:00"),
    ("America/New_York", "08/03/2026 02:30:00", "01:59:59", "03:00:00"),
    ("Australia/Lord_Howe", "04/10/2026 02:00:00", "01:59:59", "02:30:00"),
    ("Australia/Lord_Howe", "04/10/2026 02:29:59", "01:59:59", "02:30:00"),
)


def test_a_time_that_never_was_is_refused_with_the_seconds_beside_it(anna: Visitor) -> None:
    anna.send("mode", **MODE)
    for zone, time, before, after in NEVER:
        in_zone(zone)
        answer = anna.send("date", **typed(time))
        day = time.partition(" ")[0]
        assert (time, answer.status_code) == (time, 422)
        said = f"The seconds beside it are {day} {before} {zone} and {day} {after} {zone}."
        assert said in Page(answer).text


def test_the_earlier_of_two_times_is_enqueued_and_shown_again_as_it_was_chosen(
    anna: Visitor,
) -> None:
    in_zone("Europe/Rome")
    anna.at_summary(**typed("25/10/2026 02:30:00"), which="earlier")
    radios = [each for each in Page(anna.see("date")).inputs if each["name"] == "which"]
    anna.finish()
    assert ["checked" in each for each in radios] == [True, False]
    date = datetime.fromisoformat(QueuedOperation.objects.get().parameters["date"])
    assert date == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_a_time_that_was_twice_is_asked_for_while_it_is_typed(anna: Visitor) -> None:
    in_zone("Europe/Rome")
    query = {"field": "moment", **typed("25/10/2026 02:30:00")}
    part = Page(anna.client.get(anna.url("date", "check"), query))
    chosen = Page(anna.client.get(anna.url("date", "check"), query | {"which": "earlier"}))
    assert ["checked" in each for each in part.inputs] == [False, True]
    assert ["checked" in each for each in chosen.inputs] == [True, False]
    assert "25/10/2026 00:30:00 UTC" in chosen.text


def test_the_moment_is_shown_in_the_zones_of_server_and_user_and_in_utc(anna: Visitor) -> None:
    in_zone("Europe/Rome")
    Preferences.objects.create(user=User.objects.get(username="anna"), zone="Asia/Tokyo")
    part = anna.client.get(anna.url("date", "check"), {"field": "moment", **DATE})
    text = Page(part).text
    assert "28/09/2026 10:15:10 Europe/Rome" in text
    assert "28/09/2026 17:15:10 Asia/Tokyo" in text
    assert "28/09/2026 08:15:10 UTC" in text


def test_after_last_a_moment_is_taken_only_when_a_day_is_chosen(anna: Visitor) -> None:
    page = Page(anna.at_summary(**LAST).see("date"))
    shown = {each["name"]: each.get("value") or "" for each in page.inputs}
    answer = anna.send("date", **(shown | {"hour": "12"}))
    assert "Chosen: Last, the newest state in the backup." in page.text
    assert (shown["day"], shown["minute"], shown["second"]) == ("", "00", "00")
    assert answer.status_code == 422
    assert anna.row.words["date"] == LAST


# The calendar


def test_the_calendar_opens_the_days_between_the_first_moment_and_today(anna: Visitor) -> None:
    anna.send("mode", **MODE)
    march = days(anna, "2026-03")
    november = days(anna, "2026-11")
    assert [day for day, tag in march.items() if "disabled" in tag] == [1]
    assert "changed" in march[SCANNED.day]
    assert [day for day, tag in november.items() if "disabled" in tag] == [26, 27, 28, 29, 30]
    assert 'aria-current="date"' in november[25]


def test_the_calendar_stays_where_something_can_be_restored(anna: Visitor) -> None:
    for month in ("2026-02", "0001-01", "2025-13", "x", "", "9999-12"):
        part = anna.client.get(anna.url("date", "check"), {"field": "minical", "month": month})
        assert (month, part.status_code) == (month, 200)
        assert "2026" in Page(part).text


def test_a_day_belongs_to_the_zone_of_the_server(anna: Visitor) -> None:
    in_zone("Pacific/Auckland")
    november, march = days(anna, "2026-11"), days(anna, "2026-03")
    assert 'aria-current="date"' in november[26]
    assert "changed" in march[3]


def test_a_picked_day_keeps_the_time_that_was_typed(anna: Visitor) -> None:
    query = DATE | {"field": "when", "pick": "30/09/2026", "minute": "44"}
    part = Page(anna.client.get(anna.url("date", "check"), query))
    values = {each["name"]: each.get("value") for each in part.inputs}
    assert (values["day"], values["minute"]) == ("30/09/2026", "44")
    assert "30/09/2026 10:44:10" in part.text


def test_without_script_a_picked_day_is_in_the_field(anna: Visitor) -> None:
    anna.send("mode", **MODE)
    page = Page(anna.see("date", pick="30/09/2026", hour="10", minute="44", second="10"))
    values = {each["name"]: each.get("value") for each in page.inputs}
    assert (values["day"], values["minute"]) == ("30/09/2026", "44")


def test_other_months_are_plain_links_too(anna: Visitor) -> None:
    anna.send("mode", **MODE)
    page = Page(anna.see("date", **DATE))
    [link] = [each for each in page.links if "month=2026-08" in each]
    turned = Page(anna.client.get(link))
    values = {each["name"]: each.get("value") for each in turned.inputs}
    assert "August 2026" in turned.text
    assert (values["day"], values["minute"]) == ("28/09/2026", "15")


def test_a_step_without_a_calendar_has_no_month(anna: Visitor) -> None:
    assert anna.client.get(anna.url("mode", "check"), {"field": "minical"}).status_code == 404


def days(visitor: Visitor, month: str) -> dict[int, str]:
    """Return the button of each day of a month, as it is written."""
    query = {"field": "minical", "month": month}
    html = visitor.client.get(visitor.url("date", "check"), query).content.decode()
    buttons = [each.partition(">")[0] for each in html.split("<button")[1:]]
    return {int(each.partition(f'id="day-{month}-')[2][:2]): each for each in buttons}
