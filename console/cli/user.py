"""Who may run the command: the owner of the data folder, whom root becomes."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from backupng.engine.errors import BadRequest

_ROOT = 0
_TOP = Path(__file__).resolve().parent.parent.parent


def data_folder() -> Path:
    """Return the data folder as `backupng.settings` finds it, and without making it.

    The settings make it and the key in it, which must not happen as the wrong user.
    """
    default = _TOP / "data" if (_TOP / "manage.py").exists() else Path("/var/lib/backupng")
    return Path(os.environ.get("BACKUPNG_DATA") or default).expanduser().absolute()


def become_owner() -> None:
    """As root, start anew as the owner of the data folder; refuse any other user than the owner.

    A folder that is not there yet belongs to whoever comes first. Raises BadRequest (not_allowed).
    """
    try:
        found = data_folder().stat()
    except FileNotFoundError:
        return
    caller = os.geteuid()
    if caller == found.st_uid:
        return
    if caller != _ROOT:
        raise BadRequest(
            f"The user {_name(caller)} may not run this command.",
            code="not_allowed",
            hint=f"Run it as {_name(found.st_uid)}, the owner of {data_folder()}.",
        )
    _start_as(found.st_uid, found.st_gid)


def current() -> str:
    """Return the name of the user that this process runs as."""
    return _name(os.geteuid())


def _start_as(uid: int, folder_gid: int) -> None:
    environment = dict(os.environ)
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        os.setgroups([])
        os.setgid(folder_gid)
    else:
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        environment |= {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    os.setuid(uid)
    try:
        # The very words that started this process, `-m` and options of Python included.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - no shell meant
    except OSError as error:
        raise BadRequest(
            f"The program cannot be started as {_name(uid)}: {error.strerror}.",
            code="not_allowed",
            hint=f"{sys.executable} must be readable for the owner of {data_folder()}.",
        ) from error


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
