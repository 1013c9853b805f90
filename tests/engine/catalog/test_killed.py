"""kill -9 of a writer before, inside and after its report: no answer is wrong afterwards."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.telling import Batch
from backupng.engine.catalog import keeping
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.model import ItemId
from tests.engine.backuppath.samples import ACCOUNT, message, new_path, write


def in_child(work: Callable[[], None]) -> None:
    """Do something in a process of its own, which is to kill itself."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(_catalog: Catalog, _batches: Sequence[Batch]) -> None:
    die()


def inside(catalog: Catalog, batches: Sequence[Batch]) -> None:
    # In the middle of its transaction, in a process that ends there.
    keeping.set_stamp = die  # type: ignore[assignment]
    catalog.take(batches)


def after(catalog: Catalog, batches: Sequence[Batch]) -> None:
    catalog.take(batches)
    die()


@pytest.mark.parametrize("report", [before, inside, after])
def test_a_writer_killed_around_its_report_leaves_no_wrong_answer(
    path: BackupPath, file: Path, report: Callable[[Catalog, Sequence[Batch]], None]
) -> None:
    with Catalog(path, file) as catalog:
        path.listener = catalog.take
        write(path, message(257, 11))

    def work() -> None:
        with new_path(path.tree.root) as other, Catalog(other, file) as told:
            other.listener = lambda batches: report(told, batches)
            write(other, message(257, 12), message(258, 13))

    in_child(work)
    path.listener = None
    with Catalog(path, file) as catalog:
        path.listener = catalog.take
        write(path, message(258, 14))

        assert [line.mod for line in catalog.history(ACCOUNT, ItemId(257))] == [11, 12]
        assert [line.mod for line in catalog.history(ACCOUNT, ItemId(258))] == [13, 14]
