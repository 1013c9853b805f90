"""Builds borg in `.bench/borg` and tells the peers' versions: a program of the standard library."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

_VERSION = "1.4.5"
_BORG = Path(__file__).resolve().parent.parent.parent / ".bench" / "borg"


def main() -> None:
    """Build borg from its source, unless it is there, and print the versions."""
    borg = _BORG / "bin" / "borg"
    if not borg.exists() or _VERSION not in _said(borg, "--version"):
        shutil.rmtree(_BORG, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", _BORG], check=True)
        source = ("--no-binary", "borgbackup", f"borgbackup=={_VERSION}")
        subprocess.run([_BORG / "bin" / "pip", "-q", "install", *source], check=True)
    restic = shutil.which("restic") or "/usr/bin/restic"
    print(f"{_said(borg, '--version')}; {_said(restic, 'version')}")  # noqa: T201


def _said(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
