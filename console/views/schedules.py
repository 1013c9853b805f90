"""The settings of what runs by itself, a part of the page Settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext, gettext_lazy

from backupng.engine.errors import BackupError
from console import properties, scheduling
from console.models import Server
from console.timetable import Timetable, check_pattern

NAMES = (
    properties.SMART_SCAN_SCHEDULER,
    properties.SCAN_ON_STARTUP,
    properties.PURGE_SCHEDULER,
)
_RUNS_SHOWN = 5
_DAYS = {
    "0": gettext_lazy("Sunday"),
    "1": gettext_lazy("Monday"),
    "2": gettext_lazy("Tuesday"),
    "3": gettext_lazy("Wednesday"),
    "4": gettext_lazy("Thursday"),
    "5": gettext_lazy("Friday"),
    "6": gettext_lazy("Saturday"),
}


class ScheduleForm(forms.Form):
    """When a SmartScan runs by itself, and a Purge."""

    scheduling = forms.BooleanField(label=gettext_lazy("Scan Operation Scheduling"), required=False)
    pattern = forms.CharField(
        label=gettext_lazy("Time of the SmartScan"),
        help_text=gettext_lazy(
            "Five cron fields: minute, hour, day of the month, month, day of the week; in the time "
            "zone of each server."
        ),
        max_length=200,
    )
    on_start = forms.BooleanField(
        label=gettext_lazy("Run a SmartScan when the backup starts"), required=False
    )
    purging = forms.BooleanField(
        label=gettext_lazy("Run a Purge by itself, if Scan Operation Scheduling is on"),
        required=False,
    )
    purge_pattern = forms.CharField(
        label=gettext_lazy("Time of the Purge"),
        help_text=gettext_lazy(
            "Five cron fields; the last one is the day of the week: 0 is Sunday, 6 is Saturday."
        ),
        max_length=200,
    )

    def clean_pattern(self) -> str:
        """Refuse a pattern that names no time."""
        return _pattern(self.cleaned_data["pattern"])

    def clean_purge_pattern(self) -> str:
        """Refuse a pattern that names no time."""
        return _pattern(self.cleaned_data["purge_pattern"])

    @property
    def texts(self) -> dict[str, str | None]:
        """The texts to keep, by property; None for what is to have its default."""
        found = self.cleaned_data
        wanted = {
            properties.SMART_SCAN_SCHEDULER: Timetable(
                found["scheduling"], found["pattern"]
            ).spell(),
            properties.SCAN_ON_STARTUP: str(found["on_start"]).lower(),
            properties.PURGE_SCHEDULER: Timetable(found["purging"], found["purge_pattern"]).spell(),
        }
        return {name: None if text == _default(name) else text for name, text in wanted.items()}


@dataclass(frozen=True, slots=True)
class Runs:
    """The next times of a server, and its timetables in words; without any it is off there."""

    server: Server
    scans_in_words: str
    scans: tuple[datetime, ...]
    purges_in_words: str
    purges: tuple[datetime, ...]


def initial(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return what the form shows of the texts that are set for all servers."""
    found = {name: texts.get(name, _default(name)) for name in NAMES}
    timetable = Timetable.parse(found[properties.SMART_SCAN_SCHEDULER])
    purges = Timetable.parse(found[properties.PURGE_SCHEDULER])
    return {
        "purging": purges.enabled,
        "purge_pattern": purges.pattern,
        "scheduling": timetable.enabled,
        "pattern": timetable.pattern,
        "on_start": found[properties.SCAN_ON_STARTUP] == "true",
    }


def runs(now: datetime) -> list[Runs]:
    """Return the next runs of each server, by name."""
    return [
        Runs(
            server=server,
            scans_in_words=in_words(scheduling.in_force(server, scheduling.SCAN)),
            scans=_next_runs(server, scheduling.SCAN, now),
            purges_in_words=in_words(scheduling.in_force(server, scheduling.PURGE)),
            purges=_next_runs(server, scheduling.PURGE, now),
        )
        for server in Server.objects.order_by("name")
    ]


def in_words(timetable: Timetable) -> str:
    """Say when that is: the time of a daily run, else the pattern."""
    if not timetable.enabled:
        return gettext("off")
    minute, hour, *days = timetable.pattern.split()
    if minute.isdecimal() and hour.isdecimal():
        time = f"{int(hour):02}:{int(minute):02}"
        if days == ["*", "*", "*"]:
            return gettext("every day at %(time)s") % {"time": time}
        if days[:2] == ["*", "*"] and days[2] in _DAYS:
            return gettext("every %(day)s at %(time)s") % {"day": _DAYS[days[2]], "time": time}
    return gettext("by the pattern %(pattern)s") % {"pattern": timetable.pattern}


def _next_runs(server: Server, name: str, now: datetime) -> tuple[datetime, ...]:
    return tuple(islice(_runs(scheduling.in_force(server, name), server, now), _RUNS_SHOWN))


def _runs(timetable: Timetable, server: Server, at: datetime) -> Iterator[datetime]:
    while found := timetable.next_run(at, server.zone_info):
        yield found
        at = found


def _pattern(text: str) -> str:
    try:
        return check_pattern(text)
    except BackupError as error:
        raise ValidationError(f"{error} {error.hint}") from error


def _default(name: str) -> str:
    chosen = properties.find(name)
    return chosen.spell(chosen.default)
