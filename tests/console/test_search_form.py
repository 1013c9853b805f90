"""The search box of the history page: what it refuses, and what it looks for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from console.forms.search import SearchForm

ROME = ZoneInfo("Europe/Rome")


def refused(**typed: str) -> dict[str, Any]:
    return dict(SearchForm(typed).errors)


@pytest.mark.parametrize("number", ["0", "-1", "2147483648", "x", "\u0663"])
def test_what_is_no_item_id_is_refused(number: str) -> None:
    assert set(refused(number=number)) == {"number"}


def test_a_period_may_be_one_day_and_ends_with_its_last_second() -> None:
    assert set(refused(since="29/03/2026", till="28/03/2026")) == {"till"}
    form = SearchForm({"since": "29/03/2026", "till": "2026-03-29", "number": " 2147483647 "})

    assert form.is_valid()
    sought = form.sought(2, ROME)

    # The clocks were put forward on that day: it had 23 hours.
    first = int(datetime(2026, 3, 28, 23, tzinfo=UTC).timestamp())
    assert (sought.since, sought.until) == (first, first + 23 * 3600 - 1)
    assert (sought.item, sought.folder, len(sought.fields) > 1) == (2147483647, None, True)


def test_a_text_is_looked_for_where_it_is_wanted() -> None:
    typed = {"q": " Offer ", "where": "folder", "field": "sender", "kind": "message"}
    form = SearchForm(typed)

    assert form.is_valid()
    sought = form.sought(7, ROME)

    assert (sought.text, sought.folder, sought.fields) == ("Offer", 7, ("sender",))
    assert [kind.value for kind in sought.kinds] == ["message"]
    assert form.words == typed | {"q": "Offer"}
    assert SearchForm({"field": "sender", "number": "5"}).words == {"number": "5"}
    assert SearchForm({"field": "sender", "where": "folder"}).words == {}


def test_a_text_alone_is_no_search_for_details() -> None:
    assert not SearchForm({"q": "x", "where": "folder"}).is_detailed
    assert SearchForm({"q": "x", "where": "nowhere"}).is_detailed


@pytest.mark.parametrize("typed", [{"kind": "message"}, {"since": "01/03/2026"}, {"till": "x"}])
def test_whatever_else_is_filled_in_is_looked_for(typed: dict[str, str]) -> None:
    assert SearchForm(typed).is_detailed
    assert SearchForm(typed).words == typed
