"""What the history page shows of a mailbox: its address, rows, the strip of a month."""

from __future__ import annotations

import shlex
from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from email.utils import parseaddr
from itertools import groupby
from typing import Any, Final
from urllib.parse import urlencode

from django.http import Http404, QueryDict
from django.utils.formats import date_format
from django.utils.translation import gettext, gettext_lazy

from backupng.engine.model import from_ms
from backupng.engine.restore.select import ALL_TIME, end_of_second
from console import browse, charts
from console.browse import FolderLine, ItemLine, View
from console.calendar import Month
from console.forms.search import KINDS, SearchForm
from console.forms.span import Span
from console.forms.when import LAST, When
from console.wizard import Run

MOST_TICKED: Final = 500
_LONGEST_TICKS: Final = 3000
"""Bytes of an address: proxies take 8 KiB of one, and 4 KiB of an answer's head with it inside."""
_INBOX: Final = 2
_YEARS: Final = range(1970, 3000)
_DEEPEST_SHOWN: Final = 8
_SECOND: Final = timedelta(seconds=1)
_FLAGS: Final = {
    "f": gettext_lazy("flagged"),
    "r": gettext_lazy("replied"),
    "w": gettext_lazy("forwarded"),
    "d": gettext_lazy("draft"),
    "s": gettext_lazy("sent"),
    "x": gettext_lazy("marked as deleted"),
    "!": gettext_lazy("high priority"),
    "a": gettext_lazy("attachment"),
}
"""Flags that a person knows by their words; the others stay out of lists."""

_WHAT: Final = {
    "new": gettext_lazy("first saved"),
    "deleted": gettext_lazy("deleted"),
    "recovered": gettext_lazy("recovered"),
    "folder": gettext_lazy("moved"),
    "name": gettext_lazy("renamed"),
    "subject": gettext_lazy("subject"),
    "flags": gettext_lazy("flags"),
    "unread": gettext_lazy("read or unread"),
    "tags": gettext_lazy("tags"),
    "digest": gettext_lazy("content"),
}

# The address


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is looked at; `at` is None for the newest state, `search` has the words of the form."""

    at: datetime | None = None
    folder: int = _INBOX
    gone: bool = False
    page: int = 1
    search: tuple[tuple[str, str], ...] = ()
    ticked: tuple[int, ...] = ()

    @classmethod
    def of(cls, query: QueryDict) -> Look:
        """Read an address. Raises Http404 for a moment, folder or item that is none."""
        form = SearchForm(query)
        return cls(
            at=moment_of(query.get("at", "")),
            folder=number_of(query.get("folder", str(_INBOX))),
            gone=query.get("deleted") == "1",
            page=number_of(query.get("page", "1")) or 1,
            search=tuple(form.words.items()),
            ticked=_ids_in(query.get("item", "")),
        )

    @property
    def query(self) -> str:
        """The address of it, from the question mark on."""
        found: list[tuple[str, str]] = []
        if self.at:
            found.append(("at", spelled(self.at)))
        if self.folder != _INBOX:
            found.append(("folder", str(self.folder)))
        if self.gone:
            found.append(("deleted", "1"))
        found += self.search
        if self.page > 1:
            found.append(("page", str(self.page)))
        if self.ticked:
            found.append(("item", _spelled_ids(self.ticked)))
        return "?" + urlencode(found)

    @property
    def has_room(self) -> bool:
        """Whether an address can carry all that is ticked."""
        spelled_ids = _spelled_ids(self.ticked)
        return len(self.ticked) <= MOST_TICKED and len(spelled_ids) <= _LONGEST_TICKS

    @property
    def before(self) -> datetime:
        """The moment just before which it held."""
        return end_of_second(self.at) if self.at else ALL_TIME


def moment_of(text: str) -> datetime | None:
    """Read a moment of an address, None for the newest state. Raises Http404."""
    if text in ("", LAST):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Http404(f"{text} is no moment") from error
    if found.tzinfo is None or found.year not in _YEARS:
        raise Http404(f"{text} has no zone, or lies too far off")
    return found.astimezone(UTC).replace(microsecond=0)


def spelled(moment: datetime) -> str:
    """Spell a moment for an address."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def number_of(text: str) -> int:
    """Read a whole number of an address. Raises Http404."""
    if not (text.isascii() and text.isdigit() and len(text) <= len("2147483647")):
        raise Http404(f"{text} is no number")
    return int(text)


def _spelled_ids(ids: Iterable[int]) -> str:
    """Spell ids for an address, which leaves these characters as they are: `300-420.423`."""
    # In a run of neighbours, an id and its place grow alike.
    runs = groupby(enumerate(sorted(ids)), lambda placed: placed[1] - placed[0])
    ends = ([each for _, each in run] for _, run in runs)
    return ".".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in ends)


def _ids_in(text: str) -> tuple[int, ...]:
    """Read ids of an address. Raises Http404, also for more than can be ticked."""
    found: list[int] = []
    for part in text.split(".") if text else ():
        first, _, last = part.partition("-")
        found += range(number_of(first), number_of(last or first) + 1)[: MOST_TICKED + 1]
        if len(found) > MOST_TICKED:
            raise Http404("these are more items than can be ticked")
    return tuple(found)


# The moment


