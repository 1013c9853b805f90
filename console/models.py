"""What an admin decided (servers, settings) and what was asked of the engine (the queue)."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

SERVER_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?"
"""Names are parts of file names, and of command lines."""


class Server(models.Model):
    """A mail server under backup, its Backup Path, and the state of its queue."""

    name = models.CharField(
        max_length=253, unique=True, validators=[RegexValidator(rf"^{SERVER_NAME}\Z")]
    )
    kind = models.CharField(max_length=16)
    connection = models.JSONField(default=dict)
    backup_path = models.CharField(max_length=4096)
    tree_id = models.CharField(max_length=36, blank=True)
    """The Backup Path that was there after the last operation; another or none is refused."""
    zone = models.CharField(max_length=64, default="UTC")
    identity = models.CharField(max_length=36, blank=True)
    """The host that its operations run on; empty until one has taken it."""
    next_seq = models.PositiveBigIntegerField(default=1)
    drain_pending = models.BooleanField(default=False)
    paused = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """Its Backup Path, absolute; `backup_path` may be relative to the data folder."""
        return Path(settings.DATA_DIR, self.backup_path)

    @property
    def zone_info(self) -> ZoneInfo:
        """The time zone in which its admins write dates."""
        return ZoneInfo(self.zone)


class Setting(models.Model):
    """A property that was set: for one server, or with no server for all of them."""

    server = models.ForeignKey(Server, on_delete=models.CASCADE, null=True, blank=True)
    name = models.CharField(max_length=64)
    value = models.TextField(blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("server", "name"), name="one_value_per_server"),
            models.UniqueConstraint(
                fields=("name",), condition=Q(server=None), name="one_value_for_all_servers"
            ),
        )

    def __str__(self) -> str:
        return f"{self.server or 'all servers'}: {self.name} {self.value}"


class State(models.TextChoices):
    """States of a queued operation; Stopping is shown, never stored."""

    QUEUED = "queued", "Queued"
    STARTED = "started", "Started"
    SUCCESSFUL = "successful", "Successful"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"
    REMOVED = "removed", "Removed"
    INTERRUPTED = "interrupted", "Interrupted"


OPEN_STATES = (State.QUEUED, State.STARTED)


class QueuedOperation(models.Model):
    """An operation somebody asked for; the rows of a server, by `seq`, are its queue."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    server = models.ForeignKey(Server, on_delete=models.PROTECT)
    seq = models.PositiveBigIntegerField()
    command = models.CharField(max_length=64)
    parameters = models.JSONField(default=dict)
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    token = models.UUIDField(null=True, blank=True)
    """New at each claim: only who holds it may end the operation."""
    runner = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    stop_requested_by = models.CharField(max_length=254, blank=True)
    progress = models.JSONField(default=dict)
    progress_at = models.DateTimeField(null=True, blank=True)
    outcome = models.JSONField(default=dict)
    """The end event of the operation's process, its report included."""
    dedupe = models.CharField(max_length=200, null=True, blank=True, unique=True)
    resumes = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("server", "seq"), name="one_place_in_the_queue"),
            models.UniqueConstraint(
                fields=("server",), condition=Q(state="started"), name="one_started_per_server"
            ),
            models.CheckConstraint(
                condition=Q(state__in=State.values), name="state_is_one_of_the_seven"
            ),
        )
        indexes = (models.Index(fields=("server", "state", "seq"), name="next_in_the_queue"),)

    def __str__(self) -> str:
        return f"{self.command} {self.id}"

    @property
    def has_ended(self) -> bool:
        """True once the state can never change again."""
        return self.state not in OPEN_STATES

    @property
    def losses(self) -> bool:
        """True when it ended and something was not saved or not restored."""
        return bool(self.outcome.get("report", {}).get("losses", False))

    @property
    def shown_state(self) -> str:
        """The state in the words of every screen."""
        if self.state == State.STARTED and self.stop_requested_at:
            return "Stopping"
        return State(self.state).label

    def move(self, old: State, new: State, **changes: Any) -> bool:
        """Change the state, and other fields with it; False means somebody else was first."""
        mine = QueuedOperation.objects.filter(pk=self.pk, state=old, token=self.token)
        return bool(mine.update(state=new, **changes))
