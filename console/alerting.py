"""Alerts: notifications that belong to no operation."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from backupng.engine.operations.words import DATE_FORMAT
from console import bells, connect, hosting, notify, properties
from console.letter import layout
from console.letter.text import SUBJECT_LENGTH
from console.models import Delivery, Level, Notification, Server

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert: its event, and what it says."""

    event: str
    level: Level
    subject: str
    lead: str
    fields: Mapping[str, str]
    advice: str = ""
    commands: Mapping[str, str] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)


def tell(server: Server, alert: Alert) -> None:
    """Record an alert and have it mailed, in the present transaction."""
    told = uuid.uuid4()
    now = timezone.now()
    notification = Notification.objects.create(
        id=told,
        created_at=now,
        level=alert.level,
        group="alerts",
        server=server,
        server_name=server.name,
        event=alert.event,
        subject=hosting.storable(f"[Backup NG] {server.name}: {alert.subject}")[:SUBJECT_LENGTH],
        text=hosting.storable(_text(server, alert, told, now)),
        counters=dict(alert.counters),
    )
    if _is_mailed(server, alert.level):
        Delivery.objects.bulk_create(
            Delivery(notification=notification, address=address)
            for address in notify.default_recipients(server)
        )
        bells.ring(server, bells.POST)
    logger.info("notification %s, %s: %s of %s", told, alert.level, alert.event, server)


def _is_mailed(server: Server, level: Level) -> bool:
    mailed: str = connect.values(server)[properties.NOTIFICATION_LEVEL].value
    return Level.values.index(level) >= Level.values.index(mailed)


def _text(server: Server, alert: Alert, told: uuid.UUID, now: datetime) -> str:
    fields = {"server": server.name, "at": spelled(server, now), **alert.fields}
    blocks = (
        layout.filled(alert.lead),
        layout.block(fields),
        layout.filled(alert.advice) if alert.advice else "",
        "\n".join(layout.command(label, line) for label, line in alert.commands.items()),
        layout.block({"notification": str(told)}),
    )
    return "\n\n".join(filter(None, blocks)) + "\n"


def spelled(server: Server, moment: datetime | None) -> str:
    """Spell a moment in the server's zone, which is named; empty for none."""
    if moment is None:
        return ""
    return moment.astimezone(server.zone_info).strftime(f"{DATE_FORMAT} %Z")
