"""The moments that a date widget offers: from when on, what happened on which day."""

from __future__ import annotations

from datetime import date, datetime
from functools import cached_property
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.errors import BackupError
from backupng.engine.restore.select import end_of_second
from console import browse
from console.browse import Gap
from console.calendar import Month
from console.wizard import Run


class Span:
    """The moments that a date may be: those at which the backup knows the account of the run."""

    suggestion: Any = _("Take the first moment")
    """The words on the button that takes what is suggested for a moment that is too early."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @cached_property
    def first(self) -> datetime | None:
        """The first moment; None if there is none."""
        return browse.first_moment(self.run.server, self.run.account_id)

    @property
    def preset(self) -> datetime:
        """The moment that is shown at first."""
        account = self.run.account
        return account.last_change or account.protected_since or self.run.now

    @property
    def suggested(self) -> datetime | None:
        """The moment that is suggested for one that is too early."""
        return self.first

    def check(self, moment: datetime) -> None:
        """Refuse a moment of which the backup knows nothing. Raises ValidationError (too_early)."""
        if self.first is None:
            raise ValidationError(gettext("Nothing of this account is in the backup yet."))
        if end_of_second(moment) <= self.first:
            text = self.run.local_text(self.first)
            raise ValidationError(
                gettext("The backup of this account begins at %s.") % text, code="too_early"
            )

    def gap(self, moment: datetime) -> Gap | None:
        """Return the time around a moment in which nobody saw the mailbox change, if there is."""
        try:
            return browse.gap_at(self.run.server, self.run.account_id, moment)
        except BackupError:
            return None

    def changed(self, month: Month) -> frozenset[date]:
        """Return the days of a month on which something happened, in the server's zone."""
        return browse.changed_days(
            self.run.server,
            self.run.account_id,
            year=month.year,
            month=month.month,
            zone=self.run.zone,
        )
