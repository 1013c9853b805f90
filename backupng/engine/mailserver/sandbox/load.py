"""`sandbox load`: a server made from what a real one wrote.

The directory holds `db-rows/<schema>.<table>.jsonl` (one JSON object a row), `volumes/<name>/` for
the volume whose path ends in that name, and `redolog/`. The directory entries, which no mailbox
database has, are made from the mailbox table: its `comment` is the account's address.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

from backupng.engine.errors import BadRequest, InvalidItem, MailServerError
from backupng.engine.mailserver.sandbox.database import SqliteDatabase
from backupng.engine.mailserver.sandbox.reading import DATABASE_FILE
from backupng.engine.mailserver.sandbox.server import (
    DEFAULT_COS,
    Sandbox,
    draw_id,
    new_folder,
)
from backupng.engine.mailserver.zimbra.volumes import VolumeType, volume_of_row
from backupng.engine.model import EntryKind
from backupng.engine.redolog.faults import RedoLogError
from backupng.engine.redolog.reader import RedoLog

_ROWS_FILE: Final = re.compile(r"(zimbra|mboxgroup([1-9][0-9]{0,4}))\.([a-z_0-9]+)\.jsonl")
_NEEDED: Final = ("zimbra.mailbox", "zimbra.volume", "zimbra.current_volumes")
_READ: Final = ("db-rows", "volumes", "redolog")
_CHANGES_PER_CHECKPOINT: Final = 100
_IDS_PER_CHECKPOINT: Final = 20
_MOST: Final = 2**31
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+")
_NO_STORES: Final = ("", "..", "lock", "redolog")
"""Names in a server's folder that no volume can have."""


def load(folder: Path, *, name: str, directory: Path) -> Sandbox:
    """Make the server `name` in `folder`, which does not exist yet, from `directory`.

    Raises BadRequest, and leaves nothing behind, when `directory` does not hold such data.
    """
    files = _row_files(directory)
    with new_folder(folder):
        with (
            Sandbox(folder, SqliteDatabase(folder / DATABASE_FILE, create=True)) as sandbox,
            sandbox.database.transaction(),
        ):
            for file in files:
                _load_rows(sandbox.database, file)
            stores = _settle_volumes(sandbox, directory)
            _settle_mailboxes(sandbox, directory)
            _make_directory(sandbox, directory, name)
        _copy_files(directory, folder, stores)
    return Sandbox.open(folder)


def _row_files(directory: Path) -> list[Path]:
    """Return the files of rows, after a look at everything that will be read."""
    try:
        for part in _READ:
            _refuse_links(directory, part)
        files = sorted((directory / "db-rows").glob("*.jsonl"))
    except OSError as error:
        raise _refusal(directory, f"it cannot be read: {error}") from error
    found = [file for file in files if _ROWS_FILE.fullmatch(file.name)]
    missing = sorted({*_NEEDED} - {file.stem for file in found})
    if missing:
        raise _refusal(directory, f"it holds no db-rows/{missing[0]}.jsonl")
    return found


