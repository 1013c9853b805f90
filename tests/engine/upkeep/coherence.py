"""What the tests of the Coherency Check share: a tree of each kind of file, a check, a repair."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import AccountId, Digest, from_ms
from backupng.engine.upkeep.coherency import CoherencyCheck
from backupng.engine.upkeep.coherency_findings import Findings, Flaw
from backupng.engine.upkeep.coherency_repair import MOVED, Repair
from tests.engine.backuppath.conftest import MEMORY
from tests.engine.backuppath.samples import NOON, SCAN, SERVER, fill, new_path

Told = list[tuple[str, str]]


@contextmanager
def in_memory() -> Iterator[Path]:
    """Make an empty folder in memory where there is one: syncs cost nothing there."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def filled(root: Path) -> tuple[BackupPath, Digest, Digest]:
    """Make a tree with one file of each kind, scanned after all its states."""
    path = new_path(root)
    first, second = fill(path)
    with path.writer(SCAN) as writer:
        late = 2_000_000_000_000
        writer.set_checkpoint({"smartscan": {"id": late, "started": late, "ended": late}})
    return path, first, second


def check(
    path: BackupPath,
    accounts: Collection[AccountId] | None = None,
    *,
    looks_twice: bool = False,
) -> Findings:
    """Check a tree now, by the clock of its disk."""
    newest = max(file.lstat().st_ctime_ns for file in path.tree.root.rglob("*"))
    return CoherencyCheck(
        path=path,
        started=from_ms(newest // 1_000_000) + timedelta(seconds=1),
        tick=lambda _done, _total, _name: None,
        accounts=accounts,
        looks_twice=looks_twice,
    ).run()


def told(findings: Findings) -> Told:
    """Return class and file of each finding, sorted."""
    return sorted((str(each.flaw), str(each.path)) for each in findings.found)


def repair(
    path: BackupPath,
    findings: Findings,
    *,
    flaws: frozenset[Flaw] = MOVED,
    started: datetime = NOON,
) -> list[tuple[str, str]]:
    """Move what was found; return from where to where."""
    made = Repair(path, findings, started, name="check", pause=lambda: None, flaws=flaws)
    with path.repairing():
        made.run()
    return [(str(source), str(target)) for source, target in made.moved]


def checkpoint() -> str:
    return str(layout.checkpoint_file(SERVER))


def spoil(file: Path, line: int = 0) -> bytes:
    """Change one byte of a line, counted from 0; return what the file was."""
    good = file.read_bytes()
    lines = good.splitlines(keepends=True)
    lines[line] = lines[line].replace(b"t", b"u", 1)
    file.write_bytes(b"".join(lines))
    return good


def uncertain(path: BackupPath) -> set[str]:
    """Return who has to be compared as a whole."""
    return set(path.scanner().get("uncertain", {}))