class Changes(Span):
    """The moments of a mailbox; the days of a change are those of all states that are kept."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._known: dict[Month, list[tuple[date, int, int]]] = {}

    def of_days(self, month: Month) -> list[tuple[date, int, int]]:
        """Return the days of a month, each with its changes and how many were deletions."""
        if month not in self._known:
            days = monthrange(month.year, month.month)[1]
            dates = [month.first + timedelta(days=n) for n in range(days + 1)]
            limits = [datetime.combine(each, time(), tzinfo=self.run.zone) for each in dates]
            found = browse.changes(self.run.server, self.run.account_id, limits)
            self._known[month] = [
                (day, total - gone, gone) for day, (total, gone) in zip(dates, found, strict=False)
            ]
        return self._known[month]

    def changed(self, month: Month) -> frozenset[date]:
        """Return the days on which anything changed."""
        return frozenset(day for day, *numbers in self.of_days(month) if any(numbers))


def widget(run: Run, texts: Mapping[str, Any], *, is_bound: bool) -> When:
    """Return the date widget of the page."""
    span = Changes(run)
    return When(span, texts, legend=gettext("Moment"), offered=LAST, is_bound=is_bound)


def when_of(run: Run, look: Look, query: Mapping[str, Any]) -> When:
    """Return the date widget for the moment that is looked at, with the month that is asked for."""
    texts: dict[str, Any] = {"take": LAST}
    if look.at:
        texts = When(Changes(run), {"take": LAST}, legend="", is_bound=False).shown_as(look.at)
    return widget(run, texts | {"month": query.get("month", "")}, is_bound=False)


# Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRow:
    """A folder of the tree, the address of it, and how far it is moved in."""

    line: FolderLine
    href: str
    is_current: bool
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An item of the list; `there` is the address of its folder when the item was last in it."""

    line: ItemLine
    is_ticked: bool
    kind: str
    sender: str
    flags: str
    there: str


def folder_rows(lines: Iterable[FolderLine], look: Look) -> Iterator[FolderRow]:
    """Yield the rows of the tree."""
    for line in lines:
        there = replace(look, folder=line.item, page=1, search=())
        yield FolderRow(
            line=line,
            href=there.query,
            is_current=line.item == look.folder and not look.search,
            depth=min(line.depth, _DEEPEST_SHOWN),
        )


def _person(sender: str) -> str:
    """Return the name of a sender, else the address."""
    name, address = parseaddr(sender)
    return name or address or sender


def flag_words(letters: str) -> str:
    """Return in words what of the flags a person knows."""
    return ", ".join(str(word) for letter, word in _FLAGS.items() if letter in letters)


def rows(lines: Iterable[ItemLine], look: Look) -> Iterator[Row]:
    """Yield the rows of the list."""
    for line in lines:
        there = replace(look, folder=line.folder or _INBOX, page=1, search=())
        if line.deleted_at:
            there = replace(there, at=_second_before(line.deleted_at))
        yield Row(
            line=line,
            is_ticked=line.item in look.ticked,
            kind=str(KINDS.get(line.kind, line.kind)),
            sender=_person(line.sender),
            flags=flag_words(line.flags),
            there=there.query,
        )


def _second_before(moment: datetime) -> datetime:
    return moment.replace(microsecond=0) - _SECOND


def held_query(view: View, look: Look) -> str:
    """Return the address of the folder when something was last in it; empty if nothing ever was."""
    if view.held is None:
        return ""
    return replace(look, at=_second_before(view.held[1]), page=1, search=()).query


# One item


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRow:
    """A state of an item, what it changed in words, and the moment at which it is restored."""

    state: Mapping[str, Any]
    at: datetime
    title: str
    flags: str
    changed: str
    to: str


def state_rows(states: Sequence[Mapping[str, Any]]) -> Iterator[StateRow]:
    """Yield the states of an item, the newest first."""
    before = [None, *states]
    for earlier, state in reversed(list(zip(before, states, strict=False))):
        at = from_ms(state["start_date"])
        yield StateRow(
            state=state,
            at=at,
            title=state["subject"] or state["name"] or "",
            flags=flag_words(state["flags"]),
            changed=", ".join(str(_WHAT[each]) for each in _changed(earlier, state)),
            to=spelled(at),
        )


def _changed(before: Mapping[str, Any] | None, state: Mapping[str, Any]) -> Iterator[str]:
    if before is None:
        yield "new"
    elif state["deleted"] != before["deleted"]:
        yield "deleted" if state["deleted"] else "recovered"
    else:
        for name in ("folder", "name", "subject", "flags", "unread", "tags", "digest"):
            if before[name] != state[name]:
                yield name


def command(run: Run, item: int) -> str:
    """Return the command that shows an item in time."""
    source = run.account.name if run.account.exists else run.account_id
    words = ("backupng", "--host", run.server.name, "backup", "getItem", source, str(item))
    return shlex.join([*words, "date", "all"])


# The strip


def strip(when: When) -> dict[str, Any]:
    """Return the strip of the month that is shown, and its numbers as a table."""
    if not isinstance(when.span, Changes):
        return {}
    days = when.span.of_days(when.month)
    bars = [
        charts.DayBar(
            label=str(day.day) if day.day % 7 == 1 else "",
            text=_told(day, changes, deletions),
            changes=changes,
            deletions=deletions,
        )
        for day, changes, deletions in days
    ]
    month = date_format(when.month.first, "F Y")
    totals = sum(bar.changes for bar in bars), sum(bar.deletions for bar in bars)
    words = charts.Words(
        title=gettext("Changes and deletions of each day, %s") % month,
        finding=gettext("%(changes)d changes and %(deletions)d deletions in this month.")
        % {"changes": totals[0], "deletions": totals[1]},
        peak="",
    )
    return {
        "strip": charts.strip(bars, words=words, name="strip"),
        "days": [each for each in days if any(each[1:])],
        "totals": totals,
    }


def _told(day: date, changes: int, deletions: int) -> str:
    return gettext("%(day)s: %(changes)d changes, %(deletions)d deletions") % {
        "day": f"{day:%d/%m/%Y}",
        "changes": changes,
        "deletions": deletions,
    }
