"""A console with one of everything, a user of each role, and the address of each of its pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import URLPattern, reverse

from console import browse, hosting
from console.models import Draft, Level, Notification, QueuedOperation, Server, State
from console.roles import ROLES
from console.urls import urlpatterns
from tests.console import rows

ANONYMOUS = "anonymous"
_INBOX = 2


@dataclass(frozen=True)
class Site:
    """What the addresses of the console's pages speak of."""

    server: Server
    account: str
    cos: str
    operation: QueuedOperation
    notification: Notification
    users: dict[str, User]

    def client(self, role: str) -> Client:
        """Return a browser, logged in as the role."""
        client = Client(raise_request_exception=False)
        if role != ANONYMOUS:
            client.force_login(self.users[role])
        return client

    def address(self, name: str, role: str) -> str:
        """Return the address of a page; where it is one user's own, that of the role."""
        return reverse(name, kwargs=self._arguments(name, role))

    def _arguments(self, name: str, role: str) -> dict[str, Any]:
        if name in (
            "server",
            "server-live",
            "smartscan",
            "coherency",
            "purge",
            "purge-preview",
            "purge-preview-live",
            "stop-all",
            "pause-queue",
            "scanner",
        ):
            return {"name": self.server.name}
        if name in ("account", "restore", "history", "history-reading"):
            return {"account_id": self.account}
        if name.startswith("wizard-") and name != "wizard-begin":
            return {"draft_id": self._draft(role).pk, "step": "mode"}
        if name == "operation" or (name.startswith("operation-") and name != "operation-queue"):
            return {"operation_id": self.operation.pk}
        found: dict[str, dict[str, Any]] = {
            "item": {"account_id": self.account, "item_id": _INBOX},
            "wizard-begin": {"name": self.server.name, "kind": "deleted"},
            "cos-switch": {"server": self.server.name, "cos_id": self.cos},
            "notification": {"notification_id": self.notification.pk},
        }
        return found.get(name, {})

    def _draft(self, role: str) -> Draft:
        owner = self.users.get(role, self.users["Administrator"])
        return Draft.objects.create(
            owner=owner, wizard="restore", server=self.server, account_id=self.account
        )


def site(server: Server) -> Site:
    """Fill the console around a server that was scanned."""
    users = {}
    for role in ROLES:
        users[role] = User.objects.create_user(role.lower(), f"{role.lower()}@example.com")
        users[role].groups.add(Group.objects.get(name=role))
    operation = QueuedOperation.objects.create(
        server=server, seq=0, command="doRestoreOnNewAccount", parameters=rows.PARAMETERS
    )
    operation = rows.ended(operation, State.SUCCESSFUL, report=rows.RESTORED)
    operation.started_at = rows.STARTED
    operation.save()
    log = hosting.log_file(operation.pk)
    log.parent.mkdir(exist_ok=True)
    log.write_text("one line\n", encoding="utf-8")
    notification = Notification.objects.create(
        level=Level.ERROR,
        group="operations",
        server=server,
        server_name=server.name,
        operation=operation,
        event="ended",
        subject="Something was lost",
        text="Unrestored Items: 10",
    )
    return Site(
        server=server,
        account=browse.accounts(server).lines[0].account_id,
        cos=browse.classes_of_service(server)[0].cos_id,
        operation=operation,
        notification=notification,
        users=users,
    )


def names() -> Iterator[str]:
    """Yield the name of every address of the console."""
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        yield str(pattern.name)