def _refuse_links(directory: Path, part: str) -> None:
    """Refuse links, pipes and the like: nothing outside the directory may be read through them."""
    for root, folders, files in os.walk(directory / part):
        for name in ("", *folders, *files):
            path = Path(root, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise _refusal(directory, f"{path} is neither a file nor a folder")


def _load_rows(database: SqliteDatabase, file: Path) -> None:
    match = _ROWS_FILE.fullmatch(file.name)
    schema, group, table_name = match.groups() if match else ("", None, "")
    if group is not None:
        database.ensure_group(int(group))
    table = database.table(schema, table_name)
    columns = database.columns(table)
    for number, row in _read_rows(file):
        unknown = sorted(set(row) - columns)
        if unknown:
            what = f"the column {unknown[0]}" if columns else "the table"
            raise _bad_row(file, number, f"{what} of {schema}.{table_name} is not known here")
        try:
            database.insert(table, row)
        except InvalidItem as error:
            raise _bad_row(file, number, str(error).rstrip(".")) from error


def _read_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                row = json.loads(line)
                if not isinstance(row, dict) or not row:
                    raise ValueError("no object with values")
                yield number, row
    except (OSError, ValueError, RecursionError) as error:
        raise _bad_row(file, number, f"it cannot be read: {error}") from error


def _settle_volumes(sandbox: Sandbox, directory: Path) -> list[str]:
    """Let every volume lie in the server's folder; return the names of those with blobs."""
    table = sandbox.database.table("zimbra", "volume")
    stores = {}
    for row in list(sandbox.database.rows(f"SELECT * FROM {table}")):
        name = PurePosixPath(row["path"]).name
        try:
            sandbox.database.update(table, {"path": name}, id=row["id"])
            volume = volume_of_row(row | {"path": name})
        except (InvalidItem, MailServerError) as error:
            raise _refusal(directory, f"its volume {row['name']} makes no sense") from error
        if name in _NO_STORES or name.startswith(DATABASE_FILE):
            raise _refusal(directory, f"its volume {row['name']} has the path {row['path']}")
        if volume.volume_type is not VolumeType.INDEX:
            stores[volume.volume_id] = name
    for name in stores.values():
        if not (directory / "volumes" / name).is_dir():
            raise _refusal(directory, f"it has no folder volumes/{name}")
    current = list(sandbox.database.rows(f"SELECT * FROM {_current(sandbox)}"))
    if len(current) != 1 or current[0]["message_volume_id"] not in stores:
        raise _refusal(directory, "its current_volumes names no volume for messages")
    return list(stores.values())


def _settle_mailboxes(sandbox: Sandbox, directory: Path) -> None:
    """Do what a server does when it opens these mailboxes: it rounds their checkpoints up."""
    database, table = sandbox.database, sandbox.database.table("zimbra", "mailbox")
    free = _number(
        directory, next(database.rows(f"SELECT * FROM {_current(sandbox)}")), "next_mailbox_id"
    )
    for row in list(database.rows(f"SELECT * FROM {table}")):
        database.ensure_group(_number(directory, row, "group_id"))
        changes, ids = (
            _number(directory, row, name) for name in ("change_checkpoint", "item_id_checkpoint")
        )
        values = {
            "change_checkpoint": _rounded_up(changes, _CHANGES_PER_CHECKPOINT),
            "item_id_checkpoint": _rounded_up(ids, _IDS_PER_CHECKPOINT),
        }
        database.update(table, values, id=row["id"])
        free = max(free, row["id"] + 1)
    database.run(f"UPDATE {_current(sandbox)} SET next_mailbox_id = ?", free)


def _make_directory(sandbox: Sandbox, directory: Path, name: str) -> None:
    table = sandbox.database.table("zimbra", "mailbox")
    accounts = {}
    for row in sandbox.database.rows(f"SELECT * FROM {table}"):
        address = str(row["comment"] or "").lower()
        if not _ADDRESS.fullmatch(address) or address in accounts:
            raise _refusal(
                directory, f"mailbox {row['id']} has no address of its own in its column comment"
            )
        accounts[address] = row["account_id"]
    ids = random.Random(f"{name}/load")  # noqa: S311  # ids, not secrets
    server_id = _logged_id(directory) or draw_id(ids)
    sandbox.add_entry(EntryKind.SERVER, name, server_id, zimbraServiceHostname=name)
    sandbox.add_entry(EntryKind.COS, DEFAULT_COS, draw_id(ids))
    for domain in sorted({address.partition("@")[2] for address in accounts}):
        sandbox.add_domain(domain, draw_id(ids))
    for address, account_id in accounts.items():
        try:
            sandbox.add_account(address, account_id)
        except InvalidItem as error:
            raise _refusal(directory, str(error).rstrip(".")) from error


def _logged_id(directory: Path) -> str:
    """Return the id by which the redo log knows the server; "" if it says nothing of the kind."""
    with suppress(RedoLogError), RedoLog(directory / "redolog" / "redo.log") as log:
        return log.header.server_id if _ID.fullmatch(log.header.server_id) else ""
    return ""


def _copy_files(directory: Path, folder: Path, stores: list[str]) -> None:
    try:
        for name in stores:
            _copy_tree(directory / "volumes" / name, folder / name)
        (folder / "redolog").mkdir(mode=0o750)
        _copy_tree(directory / "redolog", folder / "redolog")
    except OSError as error:
        raise MailServerError(f"{directory} cannot be copied: {error}.") from error


def _copy_tree(source: Path, target: Path) -> None:
    """Copy files without their modes: what is read-only there is written to here."""
    for root, _, files in os.walk(source):
        here = target / Path(root).relative_to(source)
        here.mkdir(mode=0o750, exist_ok=True)
        for name in files:
            shutil.copyfile(Path(root, name), here / name, follow_symlinks=False)


def _current(sandbox: Sandbox) -> str:
    return sandbox.database.table("zimbra", "current_volumes")


def _number(directory: Path, row: Mapping[str, Any], column: str) -> int:
    value = row[column]
    if not isinstance(value, int) or not 0 <= value < _MOST:
        raise _refusal(directory, f"its column {column} holds {value!r}")
    return value


def _rounded_up(checkpoint: int, step: int) -> int:
    """Return the number a server goes on from: the next one that is one less than a multiple."""
    return checkpoint + (step - 1 - checkpoint) % step


def _bad_row(file: Path, number: int, why: str) -> BadRequest:
    return BadRequest(f"{file}, line {number}: {why}.", code="bad_value")


def _refusal(directory: Path, why: str) -> BadRequest:
    return BadRequest(
        f"{directory} holds no data of a mail server: {why}.",
        code="bad_value",
        hint="Expected: db-rows, volumes and redolog, as a mail server wrote them.",
    )
