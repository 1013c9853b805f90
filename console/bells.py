"""Bells: short messages through django-q2 that have a process of a server's worker look.

The queue and the outbox are tables of their own; a bell may be lost, late or doubled.
"""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from console.models import Server

DRAIN, TICK, POST = (f"console.tasks.{name}" for name in ("drain", "tick", "post"))
"""By the names that django-q2 finds them by: `console.tasks` lies far above this room."""

_AT_ONCE = 20
_TWO_TICKS = timedelta(minutes=2)


def ring(server: Server, bell: str) -> None:
    """Ring in the present transaction; where nobody listens, one bell of a kind is enough."""
    listening = cluster(server.name)
    waiting = OrmQ.objects.filter(key=listening, lock__lte=timezone.now())[:_AT_ONCE]
    if not any(each.func() == bell for each in waiting):
        async_task(bell, server.name, cluster=listening, timeout=-1)


def wake_tick(server: Server) -> None:
    """Have the tick ring now where it is planned too late, as after the clock was set back."""
    now = timezone.now()
    planned = Schedule.objects.filter(func=TICK, cluster=cluster(server.name))
    planned.filter(next_run__gt=now + _TWO_TICKS).update(next_run=now)


def cluster(server: str) -> str:
    """Return the name of the cluster that listens for a server; the settings make it, too."""
    return f"srv:{server}"[:100]  # the width of django-q2's column
