"""The `backupng` command; `main` is its entry."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import cast

import django
from django.core.exceptions import ImproperlyConfigured

from backupng.engine.errors import BackupError, OperationError
from console.cli import grammar, output, redolog, user

_NOT_READY = "database_not_ready"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    os.umask(0o027)
    if redolog.is_meant(words):
        # Before the settings are read: they make the data folder, which this module does without.
        return redolog.run(words)
    try:
        user.become_owner()
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backupng.settings")
        django.setup()
    except BackupError as error:
        return _refuse(words, error)
    except OSError as error:
        return _refuse(words, _unusable(error))
    except ImproperlyConfigured as error:
        return _refuse(words, OperationError(f"{error}", code=_NOT_READY))
    # Whatever knows the models can only be imported now.
    program = import_module("console.cli.program")
    return cast("int", program.run(words))


def _refuse(words: Sequence[str], error: BackupError) -> int:
    answer = output.refusal("localhost", error)
    if grammar.wants_json(words):
        sys.stdout.write(f"{output.envelope([answer])}\n")
    else:
        sys.stderr.write(output.error_text(error))
    return answer.exit_status


def _unusable(error: OSError) -> BackupError:
    return OperationError(
        f"The data folder {user.data_folder()} cannot be used: {error.strerror or error}.",
        code=_NOT_READY,
        hint="BACKUPNG_DATA names the data folder.",
    )
