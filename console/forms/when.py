"""The date widget: a day by calendar or as text, hour, minute, second; or a word for an end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.operations import words
from backupng.engine.operations.clocks import around_gap, readings
from backupng.engine.operations.words import Moment
from console.calendar import Day, Month
from console.forms.span import Span
from console.wizard import Run, problems_of

_DAY = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")
_YEARS = range(1970, 3000)
_CLOCK = ("hour", "minute", "second")
_UNTOUCHED = dict.fromkeys(_CLOCK, "00")
EARLIER, LATER = "earlier", "later"
FIRST, LAST = "first", "last"
OF_LINKS = ("day", *_CLOCK, "which", "keyword", "month", "pick", "take")
"""What links of the widget carry: its fields, a month to look at, a day or a word to take."""


class When(forms.Form):
    """One moment of a step; several in one step are told apart by their prefixes.

    `offered` is the word that stands for an end of the span, `first` or `last`. An empty day means
    that word once it was taken; a day that is typed or picked means that day.
    """

    day = forms.CharField(
        label=_("Day"),
        required=False,
        max_length=40,
        widget=forms.TextInput(
            attrs={"class": "day", "autocomplete": "off", "placeholder": "dd/MM/yyyy"}
        ),
    )
    hour = forms.ChoiceField(
        label=_("Hour"),
        required=False,
        choices=[(f"{hour:02}", f"{hour:02}") for hour in range(24)],
    )
    minute = forms.CharField(label=_("Minute"), required=False, max_length=2)
    second = forms.CharField(label=_("Second"), required=False, max_length=2)
    which = forms.ChoiceField(
        label=_("Which of the two"), required=False, choices=[(EARLIER, EARLIER), (LATER, LATER)]
    )
    keyword = forms.ChoiceField(required=False, widget=forms.HiddenInput)
    use_required_attribute = False

    def __init__(
        self,
        span: Span,
        texts: Mapping[str, Any] | None,
        *,
        legend: Any,
        offered: str = "",
        prefix: str = "",
        is_bound: bool,
    ) -> None:
        self.span, self.run = span, span.run
        self.legend, self.offered = legend, offered
        self.key = f"{prefix}-" if prefix else ""
        mine = self._mine(texts or {})
        self._asked_month = mine.pop("month", "")
        data = {self.key + name: text for name, text in mine.items()} if is_bound else None
        super().__init__(data, prefix=prefix or None, initial=mine)
        digits = {"inputmode": "numeric", "class": "two", "autocomplete": "off"}
        for name in ("minute", "second"):
            self.fields[name].widget.attrs.update(digits)
        if isinstance(word := self.fields["keyword"], forms.ChoiceField):
            word.choices = [(offered, offered)] if offered else []
        self._twice: tuple[datetime, ...] = ()
        if not is_bound and not mine:
            self.initial = self.untouched() if prefix else self.shown_as(span.preset)

    def _mine(self, texts: Mapping[str, Any]) -> dict[str, str]:
        """Return the texts of this widget by their names in it; what a link takes is put in."""
        found = {name: texts[self.key + name] for name in OF_LINKS if self.key + name in texts}
        if picked := found.pop("pick", ""):
            if found.get("keyword") == LAST and self._means_word(found):
                found |= self._end_of(picked)
            found |= {"day": picked, "keyword": ""}
        if taken := found.pop("take", ""):
            found |= {"day": "", "which": "", "keyword": taken, **_UNTOUCHED}
        return found

    def _end_of(self, day: str) -> dict[str, str]:
        """Return the clock at the end of a day: a day that follows `last` is meant whole."""
        now = self.run.now.astimezone(self.run.zone)
        is_today = day == f"{now:%d/%m/%Y}"
        texts = (f"{now:%H}", f"{now:%M}", f"{now:%S}") if is_today else ("23", "59", "59")
        return dict(zip(_CLOCK, texts, strict=True))

    def untouched(self) -> dict[str, str]:
        """Return what the fields show when the offered word was taken."""
        return {"day": "", "keyword": self.offered, **_UNTOUCHED}

    def shown_as(self, moment: datetime) -> dict[str, str]:
        """Return what the fields show for a moment."""
        return shown(moment, self.run.zone)

    @property
    def problems(self) -> list[tuple[str, str]]:
        """The errors, as those of a step."""
        shown_instead = {self["which"].id_for_label: f"{self['which'].id_for_label}_{LATER}"}
        return [(shown_instead.get(anchor, anchor), text) for anchor, text in problems_of(self)]

    @property
    def moment(self) -> datetime | None:
        """The moment that the fields mean, UTC; None if they mean none, or a word."""
        if self.is_bound:
            return self.cleaned_data.get("at") if self.is_valid() else None
        try:
            return self._one_of(self._typed(self.initial), self.initial.get("which", ""))
        except ValidationError:
            return None

    @property
    def chosen(self) -> Moment:
        """What a valid widget chose."""
        at = self.cleaned_data.get("at")
        return Moment(at=at) if at else Moment(keyword=self.offered)

    # What its templates show

    @property
    def took(self) -> str:
        """The word that was taken; empty if none was."""
        word = str(self["keyword"].value() or "")
        return word if self._means_word({each: self[each].value() for each in self.fields}) else ""

    @property
    def shown_fields(self) -> list[forms.BoundField]:
        """The fields in the order of the date."""
        return [self[name] for name in ("day", *_CLOCK)]

    @property
    def shown(self) -> dict[str, str]:
        """All that is shown, by the names in a query."""
        texts = {name: str(self[name].value() or "") for name in self.fields}
        return {self.key + name: text for name, text in texts.items() if text}

    @property
    def suggested_as_query(self) -> str:
        """The moment that is suggested for one that is too early, for a link that takes it."""
        return self._as_query(self.span.suggested) if self.span.suggested else ""

    def _as_query(self, moment: datetime) -> str:
        texts = self.shown_as(moment)
        return urlencode({self.key + name: text for name, text in texts.items()})

    @property
    def known_beside(self) -> list[tuple[str, str]]:
        """The moments beside it at which the mailbox is known exactly, if it is not at this one.

        Each in words, and for a link that takes it.
        """
        gap = self.span.gap(self.moment) if self.moment and not self.errors else None
        beside = [gap.last, gap.next] if gap else []
        return [(self.run.local_text(each), self._as_query(each)) for each in beside]

    @property
    def first_text(self) -> str:
        """The first moment there is, in the zone of the fields; empty if there is none."""
        return self.run.local_text(self.span.first) if self.span.first else ""

    @property
    def is_too_early(self) -> bool:
        """Whether the moment lies before the first one."""
        return self.has_error("day", "too_early")

    @property
    def twice(self) -> tuple[datetime, ...]:
        """The moments between which `which` decides, earliest first; usually none."""
        # Whoever asks for the moment finds out.
        return self._twice if self.moment or self.errors else ()

    @property
    def readings(self) -> list[dict[str, Any]]:
        """The moments of a time that was twice, the later one preset."""
        chosen = str(self["which"].value() or LATER)
        return [
            {
                "value": value,
                "is_chosen": value == chosen,
                "text": f"{each.astimezone(self.run.zone):{words.DATE_FORMAT} %Z}"
                f" ({each:{words.DATE_FORMAT}} UTC)",
            }
            for value, each in zip((EARLIER, LATER), self.twice, strict=True)
        ]

    @property
    def resolved(self) -> list[str]:
        """The moment that is meant: in the server's zone, the user's, UTC."""
        return in_zones(self.run, self.moment) if self.moment else []

    # The calendar

    @property
    def today(self) -> date:
        """The present day where the server is."""
        return self.run.now.astimezone(self.run.zone).date()

    @cached_property
    def opens(self) -> date:
        """The first day that can be chosen; today if none can."""
        return (self.span.first or self.run.now).astimezone(self.run.zone).date()

    @property
    def month(self) -> Month:
        """The month that is shown: the one asked for or chosen, as far as it may be shown."""
        wanted = Month.parse(self._asked_month) or Month.of(self._chosen_day() or self.today)
        return min(max(wanted, Month.of(self.opens)), Month.of(self.today))

    @property
    def earlier(self) -> Month | None:
        """The month before, if anything of it can be chosen."""
        return self.month.moved(-1) if self.month > Month.of(self.opens) else None

    @property
    def later(self) -> Month | None:
        """The month after, if it has begun."""
        return self.month.moved(1) if self.month < Month.of(self.today) else None

    @cached_property
    def weeks(self) -> list[list[Day | None]]:
        """The month that is shown."""
        return self.month.weeks(
            opens=self.opens,
            today=self.today,
            chosen=self._chosen_day(),
            changed=self.span.changed(self.month),
        )

    def _chosen_day(self) -> date | None:
        with suppress(ValidationError):
            return day_of(str(self["day"].value() or "")).date()
        return None

    # What is accepted

    def clean(self) -> dict[str, Any]:
        """Find the one moment that is meant and may be chosen."""
        cleaned = super().clean() or {}
        if self.errors or self._means_word(cleaned):
            return cleaned
        try:
            local = self._typed(cleaned)
            cleaned["at"] = self._one_of(local, cleaned["which"])
            self._check_known(cleaned["at"])
        except ValidationError as error:
            self.add_error(None if hasattr(error, "error_dict") else "day", error)
        return cleaned

    def words(self) -> dict[str, str]:
        """Return the fields as they show what was accepted."""
        at = self.cleaned_data.get("at")
        texts = self.shown_as(at) if at else self.untouched()
        return {self.key + name: text for name, text in texts.items()}

    def _means_word(self, values: Mapping[str, Any]) -> bool:
        """Say whether the offered word stands: nothing was typed since it was taken."""
        is_touched = any(str(values.get(name) or "0").strip("0") for name in _CLOCK)
        return bool(values.get("keyword")) and not values.get("day") and not is_touched

    def _typed(self, values: Mapping[str, Any]) -> datetime:
        """Return the time that was typed: aware if it came with a zone, else local."""
        typed = str(values.get("day") or "").strip()
        found = day_of(typed)
        if not _DAY.fullmatch(typed) and len(typed) > len("2026-11-25"):
            return found
        hour, minute, second = (self._number(name, values) for name in _CLOCK)
        return found.replace(hour=hour, minute=minute, second=second)

    def _number(self, name: str, values: Mapping[str, Any]) -> int:
        text = str(values.get(name) or "").strip()
        most = 23 if name == "hour" else 59
        if not re.fullmatch("[0-9]{1,2}", text) or int(text) > most:
            label = self.fields[name].label
            raise ValidationError({name: gettext("%s: a number from 0 to %d.") % (label, most)})
        return int(text)

    def _one_of(self, local: datetime, which: str) -> datetime:
        """Return the moment, UTC, that a typed time means."""
        if local.tzinfo is not None:
            return local.astimezone(UTC)
        zone = self.run.zone
        found = readings(local, zone)
        if not found:
            before, after = (self.run.local_text(each) for each in around_gap(local, zone))
            raise ValidationError(
                gettext(
                    "%(time)s never was: the clocks of %(zone)s were put forward over it. "
                    "The seconds beside it are %(before)s and %(after)s."
                )
                % {
                    "time": f"{local:{words.DATE_FORMAT}}",
                    "zone": zone.key,
                    "before": before,
                    "after": after,
                }
            )
        if len(found) > 1:
            self._twice = found
            if self.is_bound and not which:
                raise ValidationError({"which": gettext("The clocks showed this time twice.")})
        return found[0] if which == EARLIER else found[-1]

    def _check_known(self, moment: datetime) -> None:
        if moment > self.run.now:
            now = self.run.local_text(self.run.now)
            raise ValidationError(gettext("This moment lies in the future; now it is %s.") % now)
        # A period may begin before the backup does.
        if self.offered != FIRST:
            self.span.check(moment)


def day_of(typed: str) -> datetime:
    """Return midnight of a day as people type it; of ISO 8601 with a time, that time.

    Raises ValidationError.
    """
    if not typed:
        raise ValidationError(gettext("Choose a day, or type it as dd/MM/yyyy."))
    parts = _DAY.fullmatch(typed)
    try:
        if parts:
            day, month, year = (int(part) for part in parts.groups())
            found = datetime(year, month, day)  # noqa: DTZ001  # a local time so far
        else:
            found = datetime.fromisoformat(typed).replace(microsecond=0)
    except ValueError as error:
        raise ValidationError(
            gettext("“%s” is no day. Type it as dd/MM/yyyy, such as 28/09/2021.") % typed
        ) from error
    if found.year not in _YEARS:
        raise ValidationError(gettext("There is no backup of the year %d.") % found.year)
    return found


def in_zones(run: Run, moment: datetime) -> list[str]:
    """Spell a moment in the server's zone, the user's, and in UTC; each once."""
    zones = [run.zone, *filter(None, [run.own_zone]), ZoneInfo("UTC")]
    return list(dict.fromkeys(run.local_text(moment, zone) for zone in zones))


def shown(moment: datetime, zone: ZoneInfo) -> dict[str, str]:
    """Return what the fields show for a moment."""
    local = moment.astimezone(zone)
    texts = {
        "day": f"{local:%d/%m/%Y}",
        "hour": f"{local:%H}",
        "minute": f"{local:%M}",
        "second": f"{local:%S}",
    }
    if len(readings(local.replace(microsecond=0), zone)) > 1:
        texts["which"] = LATER if local.fold else EARLIER
    return texts
