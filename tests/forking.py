"""As a program: imports the `backupng` command once and runs each call in a fork of its own.

`python -m tests.forking FOLDER` reads calls, one of JSON a line: the words, the working folder and
the data folder. For each it prints the exit status; output and errors are `FOLDER/out` and
`FOLDER/err`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import django
from django.conf import settings
from django.db import connections
from django.utils.functional import empty

from console import cli

_SANDBOX = "backupng.engine.mailserver.sandbox"
_MODULES = (
    *("console.cli.program", f"{_SANDBOX}.client", f"{_SANDBOX}.content.fill"),
    f"{_SANDBOX}.load",
)
"""What commands use, also what they load only when they do: a fork would load it anew."""


def main(folder: Path) -> None:
    # Django is going to put its own zone into it.
    environment = dict(os.environ)
    django.setup()
    # They know the models.
    for module in _MODULES:
        import_module(module)
    for line in sys.stdin:
        words, cwd, data = json.loads(line)
        child = os.fork()
        if not child:
            _run(words, cwd, environment | {"BACKUPNG_DATA": data}, folder)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _run(words: Sequence[str], cwd: str, environment: Mapping[str, str], folder: Path) -> None:
    """Be the command: it neither returns nor raises."""
    status = 70
    try:
        os.chdir(cwd)
        _open(0, Path(os.devnull))
        _open(1, folder / "out")
        _open(2, folder / "err")
        os.environ.clear()
        os.environ.update(environment)
        _read_settings_anew()
        sys.argv = ["backupng", *words]
        status = cli.main()
    except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _read_settings_anew() -> None:
    """Go by the environment of the call."""
    for connection in connections.all(initialized_only=True):
        # None is open yet: what they know is where to.
        assert connection.connection is None
        del connections[connection.alias]
    del sys.modules["backupng.settings"]
    settings._wrapped = empty
    # What was read already is kept in these.
    vars(connections).pop("settings", None)
    connections._settings = None  # type: ignore[attr-defined]
    # It reads the settings when it is imported, which is too early for the top.
    import_module("django_q.conf").Conf.SECRET_KEY = settings.SECRET_KEY


def _open(number: int, path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, number)
    os.close(descriptor)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
