"""What an admin decided, what was asked of the engine, and what was told about it.

No content of a mailbox is in here: losing this database loses no backup.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from console.capture import Sample as Sample
from console.capture import Scanner as Scanner

SERVER_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?"
"""Names are parts of file names, and of command lines."""


PERMISSIONS = {
    "view_status": "See servers, queue, notifications and the progress of operations",
    "run_scan": "Run scans",
    "run_purge": "Run purges",
    "check": "Check Backup Paths",
    "fix_backup": "Move what is broken out of Backup Paths",
    "browse_accounts": "See accounts and lists of their items",
    "restore": "Restore accounts",
    "export_backup": "Export backups",
    "import_backup": "Import backups",
    "stop_operation": "Stop operations one has started",
    "stop_any_operation": "Stop the operations of everybody",
    "toggle_scanner": "Enable and disable the Real-Time Scanner",
    "change_settings": "Change settings",
    "change_cos": "Switch the backup of a class of service",
    "view_audit": "Read the audit log",
}
"""What a user may do; the roles of `console.roles` are sets of these."""


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
    worker_seen_at = models.DateTimeField(null=True, blank=True)
    """The last sign of life of the worker that drains its queue."""

    class Meta:
        default_permissions = ()
        permissions = tuple(PERMISSIONS.items())

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
        default_permissions = ()
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


class Origin(models.TextChoices):
    """Where an operation was asked for."""

    CONSOLE = "console", "console"
    CLI = "cli", "CLI"
    SCHEDULE = "schedule", "schedule"


OPEN_STATES = (State.QUEUED, State.STARTED)


class QueuedOperation(models.Model):
    """An operation somebody asked for; the rows of a server, by `seq`, are its queue."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    server = models.ForeignKey(Server, on_delete=models.PROTECT)
    seq = models.PositiveBigIntegerField()
    command = models.CharField(max_length=64)
    parameters = models.JSONField(default=dict)
    source_name = models.CharField(max_length=254, blank=True)
    """What the account was called that `source_account` gives by its id."""
    origin = models.CharField(max_length=16, choices=Origin.choices, default=Origin.CLI)
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True
    )
    """The user of the console who asked for it; nobody for the command line and a schedule."""
    requester_name = models.CharField(max_length=254, blank=True)
    requester_address = models.CharField(max_length=254, blank=True)
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
    """`phase`, `done`, `total` (0 while counting), `counts`, `rate` (per s), `rev` (grows)."""
    progress_at = models.DateTimeField(null=True, blank=True)
    outcome = models.JSONField(default=dict)
    """The end event of the operation's process, its report included; it may be many megabytes."""
    losses = models.BooleanField(default=False)
    """True when it ended and something was not saved or not restored."""
    counters = models.JSONField(default=dict)
    """Those of the report: with `losses` all that a list needs of it."""
    dedupe = models.CharField(max_length=200, null=True, blank=True, unique=True)
    resumes = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True)

    class Meta:
        default_permissions = ()
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
    def named(self) -> dict[str, str]:
        """The parameters for people to read: an account's id stands behind its name."""
        texts: dict[str, str] = self.parameters
        if not self.source_name:
            return texts
        return texts | {"source_account": f"{self.source_name} (id {texts['source_account']})"}

    @property
    def has_ended(self) -> bool:
        """True once the state can never change again."""
        return self.state not in OPEN_STATES

    @property
    def shown_state(self) -> str:
        """The state in the words of every screen."""
        if self.state == State.STARTED and self.stop_requested_at:
            return "Stopping"
        return State(self.state).label

    @classmethod
    def listed(cls) -> models.QuerySet[QueuedOperation]:
        """Return all operations as lists load them: without outcomes, which may be large."""
        return cls.objects.select_related("server").defer("outcome")

    @staticmethod
    def ended_with(outcome: dict[str, Any]) -> dict[str, Any]:
        """Return the fields that hold an outcome: itself, and what lists show of it."""
        found = outcome.get("report")
        report = found if isinstance(found, dict) else {}
        return {
            "outcome": outcome,
            "losses": bool(report.get("losses", False)),
            "counters": report.get("counters") or {},
        }

    def move(self, old: State, new: State, **changes: Any) -> bool:
        """Change the state, and other fields with it; False means somebody else was first."""
        mine = QueuedOperation.objects.filter(pk=self.pk, state=old, token=self.token)
        return bool(mine.update(state=new, **changes))


