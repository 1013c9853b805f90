"""Asking for an operation: what speaks against it is found before anything is queued."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import User

from backupng.engine.operations.base import Operation
from console import connect, queue
from console.models import Origin, QueuedOperation, Server
from console.queue import Requester


def start(
    server: Server,
    operation: Operation,
    *,
    requester: Requester | None = None,
    dedupe: str | None = None,
    resumes: QueuedOperation | None = None,
) -> QueuedOperation:
    """Queue an operation whose check found nothing against it. Raises BackupError with the reason.

    Without a requester it is the system user; a `dedupe` key that is known adds nothing.
    """
    with connect.context(server) as ctx:
        operation.check(ctx)
        name = operation.source_name(ctx)
    return queue.submit(
        server,
        operation,
        source_name=name,
        requester=requester,
        dedupe=dedupe,
        resumes=resumes,
    )


def once(user: User, about: str, form: str) -> str | None:
    """Return the `dedupe` key of a form with a one-use id; None if what was sent is no such id."""
    try:
        return f"{about} {user.pk} {UUID(form)}"
    except ValueError:
        return None


def user_of_console(user: User) -> Requester:
    """Return a user of the console as who asks."""
    return Requester(origin=Origin.CONSOLE, user=user, name=user.get_username(), address=user.email)
