"""Fixtures for all tests, and who runs which; the data folder is set by `tests/isolation.py`."""

from __future__ import annotations

import gc
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # it ships no types

from tests.cast import Office, office
from tests.mariadb import MariaDB
from tests.proofs.told import table
from tests.slapd import Slapd

ROOT = Path(__file__).resolve().parent.parent
_LONGEST = (
    *("tests/console/test_worker.py", "tests/test_demo.py", "tests/browser/test_first_wizard.py"),
    *("tests/console/test_cli.py", "tests/test_kill.py", "tests/console/test_cli_operations.py"),
    *("tests/test_bad_input.py", "tests/console/test_watchdog.py", "tests/test_first_light.py"),
    *("tests/console/test_scanner_process.py", "tests/console/test_access.py"),
)
"""They come first: no process is left with one of them when the others have nothing to do."""
_DATABASES = ("sqlite", "postgresql")
_MEMORY = Path("/dev/shm")  # noqa: S108  # mkdtemp makes the folder below it
_ENOUGH_BYTES = 4 << 30
_IN_MEMORY = tuple(
    ROOT / "tests" / room
    for room in (
        "console",
        *("engine/catalog", "engine/mailserver", "engine/operations", "engine/redolog"),
        *("engine/restore", "engine/scan", "engine/upkeep"),
    )
)
_TYPE_FOLDERS = re.compile(
    "test_(add_server|commands|endings|export_wizard|external_restore|import_.*|other_host"
    "|purge_page|rolled_back|shares)"
)
"""Tests to whose operations folders are typed: below /dev none is allowed."""
_START_SERVICES = re.compile(
    "test_(cli.*|run|sandboxmail|sandboxplay|scanner_process|supervisor|watchdog|worker)"
)
"""Tests of processes, which lie where services keep their data, on a disk."""
_GARBAGE_LEFT = 50_000
"""So many objects may come before there is a search for garbage."""


class ByFile(LoadFileScheduling):  # type: ignore[misc]  # it ships no types
    """Gives each test process whole files: what a file sets up for all its tests is made once.

    A file that goes through all of it on each database is one for each.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        parameters = test.rpartition("[")[2].rstrip("]").split("-")
        return " ".join([file, *(each for each in parameters if each in _DATABASES)])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:
    """Share the tests by file, unless another way was asked for."""
    if config.option.dist != "load":
        return None
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files come first."""
    order = {file: number for number, file in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare the search for garbage all that stays to the end: thousands of tests and modules.

    It is rare, too: hardly any test leaves cycles that hold much.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_LEFT, 20, 50)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what the proofs have tried, where they were asked for."""
    if "proofs" in config.option.markexpr and "not" not in config.option.markexpr:
        terminalreporter.section("proofs")
        for row in table(terminalreporter.stats.get("passed", ())):
            terminalreporter.line(row)


@pytest.fixture(scope="session")
def genuine() -> Path:
    """Return the folder with what a real Zimbra server wrote; it lies beside the repository."""
    folder = ROOT.parent / "shared" / "genuine"
    if not folder.is_dir():
        pytest.skip("../shared/genuine is missing: genuine data of a Zimbra server")
    return folder


def _may_be_in_memory(file: Path) -> bool:
    on_disk = (_TYPE_FOLDERS, _START_SERVICES)
    return any(file.is_relative_to(room) for room in _IN_MEMORY) and not any(
        names.fullmatch(file.stem) for names in on_disk
    )


def _has_memory() -> bool:
    return _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Return a folder of the test's own, in memory for those in `_IN_MEMORY`: syncs cost nothing.

    What a proof needs may be too much for that.
    """
    is_small = request.node.get_closest_marker("proofs") is None
    if not (is_small and _may_be_in_memory(request.path) and _has_memory()):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="backupng-tests-", dir=_MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[Office]:
    """Open the office of `tests/cast.py` in a folder of its own."""
    with office(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def slapd() -> Iterator[Slapd]:
    """Run a directory server; whoever uses it loads it first, and while it is used nobody else."""
    server = Slapd()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """Run a database server; whoever uses it loads it first, and while it is used nobody else."""
    server = MariaDB()
    try:
        server.start()
        yield server
    finally:
        server.remove()
