"""A throw-away MariaDB with Zimbra's databases in it, copied from a sandbox.

Columns as in `create_database.sql` of Zimbra/zm-db-conf, without foreign keys: the tests write rows
that no server would.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pymysql

from backupng.engine.mailserver.sandbox.database import SqliteDatabase
from backupng.engine.mailserver.zimbra.mariadb import Login
from tests.processes import own_port, until
from tests.services import require

USER, PASSWORD = "backupng", "paßwort of ♞"
_PREFIX = "backupng-mariadb-"
_SURELY_LOCKED_S = 60.0
_OPTIONS = {
    "bind-address": "127.0.0.1",
    "innodb-autoextend-increment": "1",
    "innodb-buffer-pool-size": "16M",
    "innodb-data-file-path": "ibdata1:4M:autoextend",
    "innodb-log-file-size": "4M",
    "innodb-temp-data-file-path": "ibtmp1:4M:autoextend",
    "key-buffer-size": "1M",
    "lock-wait-timeout": "10",
    "max-connections": "20",
    "performance-schema": "OFF",
    "skip-log-bin": "",
    "skip-name-resolve": "",
    # Nothing of it is to outlive the tests.
    "innodb-doublewrite": "0",
    "innodb-fast-shutdown": "2",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-flush-method": "nosync",
}
_TEXTS = {
    "account_id": "VARCHAR(127)",
    "blob_digest": "VARCHAR(44) BINARY",
    "comment": "VARCHAR(255)",
    "data_source_id": "CHAR(36)",
    "email": "VARCHAR(255)",
    "end_time": "DATETIME",
    "hash": "CHAR(28) BINARY",
    "locator": "VARCHAR(1024)",
    "metadata": "MEDIUMTEXT",
    "modified": "TIMESTAMP NULL",
    "name": "VARCHAR(255)",
    "recipients": "VARCHAR(128)",
    "remote_id": "VARCHAR(255) BINARY",
    "section": "VARCHAR(64)",
    "sender": "VARCHAR(128)",
    "start_time": "DATETIME",
    "uid": "VARCHAR(255)",
    "uuid": "VARCHAR(127)",
    "version": "VARCHAR(16)",
}
_NUMBERS = {
    "color": "BIGINT",
    "compress_blobs": "BOOLEAN",
    "compression_threshold": "BIGINT",
    "flags": "INT",
    "listed": "BOOLEAN",
    "size": "BIGINT UNSIGNED",
    "size_checkpoint": "BIGINT UNSIGNED",
    "tag_id": "INT",
    "tags": "BIGINT",
    "tracking_imap": "BOOLEAN",
    "type": "TINYINT",
}
_OF_TABLE = {("tag", "id"): "INT", ("pending_acl_push", "date"): "BIGINT UNSIGNED"}
"""Types of columns by their names; what is not here is TEXT or INT UNSIGNED."""


class MariaDB:
    """One server with a login that may only read, on a loopback port and a socket."""

    def __init__(self) -> None:
        install = require("mariadb-install-db", "mariadb-server")
        self._program = require("mariadbd", "mariadb-server")
        _remove_left_over()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = self.folder / "socket"
        (self.folder / "tmp").mkdir()
        self.port = own_port()
        options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        assert self._popen(install, *options).wait(120) == 0, self._said()

    @property
    def login(self) -> Login:
        """How the product logs in."""
        return Login(user=USER, password=PASSWORD, host="127.0.0.1", port=self.port)

    def start(self) -> None:
        """Start it, wait until it answers, and make the login."""
        self._process = self._popen(self._program, f"--socket={self.socket}", f"--port={self.port}")
        until(self._answers)
        for host in ("127.0.0.1", "localhost"):
            self.ask("CREATE USER %s@%s IDENTIFIED BY %s", USER, host, PASSWORD)
            for schema in ("zimbra", "mboxgroup%"):
                self.ask(f"GRANT SELECT ON `{schema}`.* TO %s@%s".replace("p%", "p%%"), USER, host)

    def remove(self) -> None:
        """Stop it, whoever is connected, and delete all that it was."""
        if self._process:
            self._process.kill()
            self._process.wait(100)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self._said()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as greeted:
            return bool(greeted.recv(1))
        return False

    def ask(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement with all rights, over a connection of its own."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def put(self, table: str, **row: Any) -> None:
        """Write a row, whatever it holds."""
        marks = ", ".join(["%s"] * len(row))
        self.ask(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())  # noqa: S608

    def delete(self, table: str, column: str, lowest: int) -> None:
        """Delete the rows that have so much or more in a column."""
        self.ask(f"DELETE FROM {table} WHERE {column} >= %s", lowest)  # noqa: S608

    def connect(self) -> Any:
        """Return a connection with all rights."""
        return pymysql.connect(
            unix_socket=str(self.socket), user="root", charset="utf8mb4", autocommit=True
        )

    def load(self, database: SqliteDatabase) -> None:
        """Make Zimbra's databases anew, with all rows of a sandbox but its directory's."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW DATABASES")
            for (name,) in cursor.fetchall():
                if name == "zimbra" or name.startswith("mboxgroup"):
                    cursor.execute(f"DROP DATABASE `{name}`")
            for table in _tables(database):
                _copy(database, table, cursor)

    def _said(self) -> str:
        """Return what its programs have printed."""
        return (self.folder / "output").read_text(errors="replace")

    def _popen(self, *words: str) -> subprocess.Popen[bytes]:
        # Tests that are killed take it along.
        tie = [require("setpriv", "util-linux"), "--pdeathsig", "KILL"]
        options = [
            f"--{name}={value}" if value else f"--{name}" for name, value in _OPTIONS.items()
        ]
        if os.geteuid() == 0:
            options.append("--user=root")
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                [
                    *(*tie, words[0], "--no-defaults", f"--datadir={self.folder / 'data'}"),
                    # One that starts deletes the temporary tables of all others in a folder.
                    f"--tmpdir={self.folder / 'tmp'}",
                    *(*options, *words[1:]),
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # In a session of its own: Ctrl+C at the tests is not for it.
                start_new_session=True,
            )


