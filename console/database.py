"""The console's database at the start of a command: made and migrated if need be, or refused."""

from __future__ import annotations

import fcntl
import os
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from backupng.engine.errors import OperationError
from console import hosting

_ERROR = "database_not_ready"


def prepare() -> None:
    """Make sure that the database is the one this version works on.

    An SQLite database is made and migrated by itself. Raises OperationError for a newer one, and
    for a shared one that is not migrated yet.
    """
    with _alone():
        known, applied = _known(), set(MigrationRecorder(connection).applied_migrations())
        if unknown := _spell(applied - known):
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


def _known() -> set[tuple[str, str]]:
    """Return app and name of all migrations of this version.

    Their names are enough: to load them would take half of the time that a command takes.
    """
    found = set()
    for app in apps.get_app_configs():
        package = find_spec(f"{app.name}.migrations")
        places = package.submodule_search_locations if package else None
        found |= {(app.label, each.name) for each in pkgutil.iter_modules(places or [])}
    return found


def _spell(migrations: set[tuple[str, str]]) -> str:
    """Name migrations; those of apps that are not installed concern others."""
    installed = {app.label for app in apps.get_app_configs()}
    return ", ".join(f"{app}.{name}" for app, name in sorted(migrations) if app in installed)


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
