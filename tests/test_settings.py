"""What the settings make in an empty data folder, and that they are fit for production."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from backupng.settings import read_or_make_key

ROOT = Path(__file__).resolve().parent.parent
PRINT_KEY = "from backupng import settings; print(settings.SECRET_KEY)"


def start(data: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start Python in the production profile, with `data` as its data folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BACKUPNG_")}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=kept | {"BACKUPNG_DATA": str(data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def race_for_key(path: Path) -> set[str]:
    """Return the keys that eight callers get who all find none at first."""
    together = threading.Barrier(8)

    def ask(_caller: int) -> str:
        together.wait()
        return read_or_make_key(path)

    with ThreadPoolExecutor(8) as callers:
        return set(callers.map(ask, range(8)))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_callers_that_come_together_end_with_the_same_key(tmp_path: Path) -> None:
    races = [race_for_key(tmp_path / f"{number}.key") for number in range(20)]
    assert [len(keys) for keys in races] == [1] * 20


def test_every_process_reads_the_key_of_the_first(tmp_path: Path) -> None:
    keys = [start(tmp_path, "-c", PRINT_KEY).communicate()[0].strip() for _ in range(2)]
    assert keys == [(tmp_path / "secret.key").read_text().strip()] * 2


def test_only_the_owner_reads_the_key_and_no_draft_of_it_is_left(tmp_path: Path) -> None:
    start(tmp_path, "-c", PRINT_KEY).communicate()
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]
    assert mode(tmp_path / "secret.key") == 0o600


def test_the_data_folder_is_made_closed_to_others(tmp_path: Path) -> None:
    start(tmp_path / "new" / "data", "-c", PRINT_KEY).communicate()
    assert mode(tmp_path / "new" / "data") & 0o027 == 0


def test_the_production_profile_has_no_security_warning(tmp_path: Path) -> None:
    process = start(tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING")
    output = process.communicate()
    assert process.returncode == 0, output
