"""The console's database at the start of a command: made and migrated if need be, or refused."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from backupng.engine.errors import OperationError
from console import hosting

_ERROR = "database_not_ready"


def prepare() -> None:
    """Make sure that the database is the one this version works on.

    An SQLite database is made and migrated by itself. Raises OperationError for a newer one, and
    for a shared one that is not migrated yet.
    """
    with _alone():
        loader = MigrationLoader(connection)
        known, applied = set(loader.disk_migrations), set(loader.applied_migrations)
        if unknown := _spell(applied - known, apps=loader.migrated_apps):
            raise OperationError(
                f"The console's database was written by a newer version: {unknown}.",
                code=_ERROR,
                hint="Install that version here too.",
            )
        missing = known - applied
        # What a migration is followed by, such as the groups of the roles, is no part of it.
        mark = hosting.state_folder() / "database.migrating"
        cut_off = connection.vendor == "sqlite" and mark.exists()
        if not missing and not cut_off:
            return
        if connection.vendor != "sqlite":
            raise OperationError(
                f"The console's database lacks {len(missing)} migrations.",
                code=_ERROR,
                hint="Migrate it once, on one host: manage.py migrate.",
            )
        mark.touch()
        call_command("migrate", verbosity=0, interactive=False)
        mark.unlink()


def _spell(migrations: set[tuple[str, str]], *, apps: set[str]) -> str:
    """Name migrations; those of apps that are not installed concern others."""
    return ", ".join(f"{app}.{name}" for app, name in sorted(migrations) if app in apps)


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process of this host prepare at a time: two first calls at once are safe."""
    path = hosting.state_folder() / "database.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
