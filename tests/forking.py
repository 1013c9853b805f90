"""As a program: imports the `backupng` command once and runs each call in a fork of its own.

`python -m tests.forking FOLDER` reads calls, one of JSON a line: the words and the working folder.
For each it prints the exit status; output and errors are `FOLDER/out` and `FOLDER/err`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import django

from console import cli


def main(folder: Path) -> None:
    django.setup()
    # It knows the models.
    import_module("console.cli.program")
    for line in sys.stdin:
        words, cwd = json.loads(line)
        child = os.fork()
        if not child:
            _run(words, cwd, folder)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _run(words: Sequence[str], cwd: str, folder: Path) -> None:
    """Be the command: it neither returns nor raises."""
    status = 70
    try:
        os.chdir(cwd)
        _open(0, Path(os.devnull))
        _open(1, folder / "out")
        _open(2, folder / "err")
        sys.argv = ["backupng", *words]
        status = cli.main()
    except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _open(number: int, path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, number)
    os.close(descriptor)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
