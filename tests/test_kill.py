"""kill -9 is a normal event: what it leaves is whole, and the next call completes it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import EntryKind
from tests.commandline import CommandLine, comparable, forking
from tests.processes import DEADLINE_S


@pytest.fixture
def backupng(tmp_path: Path) -> Iterator[CommandLine]:
    with forking(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def made_twice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """Return the command line of two servers that were made with the same arguments."""
    with forking(tmp_path_factory.mktemp("twins") / "data") as made:
        for name in ("mail1", "mail2"):
            made.json("sandbox", "createServer", name, "accounts", 3, "items", 60)
        yield made


@pytest.fixture
def twins(made_twice: CommandLine, tmp_path: Path) -> Iterator[CommandLine]:
    """Return a copy of them for one test."""
    with forking(tmp_path / "data") as copy:
        shutil.copytree(made_twice.data, copy.data)
        yield copy


def start_scan(backupng: CommandLine, server: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        backupng.arguments("--sync", "--host", server, "doSmartScan"),
        env=backupng.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.proofs)])
def test_a_scan_killed_at_random_moments_is_completed_by_the_next(
    twins: CommandLine, kills: int
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated
    moments = random.Random(seed)  # noqa: S311  # moments, not secrets
    whole = time.monotonic()
    assert start_scan(twins, "mail2").wait(DEADLINE_S) == 0
    whole = time.monotonic() - whole

    for _ in range(kills):
        scan = start_scan(twins, "mail1")
        try:
            scan.wait(moments.uniform(0.2, 1.0) * whole)
        except subprocess.TimeoutExpired:
            os.kill(scan.pid, signal.SIGKILL)
            scan.wait(DEADLINE_S)
    done = twins.json("--sync", "--host", "mail1", "doSmartScan")

    assert done["counters"]["read_errors"] == 0
    paths = twins.data / "backup"
    assert states(paths / "mail1") == states(paths / "mail2")
    again = twins.json("--sync", "--host", "mail1", "doSmartScan", "deep", "true")
    assert again["counters"]["items_new"] == again["counters"]["items_updated"] == 0


def states(root: Path) -> dict[tuple[str, int], tuple[object, ...]]:
    """Return what the Backup Path says of every item, its blob read and verified."""
    with BackupPath.open(root) as path:
        names = {
            account: path.entry_history(EntryKind.ACCOUNT, account)[-1].entry.name
            for account in path.accounts()
        }
        found: dict[tuple[str, int], tuple[object, ...]] = {}
        for account, name in names.items():
            for item in path.items(account):
                history = path.history(account, item)
                content = [sum(map(len, path.blob(s.digest))) for s in history if s.digest]
                found[name, int(item)] = (len(history), history[-1].mod, *content)
        return found


def test_a_killed_creation_of_a_server_leaves_nothing_that_counts(backupng: CommandLine) -> None:
    creation = subprocess.Popen(
        backupng.arguments("sandbox", "createServer", "mail1", "accounts", 3, "items", 400),
        env=backupng.environment,
        stdout=subprocess.DEVNULL,
    )
    making = backupng.data / "servers" / ".mail1.making" / "mail.sqlite3"
    while not making.exists():
        assert creation.poll() is None
        time.sleep(0.01)
    creation.kill()
    creation.wait(DEADLINE_S)

    made = backupng.json("sandbox", "createServer", "mail1", "accounts", 1, "items", 12)

    assert made["accounts"] == ["a1@example.com"]
    assert not making.parent.exists()


def test_the_same_arguments_make_equal_servers(made_twice: CommandLine) -> None:
    listings = [
        made_twice.json("sandbox", "list", name, "a2@example.com") for name in ("mail1", "mail2")
    ]

    first, second = ({**each, "account": each["account"]["name"]} for each in listings)

    assert first == second
    assert {item["type"] for item in first["items"]} >= {
        *("folder", "message", "contact", "appointment", "task", "document"),
    }


def test_a_seeded_mailbox_comes_back_equal(twins: CommandLine) -> None:
    twins.json("--sync", "--host", "mail1", "doSmartScan")

    words = ("doRestoreOnNewAccount", "a1@example.com", "copy@example.com", "last")
    done = twins.json("--sync", "--host", "mail1", *words)

    counters = done["counters"]
    assert counters["planned"] == counters["restored"]
    before = twins.json("sandbox", "list", "mail1", "a1@example.com")
    after = twins.json("sandbox", "list", "mail1", "copy@example.com")
    assert comparable(after) == comparable(before)