class CosFlag(models.Model):
    """What the directory said last about the backup of a class of service: a cache.

    The truth is the marker in the Notes of the class; `changed_at` is when a reading found it
    switched.
    """

    server = models.ForeignKey(Server, on_delete=models.CASCADE)
    cos_id = models.CharField(max_length=64)
    name = models.CharField(max_length=256)
    disabled = models.BooleanField(default=False)
    accounts = models.PositiveIntegerField(default=0)
    read_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("server", "cos_id"), name="one_flag_per_cos"),
        )

    def __str__(self) -> str:
        return f"{self.name} on {self.server}"


class Draft(models.Model):
    """One run of a wizard: what was typed so far, for its owner alone."""

    LIFETIME = timedelta(hours=24)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    wizard = models.CharField(max_length=64)
    server = models.ForeignKey(Server, on_delete=models.CASCADE)
    account_id = models.CharField(max_length=64, blank=True)
    words = models.JSONField(default=dict)
    """By step: the texts of its fields as they were accepted last."""
    created_at = models.DateTimeField(default=timezone.now)
    operation = models.ForeignKey(QueuedOperation, on_delete=models.SET_NULL, null=True, blank=True)
    """What `Finish` made of it; a draft is finished once."""
    resumes = models.ForeignKey(
        QueuedOperation, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    """The ended operation that is asked for again."""

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.wizard} {self.id}"

    @property
    def has_expired(self) -> bool:
        """True when it is too old to go on with."""
        return timezone.now() - self.created_at > self.LIFETIME


class Level(models.TextChoices):
    """Levels of a notification, weakest first."""

    INFORMATION = "information", "Information"
    WARNING = "warning", "Warning"
    ERROR = "error", "Error"
    CRITICAL = "critical", "Critical"


class Notification(models.Model):
    """One event, told once: shown on the page, and mailed by its deliveries."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(default=timezone.now)
    level = models.CharField(max_length=16, choices=Level.choices)
    group = models.CharField(max_length=16)
    """`operations`, `scans`, `alerts` or `settings`."""
    server = models.ForeignKey(Server, on_delete=models.SET_NULL, null=True, blank=True)
    server_name = models.CharField(max_length=253, blank=True)
    operation = models.ForeignKey(QueuedOperation, on_delete=models.SET_NULL, null=True, blank=True)
    event = models.CharField(max_length=16)
    """Of an operation: `started` or `ended`."""
    subject = models.CharField(max_length=200)
    text = models.TextField()
    counters = models.JSONField(default=dict)
    read_at = models.DateTimeField(null=True, blank=True)
    read_by = models.CharField(max_length=254, blank=True)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("operation", "event"), name="an_event_is_told_once"),
        )
        indexes = (models.Index(fields=("-created_at",), name="newest_notifications"),)

    def __str__(self) -> str:
        return self.subject


class Delivery(models.Model):
    """The mail of a notification to one recipient: the outbox."""

    class State(models.TextChoices):
        """What became of it."""

        WAITING = "waiting", "waiting"
        SENT = "sent", "sent"
        UNDELIVERED = "undelivered", "undelivered"

    notification = models.ForeignKey(Notification, on_delete=models.CASCADE)
    address = models.CharField(max_length=254)
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(default=timezone.now)
    last_error = models.CharField(max_length=500, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("notification", "address"), name="one_mail_per_recipient"
            ),
        )
        indexes = (models.Index(fields=("state", "next_try_at"), name="next_in_the_outbox"),)

    def __str__(self) -> str:
        return f"{self.notification_id} to {self.address}"


class Preferences(models.Model):
    """How one user wants the console to look."""

    class Theme(models.TextChoices):
        """Colours; the system's own choice unless said otherwise."""

        SYSTEM = "", "As the system"
        LIGHT = "light", "Light"
        DARK = "dark", "Dark"

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    theme = models.CharField(max_length=8, choices=Theme.choices, blank=True, default="")
    zone = models.CharField(max_length=64, blank=True)
    """Empty: the zone of the server that a page speaks of."""

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"preferences of {self.user}"


class AuditEntry(models.Model):
    """Who did what, from where, with which result; rows are only ever added.

    `digest` is the SHA-256 of the entry's fields and of the digest before it, in hex: a row that
    was changed or taken out breaks the chain.
    """

    at = models.DateTimeField()
    user = models.CharField(max_length=254)
    client = models.CharField(max_length=64, blank=True)
    """The address of the browser; `cli` for the command line."""
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=254, blank=True)
    result = models.CharField(max_length=64)
    detail = models.CharField(max_length=500, blank=True)
    previous = models.CharField(max_length=64, unique=True)
    digest = models.CharField(max_length=64, unique=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.user} {self.action} {self.subject}"
