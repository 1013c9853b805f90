"""The roles of the console: groups of Django, made and kept by the migrations.

A user is in one of them; single permissions may be granted beside it.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType

from backupng.engine.errors import BadRequest
from console.models import PERMISSIONS, QueuedOperation, Server

ADMINISTRATOR = "Administrator"
OPERATOR = "Operator"
VIEWER = "Viewer"
ROLES: dict[str, frozenset[str]] = {
    ADMINISTRATOR: frozenset(PERMISSIONS),
    OPERATOR: frozenset(
        {"view_status", "run_scan", "check", "browse_accounts", "restore", "stop_operation"}
    ),
    VIEWER: frozenset({"view_status"}),
}
"""The permissions of each role, by codename."""

PERMISSION_TO_ASK = {
    "doAccountScan": "run_scan",
    "doCoherencyCheck": "check",
    "doFixOrphans": "run_purge",
    "doPurge": "run_purge",
    "doSmartScan": "run_scan",
    "rebuildCatalog": "run_scan",
    "doRestoreOnNewAccount": "restore",
    "doUndelete": "restore",
    "doItemRestore": "restore",
    "doExport": "export_backup",
    "doExternalRestore": "import_backup",
}
"""By command: what a user needs to ask for it in the console."""


def check_requester(row: QueuedOperation) -> None:
    """Refuse what its user may not ask for any more: it may have waited long. Raises BadRequest."""
    user = row.requester
    if user and not user.has_perm(f"console.{permission_to_ask(row)}"):
        raise BadRequest(
            f"{user} may not ask for this operation any more.",
            code="not_allowed",
            hint="Somebody who may can ask for it again.",
        )


def permission_to_ask(row: QueuedOperation) -> str:
    """Return what it takes to ask for such an operation; who scans may look what a purge would do.

    Raises KeyError for a command that this version does not know.
    """
    is_look = row.command == "doPurge" and row.parameters.get("dryrun") == "true"
    changes = {row.parameters.get("fixBackup"), row.parameters.get("fixDoubleGzip")}
    if row.command == "doCoherencyCheck" and changes & {"true", "fix"}:
        return "fix_backup"
    return "run_scan" if is_look else PERMISSION_TO_ASK[row.command]


def keep(**_: Any) -> None:
    """Give every role its group and the group its permissions; called after each migration."""
    kind = ContentType.objects.get_for_model(Server)
    Permission.objects.bulk_create(
        (
            Permission(content_type=kind, codename=codename, name=name)
            for codename, name in PERMISSIONS.items()
        ),
        update_conflicts=True,
        unique_fields=("content_type", "codename"),
        update_fields=("name",),
    )
    known = Permission.objects.filter(content_type=kind)
    for role, codenames in ROLES.items():
        group, _made = Group.objects.get_or_create(name=role)
        group.permissions.set(known.filter(codename__in=codenames))


def has_administrator() -> bool:
    """Say whether anybody can administer the console."""
    return User.objects.filter(is_active=True, groups__name=ADMINISTRATOR).exists()
