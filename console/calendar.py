"""One month as the date widget draws it."""

from __future__ import annotations

import calendar
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Self

_TEXT = re.compile(r"([0-9]{4})-([0-9]{2})")
_DECEMBER = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day; `is_open` says whether anything of it can be restored."""

    date: date
    is_open: bool
    is_today: bool
    is_chosen: bool
    has_changes: bool


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Month:
    """A month of a year; `str` is `2026-11`."""

    year: int
    month: int

    @classmethod
    def of(cls, day: date) -> Self:
        """Return the month of a day."""
        return cls(year=day.year, month=day.month)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read `2026-11`; None for anything else."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        year, month = (int(part) for part in found.groups())
        return cls(year=year, month=month) if 1 <= month <= _DECEMBER and year > 0 else None

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def first(self) -> date:
        """Its first day."""
        return date(self.year, self.month, 1)

    def moved(self, months: int) -> Self:
        """Return the month so many later."""
        place = self.year * 12 + self.month - 1 + months
        return type(self)(year=place // 12, month=place % 12 + 1)

    def weeks(
        self, *, opens: date, today: date, chosen: date | None, changed: Collection[date]
    ) -> list[list[Day | None]]:
        """Return its weeks from Monday on; days of other months are None."""
        return [
            [
                Day(
                    date=day,
                    is_open=opens <= day <= today,
                    is_today=day == today,
                    is_chosen=day == chosen,
                    has_changes=day in changed,
                )
                if day.month == self.month
                else None
                for day in week
            ]
            for week in calendar.Calendar().monthdatescalendar(self.year, self.month)
        ]
