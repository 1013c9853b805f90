"""Recurrence of calendar items: the maps `recurrence` and `apptRecur`, and when a series ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from dateutil.rrule import rrulestr  # type: ignore[import-untyped]  # comes with icalendar
from icalendar import vDDDTypes, vRecur

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.zimbra.metadata import Value
from backupng.engine.mailserver.zimbra.parsing.moments import FAR_FUTURE_MS, Moment, spell_duration

_ORDER = (
    *("FREQ", "UNTIL", "COUNT", "INTERVAL", "BYSECOND", "BYMINUTE", "BYHOUR", "BYDAY"),
    *("BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYMONTH", "BYSETPOS", "WKST"),
)
"""The order in which the real server spells a rule."""
_UNIT = {"HOURLY": "hours", "MINUTELY": "minutes", "SECONDLY": "seconds"}
_MAX_OCCURRENCES = 10_000
_MAX_SPAN = timedelta(days=100 * 366)
"""A series is expanded no further, whatever its rule says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """When something happens again and again: rules, and days with and without it."""

    rules: tuple[vRecur, ...] = ()
    excluding_rules: tuple[vRecur, ...] = ()
    excluded: tuple[tuple[Moment, ...], ...] = ()
    """One inner tuple for each EXDATE property."""

    def __bool__(self) -> bool:
        return bool(self.rules)

    @property
    def moments(self) -> list[Moment]:
        """The moments that the series names."""
        return [moment for group in self.excluded for moment in group]


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What the maps need to know of one invite: its id, when it is, which instance it replaces."""

    invite_id: int
    component: int
    start: Moment
    duration: timedelta
    replaces: Moment | None = None
    cancelled: bool = False

    @property
    def info(self) -> dict[str, Value]:
        """The reference to the invite that rules carry."""
        method = 4 if self.cancelled else 3
        found: dict[str, Value] = {"c": self.component, "i": self.invite_id, "m": method}
        return found | ({"r": self.recurrence_id} if self.replaces else {})

    @property
    def recurrence_id(self) -> dict[str, Value]:
        """The map `rid`: only this one instance."""
        return {"dt": (self.replaces or self.start).text, "r": 1}


def recurrence_map(
    series: Series, occasion: Occasion, exceptions: Sequence[Occasion] = ()
) -> dict[str, Value]:
    """Return the map of a series with its exceptions and cancelled instances."""
    length = spell_duration(occasion.duration)
    found: dict[str, Value] = {
        "t": "4",
        "dts": occasion.start.text,
        "duration": length,
        "invid": occasion.info,
        "numEx": str(len(exceptions)),
        "add": _numbered([_rule_map(rule, occasion) for rule in series.rules]),
    }
    without = [_rule_map(rule, occasion) for rule in series.excluding_rules]
    without += [_dates_map(group, occasion) for group in series.excluded if group]
    if without:
        found["sub"] = _numbered(without)
    for number, exception in enumerate(exceptions):
        key = "ca" if exception.cancelled else "ex"
        found[f"{key}{number}"] = _exception_map(exception)
    return found


def _numbered(maps: list[dict[str, Value]]) -> dict[str, Value]:
    found: dict[str, Value] = {f"r{number}": rule for number, rule in enumerate(maps)}
    return found | {"nr": len(maps)}


def _rule_map(rule: vRecur, occasion: Occasion) -> dict[str, Value]:
    return {
        "t": 2,
        "dts": occasion.start.text,
        "dur": spell_duration(occasion.duration),
        "recur": spell_rule(rule),
        "inv": occasion.info,
    }


def _dates_map(group: tuple[Moment, ...], occasion: Occasion) -> dict[str, Value]:
    dates: dict[str, Value] = {
        "isrd": "false",
        "vt": "d" if group[0].is_day else "dt",
        "numV": len(group),
    }
    if group[0].zone:
        dates["tzid"] = group[0].zone
    dates |= {f"v{number}": moment.compact for number, moment in enumerate(group)}
    return {
        "t": 6,
        "rexd": dates,
        "defdur": spell_duration(occasion.duration),
        "inv": occasion.info,
    }


def _exception_map(exception: Occasion) -> dict[str, Value]:
    if exception.cancelled:
        return {"recurId": exception.recurrence_id}
    return {
        "t": 3,
        "dts": exception.start.text,
        "duration": spell_duration(exception.duration),
        "invid": exception.info,
        "recurId": exception.recurrence_id,
    }


def spell_rule(rule: vRecur) -> str:
    """Spell a rule as the real server does. Raises InvalidItem for a rule without a frequency."""
    if not rule.get("FREQ"):
        raise InvalidItem("The calendar item recurs by a rule without a frequency.")
    spelled: bytes = rule.to_ical()  # type: ignore[no-untyped-call]  # the library types the rest
    words = dict(word.split("=", 1) for word in spelled.decode("utf-8").split(";"))
    return ";".join(f"{name}={words[name]}" for name in _ORDER if words.get(name))


def series_end_ms(series: Series, start: Moment, duration: timedelta) -> int:
    """Return when the last instance of a series ends, exceptions aside."""
    return max((_rule_end_ms(rule, start, duration) for rule in series.rules), default=0)


def _rule_end_ms(rule: vRecur, start: Moment, duration: timedelta) -> int:
    if rule.get("UNTIL"):
        last = Moment.read(vDDDTypes(rule["UNTIL"][0]), "UNTIL")
    elif rule.get("COUNT"):
        last = _last_start(rule, start)
    else:
        return FAR_FUTURE_MS
    return min(FAR_FUTURE_MS, last.plus(duration).ms)


def _last_start(rule: vRecur, start: Moment) -> Moment:
    """Return when the last of COUNT instances begins; of hourly and faster rules, about when."""
    count = min(int(rule["COUNT"][0]), _MAX_OCCURRENCES)
    words = [word for word in spell_rule(rule).split(";") if not word.startswith("COUNT=")]
    unit = _UNIT.get(str(rule["FREQ"][0]).upper())
    try:
        if unit:
            interval = int(rule.get("INTERVAL", [1])[0])
            return start.plus(timedelta(**{unit: interval * max(0, count - 1)}))
        words.append(f"UNTIL={start.wall + _MAX_SPAN:%Y%m%dT%H%M%S}")
        found = list(islice(rrulestr(";".join(words), dtstart=start.wall), count))
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise InvalidItem("The calendar item recurs by a rule that cannot be read.") from error
    return start.plus(found[-1] - start.wall) if found else start
