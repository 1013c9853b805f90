"""The step that asks for the moment to restore."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.operations import words
from backupng.engine.operations.clocks import around_gap, readings
from backupng.engine.operations.words import LAST, Moment
from backupng.engine.restore.select import end_of_second
from console import browse
from console.calendar import Day, Month
from console.wizard import Choice, Run, StepForm

_DAY = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")
_YEARS = range(1970, 3000)
_CLOCK = ("hour", "minute", "second")
EARLIER, LATER = "earlier", "later"


class DateStep(StepForm):
    """The moment to restore: a day by calendar or as text, hour, minute, second; or the last."""

    slug = "date"
    title = _("Date")
    template = "console/wizard_date.html"
    refusals: ClassVar[Mapping[str, str]] = {
        "before_first_backup": "day",
        "date_in_future": "day",
        "no_such_account": "day",
        "ambiguous_account": "day",
    }
    WHOLE: ClassVar[str] = "console/_when.html"
    fragments: ClassVar[Mapping[str, str]] = {"moment": "console/_moment.html", "when": WHOLE}

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
    last = forms.BooleanField(required=False)

    took_last = False
    """Whether the newest state was chosen before."""

    def __init__(self, run: Run, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(run, data, **options)
        digits = {"inputmode": "numeric", "class": "two", "autocomplete": "off"}
        for name in ("minute", "second"):
            self.fields[name].widget.attrs.update(digits)
        self._twice: tuple[datetime, ...] = ()
        if data is None and not self.initial:
            preset = run.account.last_change or run.account.protected_since or run.now
            self.initial = self.shown_as(preset)

    @classmethod
    def words_from(cls, texts: Mapping[str, str], zone: ZoneInfo) -> dict[str, str]:
        """Return the words for the date of an operation there was."""
        moment: Moment = words.parse(Moment, texts["date"], name="date", zone=zone)
        return {"last": "on"} if moment.at is None else _shown(moment.at, zone)

    def shown_as(self, moment: datetime) -> dict[str, str]:
        """Return what the fields show for a moment."""
        return _shown(moment, self.run.zone)

    def drawn(self) -> StepForm:
        """Return the fields; where the newest state was chosen, without a day."""
        if not self.is_valid() or not self.cleaned_data["last"]:
            return self
        # Next alone must not turn it into a moment: a day has to be chosen for that.
        form = type(self)(self.run)
        form.initial = {name: form.initial[name] for name in _CLOCK}
        form.took_last = True
        return form

    @property
    def moment(self) -> datetime | None:
        """The moment that the fields mean, UTC; None if they mean none, or the newest state."""
        if self.is_bound:
            return self.cleaned_data.get("at") if self.is_valid() else None
        try:
            return self._one_of(self._typed(self.initial), self.initial.get("which", ""))
        except ValidationError:
            return None

    @property
    def month(self) -> Month:
        """The month of the calendar: that of the day in the field, else the present one."""
        return Month.of(self._chosen_day() or self.today)

    # What its templates show

    @property
    def shown_fields(self) -> list[forms.BoundField]:
        """The fields in the order of the date."""
        return [self[name] for name in ("day", *_CLOCK)]

    @property
    def clock_shown(self) -> dict[str, str]:
        """What hour, minute and second show."""
        return {name: str(self[name].value() or "") for name in _CLOCK}

    @property
    def shown_as_query(self) -> str:
        """All that is shown, for a link that is to keep it."""
        return urlencode({"day": str(self["day"].value() or ""), **self.clock_shown})

    @property
    def first_as_query(self) -> str:
        """The first moment there is, for a link that takes it."""
        first = browse.first_moment(self.run.server, self.run.draft.account_id)
        return urlencode(self.shown_as(first)) if first else ""

    @property
    def first_text(self) -> str:
        """The first moment there is, in the zone of the fields; empty if there is none."""
        first = self.run.account.protected_since
        return self.run.local_text(first) if first else ""

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
        if self.moment is None:
            return []
        zones = [self.run.zone, *filter(None, [self.run.own_zone]), ZoneInfo("UTC")]
        return list(dict.fromkeys(self.run.local_text(self.moment, zone) for zone in zones))

    @property
    def today(self) -> date:
        """The present day where the server is."""
        return self.run.now.astimezone(self.run.zone).date()

    @cached_property
    def opens(self) -> date:
        """The first day of which anything can be restored; today if nothing can."""
        first = browse.first_moment(self.run.server, self.run.draft.account_id)
        return (first or self.run.now).astimezone(self.run.zone).date()

    def weeks(self, month: Month) -> list[list[Day | None]]:
        """Return a month as the calendar shows it."""
        changed = browse.changed_days(
            self.run.server,
            self.run.draft.account_id,
            year=month.year,
            month=month.month,
            zone=self.run.zone,
        )
        return month.weeks(
            opens=self.opens, today=self.today, chosen=self._chosen_day(), changed=changed
        )

    def _chosen_day(self) -> date | None:
        with suppress(ValidationError):
            return self._day(str(self["day"].value() or "")).date()
        return None

    def clean(self) -> dict[str, Any]:
        """Find the one moment that is meant and may be restored."""
        cleaned = super().clean() or {}
        if cleaned.get("last") or self.errors:
            return cleaned
        try:
            local = self._typed(cleaned)
            cleaned["at"] = self._one_of(local, cleaned["which"])
            self._check_restorable(cleaned["at"])
        except ValidationError as error:
            self.add_error(None if hasattr(error, "error_dict") else "day", error)
        return cleaned

    def words(self) -> dict[str, str]:
        """Return the fields as they show what was accepted."""
        if self.cleaned_data["last"]:
            return {"last": "on"}
        return self.shown_as(self.cleaned_data["at"])

    def parameters(self) -> dict[str, str]:
        """Return the date as the command line takes it."""
        return {"date": words.spell(Moment, self.chosen, self.run.zone)}

    @property
    def chosen(self) -> Moment:
        """What a valid form chose."""
        return LAST if self.cleaned_data["last"] else Moment(at=self.cleaned_data["at"])

    def choices(self) -> list[Choice]:
        """Return the moment in the server's zone, the user's and UTC."""
        moment = self.chosen.at
        if moment is None:
            newest = gettext("Last: the newest state in the backup")
            return [Choice(label=gettext("At"), text=newest)]
        found = [Choice(label=gettext("At"), text=self.run.local_text(moment))]
        if own := self.run.own_zone:
            text = self.run.local_text(moment, own)
            found.append(Choice(label=gettext("In your zone"), text=text))
        text = f"{moment:{words.DATE_FORMAT}} UTC"
        return [*found, Choice(label=gettext("In UTC"), text=text)]

    def _typed(self, values: Mapping[str, Any]) -> datetime:
        """Return the time that was typed: aware if it came with a zone, else local."""
        typed = str(values.get("day") or "").strip()
        found = self._day(typed)
        if not _DAY.fullmatch(typed) and len(typed) > len("2026-11-25"):
            return found
        hour, minute, second = (self._number(name, values) for name in _CLOCK)
        return found.replace(hour=hour, minute=minute, second=second)

    def _day(self, typed: str) -> datetime:
        """Return midnight of a day; of ISO 8601 with a time, that time."""
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

    def _check_restorable(self, moment: datetime) -> None:
        if moment > self.run.now:
            now = self.run.local_text(self.run.now)
            raise ValidationError(gettext("This moment lies in the future; now it is %s.") % now)
        first = browse.first_moment(self.run.server, self.run.draft.account_id)
        if first is None:
            raise ValidationError(gettext("Nothing of this account is in the backup yet."))
        if end_of_second(moment) <= first:
            text = self.run.local_text(first)
            raise ValidationError(
                gettext("The backup of this account begins at %s.") % text, code="too_early"
            )


def _shown(moment: datetime, zone: ZoneInfo) -> dict[str, str]:
    local = moment.astimezone(zone)
    shown = {
        "day": f"{local:%d/%m/%Y}",
        "hour": f"{local:%H}",
        "minute": f"{local:%M}",
        "second": f"{local:%S}",
    }
    if len(readings(local.replace(microsecond=0), zone)) > 1:
        shown["which"] = LATER if local.fold else EARLIER
    return shown
