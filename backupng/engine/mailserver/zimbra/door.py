"""The way to a real server from outside of this room.

The clients of database and directory are an extra, `backupng[zimbra]`, and slow to load: a console
with sandboxes alone needs neither, so they are loaded when a real server is first spoken of.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backupng.engine.errors import MailServerError

if TYPE_CHECKING:
    from backupng.engine.mailserver.zimbra.checks import Check
    from backupng.engine.mailserver.zimbra.server import ZimbraServer

_CLIENTS = ("ldap3", "pymysql")


def open_server(connection: Mapping[str, Any]) -> ZimbraServer:
    """Open a real server as `ZimbraServer.open` does. Raises MailServerError."""
    opened: ZimbraServer = _module("server").ZimbraServer.open(connection)
    return opened


def check_server(connection: Mapping[str, Any]) -> list[Check]:
    """Try all that a backup needs of a server, as `checks.check`. Raises MailServerError."""
    found: list[Check] = _module("checks").check(connection)
    return found


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"backupng.engine.mailserver.zimbra.{name}")
    except ModuleNotFoundError as error:
        if error.name not in _CLIENTS:
            raise
        raise MailServerError(
            f"The library {error.name}, which reads a real mail server, is not installed.",
            hint="pip install 'backupng[zimbra]'",
        ) from error
