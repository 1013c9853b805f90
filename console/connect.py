"""The one door to the engine: Server row -> the line of an operation, or a Context right here."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.typed import folder_to_keep
from backupng.engine.errors import (
    BackupError,
    BadRequest,
    MailServerUnreachable,
    NotABackupPath,
)
from backupng.engine.mailserver.zimbra import door
from backupng.engine.model import EntryKind
from backupng.engine.operations import named_path
from backupng.engine.operations.context import ServerContext
from console import hosting, properties
from console.models import SERVER_NAME, QueuedOperation, Server, Setting

if TYPE_CHECKING:
    from backupng.engine.mailserver.sandbox.client import SandboxClient
    from backupng.engine.mailserver.zimbra.checks import Check

SANDBOX = "sandbox"
ZIMBRA = "zimbra"
_MARK = ".unfinished"
_SANDBOX = "backupng.engine.mailserver.sandbox"
"""Loaded when one is made or changed: all others start a fifth faster without."""
_RESERVED_NAMES = frozenset({"all_servers", "localhost"})
"""Words that `--host` and answers have for other things."""

# The engine


def line(row: QueuedOperation) -> dict[str, Any]:
    """Return all that the process of a queued operation is given."""
    operation = {"id": str(row.pk), "command": row.command, "parameters": row.parameters}
    return _server_line(row.server) | {"operation": operation, "parent": os.getpid()}


def scanner_line(server: Server) -> dict[str, Any]:
    """Return all that the process of a server's Real-Time Scanner is given."""
    return _server_line(server) | {"parent": os.getpid()}


def context(server: Server) -> ServerContext:
    """Return a Context for a check or a lookup in this process; use it in a `with`.

    Raises MailServerUnreachable for a server whose operations run on another host.
    """
    _refuse_foreign(server)
    return ServerContext(_server_line(server), clock=timezone.now)


def _refuse_foreign(server: Server) -> None:
    if server.identity not in ("", hosting.identity()):
        raise MailServerUnreachable(
            f"The server {server.name} belongs to another host.", hint="Run the command there."
        )


def _server_line(server: Server) -> dict[str, Any]:
    found = values(server)
    return {
        "server": {
            "name": server.name,
            "kind": server.kind,
            "connection": _connection(server),
            "backup_path": str(server.path),
            "tree_id": server.tree_id,
            "host": hosting.identity(),
            "catalog": str(settings.DATA_DIR / "catalog"),
        },
        "settings": {
            "zone": server.zone,
            **{key: found[name].value for key, name in properties.OF_THE_ENGINE.items()},
            "allowed_paths": list(map(str, found[properties.ALLOWED_PATHS].value)),
            "closed_paths": list(map(str, _closed_paths(server))),
        },
    }


def _closed_paths(server: Server) -> Iterator[Path]:
    """Yield the folders of the program and of the mail store, in which no backup may lie."""
    yield from (settings.BASE_DIR / name for name in ("backupng", "console", ".venv"))
    yield from (settings.DATA_DIR / name for name in ("catalog", "servers", "state"))
    if server.kind == ZIMBRA:
        home = Path(server.connection["localconfig"]).parent.parent
        yield from (home / name for name in ("conf", "data", "db", "index", "redolog", "store"))


def remember_tree(server: Server) -> None:
    """Note which tree the server's Backup Path is: once there, it is not begun anew unasked."""
    try:
        with BackupPath.open(server.path) as path:
            # Another path may have been set while the operation ran: this is not its tree.
            mine = Server.objects.filter(pk=server.pk, backup_path=server.backup_path)
            mine.update(tree_id=path.form.tree_id)
    except BackupError:
        # No tree yet, or none that can be read now: what is known stays.
        return


# Properties


def values(server: Server) -> dict[str, properties.Value]:
    """Return the values of all properties that can be set, by name."""
    everywhere: dict[str, str] = {}
    own: dict[str, str] = {}
    known = Setting.objects.filter(Q(server=None) | Q(server=server))
    for name, value, owner in known.values_list("name", "value", "server"):
        (own if owner else everywhere)[name] = value
    return properties.resolve(own | {properties.DEST_PATH: str(server.path)}, everywhere)


def measured(server: Server) -> dict[str, Any]:
    """Return the values of the properties that can only be read; None for what has no answer."""
    path = server.path
    free = shutil.disk_usage(path).free if path.is_dir() else None
    return {
        properties.INITIALIZED: _is_initialized(server),
        properties.FREE_FOR_METADATA: free,
        properties.FREE_FOR_BLOBS: free,
    }


