"""class HostCommand: a command of `manage.py` for the owner of the data folder."""

from __future__ import annotations

import os
import pwd
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from backupng.engine.errors import BackupError
from console import database


class HostCommand(BaseCommand):
    """Refuses in one sentence whatever the engine refuses."""

    requires_system_checks = ()

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command as the owner only: no file may end up as somebody else's."""
        owner = settings.DATA_DIR.stat().st_uid
        if owner != os.geteuid():
            raise CommandError(
                f"The data folder {settings.DATA_DIR} belongs to {_name(owner)}:"
                " run it as that user."
            )
        os.umask(0o027)
        try:
            return super().execute(*args, **options)
        except BackupError as error:
            raise refusal(error) from error

    def prepare(self) -> None:
        """Make or migrate the database, if that is for this process to do."""
        database.prepare()


def refusal(error: BackupError) -> CommandError:
    """Spell an error of the engine for whoever typed the command."""
    return CommandError(f"{error} {error.hint}".strip())


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
