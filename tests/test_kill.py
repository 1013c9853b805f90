"""kill -9 is a normal event: what it leaves is whole, and the next call completes it."""

from __future__ import annotations

import os
import random
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

KILLS = 4


@pytest.fixture
def backupng(tmp_path: Path) -> Iterator[CommandLine]:
    with forking(tmp_path) as made:
        yield made


def test_a_scan_killed_at_random_moments_is_completed_by_the_next(backupng: CommandLine) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated
    moments = random.Random(seed)  # noqa: S311  # moments, not secrets
    made = backupng.json("sandbox", "createServer", "mail1", "accounts", 3, "items", 80)
    whole = time.monotonic()
    other = backupng.json("sandbox", "createServer", "mail2", "accounts", 3, "items", 80)
    backupng.json("--sync", "--host", "mail2", "doSmartScan")
    whole = time.monotonic() - whole

    for _ in range(KILLS):
        scan = subprocess.Popen(
            backupng.arguments("--sync", "--host", "mail1", "doSmartScan"),
            env=backupng.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            scan.wait(moments.uniform(0.2, 1.0) * whole)
        except subprocess.TimeoutExpired:
            os.kill(scan.pid, signal.SIGKILL)
            scan.wait(DEADLINE_S)
    done = backupng.json("--sync", "--host", "mail1", "doSmartScan")

    assert done["counters"]["read_errors"] == 0
    assert states(Path(made["backup_path"])) == states(Path(other["backup_path"]))
    again = backupng.json("--sync", "--host", "mail1", "doSmartScan", "deep", "true")
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


def test_the_same_arguments_make_equal_servers(backupng: CommandLine) -> None:
    for name in ("one", "two"):
        backupng.json("sandbox", "createServer", name, "accounts", 2, "items", 40, "seed", 7)
    listings = [backupng.json("sandbox", "list", name, "a2@example.com") for name in ("one", "two")]

    first, second = ({**each, "account": each["account"]["name"]} for each in listings)

    assert first == second
    assert {item["type"] for item in first["items"]} >= {
        *("folder", "message", "contact", "appointment", "task", "document"),
    }


def test_a_seeded_mailbox_comes_back_equal(backupng: CommandLine) -> None:
    backupng.json("sandbox", "createServer", "mail1", "accounts", 2, "items", 60)
    backupng.json("--sync", "doSmartScan")

    done = backupng.json(
        "--sync", "doRestoreOnNewAccount", "a1@example.com", "copy@example.com", "last"
    )

    counters = done["counters"]
    assert counters["planned"] == counters["restored"]
    before = backupng.json("sandbox", "list", "mail1", "a1@example.com")
    after = backupng.json("sandbox", "list", "mail1", "copy@example.com")
    assert comparable(after) == comparable(before)
