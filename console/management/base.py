"""class HostCommand: a command of `manage.py` for the owner of the data folder."""

from __future__ import annotations

import os
import pwd
import sys
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError, connection

from backupng.engine.errors import BackupError, OperationError
from console import database

INTERRUPTED = 130
"""The exit status of a command that Ctrl-C has ended."""
_WAIT_FOR_DATABASE_S = 1.0


class HostCommand(BaseCommand):
    """Refuses in one sentence whatever the engine refuses."""

    requires_system_checks = ()

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command; whoever typed it reads nothing but sentences."""
        try:
            return self._execute(*args, **options)
        except CommandError as error:
            if not self._called_from_command_line or options["traceback"]:  # type: ignore[attr-defined]  # django-stubs lack it
                raise
            # Django would put the name of the class before it.
            self.stderr.write(str(error))
            sys.exit(error.returncode)

    def _execute(self, *args: Any, **options: Any) -> str | None:
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
        except KeyboardInterrupt as error:
            raise CommandError("Interrupted.", returncode=INTERRUPTED) from error

    def prepare(self) -> None:
        """Make or migrate the database, if that is for this process to do."""
        database.prepare()

    def wait_for_database(self, *, ending: Callable[[], bool], say: Callable[[str], None]) -> bool:
        """Wait until the database is there and migrated; False if the end was asked for first."""
        told = ""
        while not ending():
            try:
                self.prepare()
                return True
            except OperationError as error:
                why = str(refusal(error))
            except (DatabaseError, InterfaceError) as error:
                why = f"The database does not answer: {error}".strip()
            finally:
                connection.close()
            if why != told:
                say(f"{why} Waiting for it.")
                told = why
            time.sleep(_WAIT_FOR_DATABASE_S)
        return False


def refusal(error: BackupError) -> CommandError:
    """Spell an error of the engine for whoever typed the command."""
    return CommandError(f"{error} {error.hint}".strip())


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
