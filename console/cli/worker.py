"""`backupng worker`, `scanner` and `run`: the doors to the processes of `manage.py`."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from backupng.engine.errors import OperationError
from console import database
from console.cli.grammar import Usage
from console.models import Server

_OF_ONE_SERVER = ("worker", "scanner")


def become(process: str, host: str) -> NoReturn:
    """Become what serves the server that `--host` names, or what runs everything of this host.

    Raises Usage where `host` does not fit.
    """
    words, chosen = [process], {}
    if process in _OF_ONE_SERVER:
        name = host or os.environ.get("BACKUPNG_SERVER", "") or _only_server(process)
        if name:
            words, chosen = [process, name], {"BACKUPNG_SERVER": name}
    elif host:
        raise Usage(f"{process} serves all servers of this host: --host is not for it.")
    here = {"BACKUPNG_DATA": str(settings.DATA_DIR)}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backupng.settings")
    os.chdir(settings.BASE_DIR)
    command = [sys.executable, "-m", "django", *words]
    os.execve(sys.executable, command, os.environ | here | chosen)  # noqa: S606 - no shell meant


def _only_server(process: str) -> str:
    """Return its name; empty if there is none, or no database, for which the process waits."""
    try:
        database.prepare()
        names = sorted(Server.objects.values_list("name", flat=True))
    except (OperationError, DatabaseError, InterfaceError):
        return ""
    if len(names) > 1:
        raise Usage(
            f"There are several servers, and a {process} serves one.",
            hint=f"Name one with --host: {', '.join(names)}. `backupng run` serves all.",
        )
    return "".join(names)