def set_property(server: Server, name: str, text: str) -> None:
    """Set a property of one server, at once. Raises BadRequest for a value that cannot be."""
    chosen = properties.find(name)
    value = chosen.parse(text)
    if chosen.name == properties.DEST_PATH:
        check_backup_path(server, value)
        _confirm_host(value)
        Server.objects.filter(pk=server.pk).update(backup_path=_stored(value), tree_id="")
        return
    with transaction.atomic():
        now = {each: found.value for each, found in values(server).items()}
        properties.check_together(now | {chosen.name: value})
        Setting.objects.update_or_create(
            server=server, name=chosen.name, defaults={"value": chosen.spell(value)}
        )


def _is_initialized(server: Server) -> bool:
    try:
        with context(server) as ctx:
            return bool(ctx.path.checkpoint())
    except BackupError:
        return False


# Backup Paths


def check_backup_path(server: Server, path: Path) -> None:
    """Refuse a folder that cannot be this server's Backup Path. Raises BadRequest (path_…)."""
    with context(server) as ctx, folder_to_keep(path, named_path.bounds(ctx)):
        _check_neighbours(server, path)
    if not any(not each.name.startswith(".") for each in path.iterdir()):
        return
    try:
        with BackupPath.open(path) as tree, context(server) as ctx:
            foreign = tree.form.server_id != ctx.source.server_id
            owner = tree.form.server_name
    except NotABackupPath as error:
        raise _refused(path, "path_not_empty", "is neither empty nor a Backup Path") from error
    if foreign:
        raise _refused(path, "path_in_use", f"is the Backup Path of the server {owner}")


def _confirm_host(path: Path) -> None:
    """Who sets a Backup Path here says that no other host writes there any more."""
    with suppress(NotABackupPath), BackupPath.open(path) as tree:
        tree.confirm_host()


def _check_neighbours(server: Server, path: Path) -> None:
    """Refuse a folder inside or around another Backup Path, its own present one included."""
    mine = path.resolve()
    for other in Server.objects.all():
        theirs = other.path.resolve()
        if other == server and mine == theirs:
            continue
        if mine.is_relative_to(theirs) or theirs.is_relative_to(mine):
            raise _refused(
                path, "path_in_use", f"and the Backup Path of {other.name} lie in each other"
            )


def _refused(path: Path, code: str, reason: str) -> BadRequest:
    return BadRequest(
        f"The folder {path} {reason}.",
        code=code,
        hint="Give each server an existing folder of its own, empty at first.",
        path=str(path),
    )


# Real servers


def examine(server: Server) -> list[Check]:
    """Try all that a backup of a real server needs; a sandbox needs to open. Raises BackupError."""
    _refuse_foreign(server)
    if server.kind == ZIMBRA:
        return door.check_server(_connection(server))
    _loaded("server").Sandbox.open(_folder(server)).close()
    return []


def add_zimbra(name: str, *, localconfig: Path, backup_path: Path) -> list[Check]:
    """Add the row of a real server, unless something necessary is missing; say what was found.

    `localconfig` is its installation's own. Raises BadRequest: already_exists, or path_… for a
    Backup Path that cannot be.
    """
    connection = {"localconfig": str(localconfig)}
    with _new_name(name):
        same = Server.objects.filter(kind=ZIMBRA, connection=connection).first()
        if same is not None:
            raise _taken(f"The mail server of {localconfig} is there already: {same.name}.")
        found = door.check_server(connection)
        if all(each.ok or not each.necessary for each in found):
            with transaction.atomic():
                check_backup_path(_add_row(name, ZIMBRA, connection, backup_path), backup_path)
    return found


# Sandbox servers


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRequest:
    """What a sandbox is to be like."""

    name: str
    domain: str
    accounts: int
    items: int
    seed: int


@contextmanager
def sandbox(name: str) -> Iterator[SandboxClient]:
    """Open a sandbox by its server's name. Raises BadRequest for an unknown or a real server."""
    server = Server.objects.filter(name=name, kind=SANDBOX).first()
    if server is None:
        known = ", ".join(Server.objects.filter(kind=SANDBOX).values_list("name", flat=True))
        raise BadRequest(
            f"There is no sandbox server {name}.",
            hint=f"There are: {known}." if known else "Make one: backupng sandbox createServer.",
        )
    with _loaded("server").Sandbox.open(_folder(server)) as opened:
        yield _loaded("client").SandboxClient(opened, timezone.now)


