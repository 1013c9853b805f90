"""A throw-away PostgreSQL: a cluster of its own, on a socket in a temporary folder."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psycopg

from tests.services import require

_USER = "backupng"
_PREFIX = "backupng-postgresql-"
_SURELY_LOCKED_S = 60.0
_OPTIONS = {
    "listen_addresses": "",
    # Nothing of it is to outlive the tests.
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "16MB",
}


class PostgreSQL:
    """One cluster; PostgreSQL refuses to run as root, so root's tests run it as another user."""

    def __init__(self) -> None:
        initdb = require("initdb", "postgresql")
        self._program = Path(initdb).resolve().with_name("postgres")
        _remove_left_over()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._owner = _owner()
        if self._owner:
            os.chown(self.folder, self._owner.pw_uid, self._owner.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self._run(initdb, "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = [word for name, value in _OPTIONS.items() for word in ("-c", f"{name}={value}")]
        words += ["-c", f"unix_socket_directories={self.folder}"]
        self._process = self._popen(str(self._program), *words)
        for _ in range(600):
            try:
                psycopg.connect(self._dsn("postgres")).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, "PostgreSQL has ended"
                time.sleep(0.05)
            else:
                return
        raise AssertionError("PostgreSQL does not answer")

    def stop(self) -> None:
        """Stop it, whoever is connected."""
        if self._process:
            self._process.send_signal(2)  # SIGINT: at once, and in good order
            self._process.wait(100)
            self._process = None

    def remove(self) -> None:
        """Stop it and delete all that it was."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def make_database(self, name: str) -> str:
        """Make an empty database and return its DATABASE_URL."""
        with closing(psycopg.connect(self._dsn("postgres"), autocommit=True)) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgres://{_USER}@/{name}?host={self.folder}"

    def _dsn(self, name: str) -> str:
        return f"host={self.folder} user={_USER} dbname={name}"

    def _run(self, *words: str) -> None:
        assert self._popen(*words).wait(120) == 0

    def _popen(self, *words: str) -> subprocess.Popen[bytes]:
        owner = self._owner
        # Tests that are killed take it along, at once and in good order. The engine's own tether
        # does not do: the owner may not be allowed to read the repository.
        tie = [require("setpriv", "util-linux"), "--pdeathsig", "INT"]
        return subprocess.Popen(
            [*tie, *words, "-D", str(self.folder / "data")],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
            # In a session of its own: Ctrl+C at the tests is not for it.
            start_new_session=True,
        )


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


def _owner() -> pwd.struct_passwd | None:
    """Return whom root runs it as; None where the tests do not run as root."""
    if os.geteuid():
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]
