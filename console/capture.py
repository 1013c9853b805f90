"""What is known of each server's Real-Time Scanner, and samples of numbers over time.

`console.models` makes these rows known to Django; nothing here knows any other row.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone

SILENCE = timedelta(seconds=60)
"""After so long without a sign of life nobody can say that anything is captured."""
LAG_LIMIT = timedelta(minutes=5)
LAG_SAMPLES = "scanner_lag_ms"


class Scanner(models.Model):
    """The Real-Time Scanner of a server as its process told last, and what its switch has caused.

    A row without a sign of life says what was, not what is: see `is_silent`.
    """

    class State(models.TextChoices):
        """What the scanner does."""

        OFF = "off", "Off"
        IDLE = "idle", "Idle"
        FOLLOWING = "following", "Following"
        CATCHING_UP = "catching_up", "Catching up"
        HALTED = "halted", "Halted"

    class Why(models.TextChoices):
        """Why a SmartScan is required."""

        FIRST = "first", "enabled for the first time"
        ENABLED = "enabled", "enabled again"
        GAP = "gap", "gap in the redo log"

    server = models.OneToOneField(
        "console.Server", on_delete=models.CASCADE, related_name="scanner"
    )
    enabled = models.BooleanField(default=False)
    """What the property said when it was acted upon last."""
    state = models.CharField(max_length=16, choices=State.choices, default=State.OFF)
    since = models.DateTimeField(default=timezone.now)
    reason = models.TextField(blank=True)
    """Why it is off, idle or halted, and below what helps."""
    hint = models.TextField(blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    sequence = models.PositiveBigIntegerField(null=True, blank=True)
    """The place in the redo log: the number of the file, and the byte in it."""
    offset = models.PositiveBigIntegerField(default=0)
    behind_bytes = models.PositiveBigIntegerField(default=0)
    last_change_at = models.DateTimeField(null=True, blank=True)
    captured_at = models.DateTimeField(null=True, blank=True)
    """The moment up to which everything is saved, but for what a required SmartScan brings."""
    lag_ms = models.PositiveBigIntegerField(default=0)
    day = models.DateField(null=True, blank=True)
    """The day, in the server's zone, of the next two."""
    peak_ms = models.PositiveBigIntegerField(default=0)
    events = models.PositiveBigIntegerField(default=0)
    uncertain = models.PositiveIntegerField(default=0)
    """Accounts that are scanned before their next restore."""
    gap = models.JSONField(default=dict)
    """The last one: `reason`, `after`, `until`, `since_ms`, `before_ms`; empty without any."""
    gap_at = models.DateTimeField(null=True, blank=True)
    off_since = models.DateTimeField(null=True, blank=True)
    due_since = models.DateTimeField(null=True, blank=True)
    """A SmartScan is required that begins after this; from here on the capture is complete."""
    due_why = models.CharField(max_length=16, choices=Why.choices, blank=True)
    missed_from = models.DateTimeField(null=True, blank=True)
    """What lies between the two was not captured; None where the beginning is not known."""
    missed_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"scanner of {self.server}: {self.state}"

    @property
    def missed(self) -> timedelta | None:
        """How long nothing was captured before; None if that is not known."""
        if self.missed_from is None or self.missed_until is None:
            return None
        return max(timedelta(), self.missed_until - self.missed_from)

    @property
    def is_at_work(self) -> bool:
        """True while it captures, as far as it told."""
        return self.state in (self.State.FOLLOWING, self.State.CATCHING_UP)

    def is_silent(self, now: datetime) -> bool:
        """Say whether it is to work and gives no sign of life."""
        if not self.enabled:
            return False
        last = self.seen_at if self.seen_at is not None else self.since
        return now - last >= SILENCE

    def is_due(self, begun: datetime | None) -> bool:
        """Say whether a SmartScan is required; `begun` is when the last successful one began."""
        return self.due_since is not None and (begun is None or begun <= self.due_since)


class Sample(models.Model):
    """A number of a server at a moment, such as its scanner's longest lag of a minute."""

    server = models.ForeignKey("console.Server", on_delete=models.CASCADE)
    name = models.CharField(max_length=32)
    at = models.DateTimeField()
    value = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("server", "name", "at"), name="one_sample_at_a_time"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.value}"