def create_sandbox(request: SandboxRequest) -> Server:
    """Make a sandbox with seeded content and its server row, together or not at all.

    Raises BadRequest (already_exists) for a name in use.
    """

    def make(folder: Path) -> None:
        with _loaded("server").Sandbox.create(
            folder, name=request.name, domain=request.domain, seed=request.seed
        ) as made:
            fill = _loaded("content.fill").fill
            fill(made, seed=request.seed, accounts=request.accounts, items=request.items)

    return _add_sandbox(request.name, make)


def load_sandbox(name: str, directory: Path) -> Server:
    """Make a sandbox from what a real server wrote, and its server row, together or not at all."""

    def make(folder: Path) -> None:
        _loaded("load").load(folder, name=name, directory=directory).close()

    return _add_sandbox(name, make)


def _loaded(module: str) -> Any:
    """Return a module of the sandbox."""
    return import_module(f"{_SANDBOX}.{module}")


def outline(server: Server) -> dict[str, Any]:
    """Return the domains and addresses of a server, in the order of the directory."""
    with context(server) as ctx:
        domains = [domain.name for domain in ctx.source.entries(EntryKind.DOMAIN)]
        accounts = [account.name for account in ctx.source.entries(EntryKind.ACCOUNT)]
    return {"domain": ",".join(domains), "accounts": accounts}


@contextmanager
def _new_name(name: str) -> Iterator[None]:
    """Keep a name for a server that is being added. Raises BadRequest if it is none or in use."""
    if not re.fullmatch(SERVER_NAME, name) or name.lower() in _RESERVED_NAMES:
        raise BadRequest(
            f"{name!r} is no server name.", hint="Letters, digits, dots, dashes and underscores."
        )
    with hosting.locked(f"{name}.making") as lock:
        if lock is None or Server.objects.filter(name__iexact=name).exists():
            raise _taken(f"There is a server {name} already.", hint="Choose another name.")
        yield


def _taken(message: str, *, hint: str = "") -> BadRequest:
    return BadRequest(message, code="already_exists", hint=hint)


def _add_sandbox(name: str, make: Callable[[Path], None]) -> Server:
    folder: Path = settings.DATA_DIR / "servers" / name
    with _new_name(name):
        _remove_unfinished(folder)
        making = folder.with_name(f".{name}.making")
        shutil.rmtree(making, ignore_errors=True)
        try:
            make(making)
            return _adopt(name, making, folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)


def _connection(server: Server) -> dict[str, Any]:
    """Return how the engine reaches the server; a folder as an absolute path."""
    found: dict[str, Any] = dict(server.connection)
    return found | ({"folder": str(_folder(server))} if "folder" in found else {})


def _folder(server: Server) -> Path:
    """Return the folder of a sandbox."""
    return Path(settings.DATA_DIR, server.connection["folder"])


def _stored(path: Path) -> str:
    """Spell a path for a row: inside the data folder relative to it, so that it can be moved."""
    inside = path.is_relative_to(settings.DATA_DIR)
    return str(path.relative_to(settings.DATA_DIR) if inside else path)


def _adopt(name: str, made: Path, folder: Path) -> Server:
    """Move a finished server to its place and write its row.

    The mark in it says that no row may know it yet: a kill in between leaves nothing that counts.
    """
    (made / _MARK).touch()
    backup_path: Path = settings.DATA_DIR / "backup" / name
    backup_path.mkdir(parents=True, exist_ok=True, mode=0o750)
    with transaction.atomic():
        server = _add_row(name, SANDBOX, {"folder": _stored(folder)}, backup_path)
        made.rename(folder)
    (folder / _MARK).unlink()
    return server


def _add_row(name: str, kind: str, connection: dict[str, Any], backup_path: Path) -> Server:
    """Bind a new server to this host."""
    return Server.objects.create(
        name=name,
        kind=kind,
        connection=connection,
        backup_path=_stored(backup_path),
        zone=hosting.zone(),
        identity=hosting.identity(),
    )


def _remove_unfinished(folder: Path) -> None:
    if (folder / _MARK).exists():
        shutil.rmtree(folder)
    elif folder.exists():
        raise BadRequest(
            f"The folder {folder} belongs to a server that is not in this database.",
            code="already_exists",
            hint="Choose another name, or move that folder away.",
        )
