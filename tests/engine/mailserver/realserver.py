"""A real server's parts around what a sandbox holds: MariaDB, slapd and a localconfig.xml."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.server import ZimbraServer
from backupng.engine.model import DirectoryEntry, EntryKind
from tests import mariadb as mariadb_server
from tests import slapd as slapd_server
from tests.mariadb import MariaDB
from tests.slapd import Slapd

KINDS = (EntryKind.DOMAIN, EntryKind.COS, EntryKind.SERVER, EntryKind.ACCOUNT, EntryKind.LIST)


def entries(sandbox: Sandbox) -> list[DirectoryEntry]:
    """Return the whole directory of a sandbox, domains first."""
    return [entry for kind in KINDS for entry in sandbox.directory.entries(kind)]


def write_localconfig(folder: Path, **values: str) -> Path:
    """Write `conf/localconfig.xml` below `folder` and return its path."""
    path = folder / "conf" / "localconfig.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = (
        f'<key name="{name}"><value>{escape(value)}</value></key>' for name, value in values.items()
    )
    path.write_text(f"<localconfig>{''.join(keys)}</localconfig>", encoding="utf-8")
    return path


def keys_of(sandbox: Sandbox, mariadb: MariaDB, slapd: Slapd) -> dict[str, str]:
    """Return what the localconfig.xml of a server with these parts says."""
    return {
        "ldap_url": slapd.url,
        "mysql_port": str(mariadb.port),
        "zimbra_home": str(sandbox.folder),
        "zimbra_ldap_password": slapd_server.PASSWORD,
        "zimbra_mysql_password": mariadb_server.PASSWORD,
        "zimbra_mysql_user": mariadb_server.USER,
        "zimbra_relative_volume_path": "true",
        "zimbra_server_hostname": sandbox.server().name,
    }


@contextmanager
def real_server(
    sandbox: Sandbox, mariadb: MariaDB, slapd: Slapd, **connection: Any
) -> Iterator[ZimbraServer]:
    """Copy a sandbox into both and open the server that they make with its volumes."""
    mariadb.load(sandbox.database)
    slapd.load(entries(sandbox))
    slapd.loaded = sandbox
    path = write_localconfig(sandbox.folder, **keys_of(sandbox, mariadb, slapd))
    with ZimbraServer.open({"localconfig": str(path), **connection}) as server:
        yield server