def _tables(database: SqliteDatabase) -> list[str]:
    found = database.rows(
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        " AND (name LIKE 'zimbra\\_\\_%' ESCAPE '\\' OR name LIKE 'mboxgroup%') ORDER BY name"
    )
    return [row["name"] for row in found]


def _copy(database: SqliteDatabase, table: str, cursor: Any) -> None:
    schema, _, name = table.partition("__")
    columns = list(database.rows(f'PRAGMA table_info("{table}")'))
    keys = [each["name"] for each in sorted(columns, key=lambda each: each["pk"]) if each["pk"]]
    lines = [_column(name, each) for each in columns]
    if keys:
        lines.append(f"PRIMARY KEY ({', '.join(keys)})")
    cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8")
    cursor.execute(f"CREATE TABLE `{schema}`.`{name}` ({', '.join(lines)}) ENGINE=InnoDB")
    rows = [tuple(row.values()) for row in database.rows(f'SELECT * FROM "{table}"')]  # noqa: S608
    marks = ", ".join(["%s"] * len(columns))
    if rows:
        cursor.executemany(f"INSERT INTO `{schema}`.`{name}` VALUES ({marks})", rows)  # noqa: S608


def _column(table: str, column: dict[str, Any]) -> str:
    name = column["name"]
    spelled = _OF_TABLE.get((table, name))
    if not spelled and column["type"] == "INTEGER":
        spelled = _NUMBERS.get(name, "INT UNSIGNED")
    must = " NOT NULL" if column["notnull"] or column["pk"] else ""
    return f"`{name}` {spelled or _TEXTS.get(name, 'TEXT')}{must}"


def _remove_left_over() -> None:
    """Delete the folders of tests that were killed: nobody holds their locks any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.stat(lock).st_mtime > _SURELY_LOCKED_S:
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
