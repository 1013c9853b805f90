"""P15. Time: any second of a played history comes back as it was, and so does whatever was deleted.

A Real-Time Scanner follows while users act. The model is what the mail server listed behind each
act.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.mailserver.sandbox.listing import listing
from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.model import from_ms
from backupng.engine.operations.do_undelete import DoUndelete
from backupng.engine.operations.restore_on_new_account import RestoreOnNewAccount
from backupng.engine.operations.words import AccountName, AccountNameOrId, Moment
from tests.cast import Office
from tests.commandline import comparable
from tests.engine.scan.scanners import Scanner
from tests.proofs.busy import START_MS, new_sandbox
from tests.proofs.told import new_seed, tell

ADDRESS = "a0@example.com"
STEP_MS = 700
SEEN = ("type", "name", "subject", "unread", "color", "size", "digest")
"""What an item that comes back keeps, besides its folder, tags and the mark \\Deleted."""
CONTENT = ("type", "name", "subject", "size", "digest")
Listing = dict[str, Any]


@dataclass
class History:
    """What a mailbox held behind each act: its moment in ms, and the listing."""

    mail: Office
    acts: list[tuple[int, Listing]] = field(default_factory=list)
    folders: dict[int, str] = field(default_factory=dict)
    """Where what went had lain."""

    def at(self, second: int) -> Listing:
        """Return the mailbox as it was at the end of a second."""
        return [listed for ms, listed in self.acts if ms // 1000 <= second][-1]

    def fewest(self, items: Mapping[int, tuple[str, ...]]) -> int:
        """Return how many there are at least of deleted items: how many equal ones lived at once.

        One that users got back from the dumpster and deleted again comes as one with its first.
        """
        kinds: dict[tuple[str, ...], set[int]] = defaultdict(set)
        for item, as_seen in items.items():
            kinds[tuple(as_seen[SEEN.index(name)] for name in CONTENT)].add(item)
        living = [{item["id"] for item in listed["items"]} for _, listed in self.acts]
        return sum(max(len(alike & each) for each in living) for alike in kinds.values())

    def deleted(self, start: int, end: int) -> dict[int, tuple[str, ...]]:
        """Return what went in a closed period of seconds, by id, as it was just before."""
        gone: dict[int, tuple[str, ...]] = {}
        for (_, before), (ms, after) in zip(self.acts, self.acts[1:], strict=False):
            if start <= ms // 1000 <= end:
                left = {item["id"] for item in after["items"]}
                lost = [each for each in before["items"] if each["id"] not in left]
                gone |= {each["id"]: seen(each) for each in lost if each["type"] != "mountpoint"}
                self.folders |= {each["id"]: each["folder"] for each in lost}
        return gone


def seen(item: Listing) -> tuple[str, ...]:
    return (*(repr(item[name]) for name in SEEN), item["flags"].replace("x", ""))


@contextmanager
def played(folder: Path, *, seed: int, acts: int) -> Iterator[History]:
    """Play on one mailbox, followed by a scanner."""
    print(f"seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated
    with new_sandbox(folder / "server", seed=seed, accounts=1) as sandbox:
        (folder / "backup").mkdir()
        mail = Office(folder, sandbox, now=from_ms(START_MS))
        mail.scan()
        scanner = Scanner(mail.source, folder / "backup", clock=lambda: mail.now)
        play, history = Play(sandbox, seed=seed), History(mail)
        account = sandbox.account(ADDRESS)
        history.acts.append((START_MS + 3000, listing(sandbox, account)))
        with mail.opened, scanner.running() as running:
            for number in range(acts):
                now_ms = START_MS + 5000 + number * STEP_MS
                mail.now = from_ms(now_ms)
                play.step(now_ms=now_ms)
                running.turn(0)
                history.acts.append((now_ms, listing(sandbox, account)))
            scanner_is_done(running)
            mail.later(minutes=1)
            yield history


def scanner_is_done(running: Any) -> None:
    while running.turn(0):
        pass


def moment(second: int) -> Moment:
    return Moment(at=from_ms(second * 1000))


def restore_moments(folder: Path, *, acts: int, moments: int) -> None:
    """Restore to random seconds, each into an account of its own."""
    seed = new_seed()
    dice = random.Random(seed)  # noqa: S311 - moments, not secrets
    with played(folder, seed=seed, acts=acts) as history:
        first, last = history.acts[0][0] // 1000, history.acts[-1][0] // 1000
        for number in range(moments):
            second = dice.randint(first, last)
            name = f"copy{number}@example.com"
            report = history.mail.run(
                RestoreOnNewAccount(
                    source_account=AccountNameOrId(ADDRESS),
                    destination_account=AccountName(name),
                    date=moment(second),
                )
            )
            assert not report.losses, (seed, second, report)
            found = comparable(history.mail.client.list(name))
            assert found == comparable(history.at(second)), (seed, second)
    tell("P15", moments, "moments of a played history restored", seed=seed)


def undelete_periods(folder: Path, *, acts: int, periods: int) -> None:
    """Bring back what was deleted in random periods, and take it away again."""
    seed = new_seed()
    dice = random.Random(seed)  # noqa: S311 - periods, not secrets
    with played(folder, seed=seed, acts=acts) as history:
        first, last = history.acts[0][0] // 1000, history.acts[-1][0] // 1000
        client, returned = history.mail.client, 0
        drawn = [sorted(dice.randint(first, last) for _ in range(2)) for _ in range(periods - 1)]
        for start, end in [[first, last], *drawn]:
            wanted = history.deleted(start, end)
            report = history.mail.run(
                DoUndelete(
                    account=AccountName(ADDRESS), start_date=moment(start), end_date=moment(end)
                )
            )
            told, where = report.counters, (seed, start, end)
            kinds = {item: wanted[item][0] for item, _ in report.unrestored.get(ADDRESS, ())}
            # Only what is said about a document that did not come back is left out.
            assert set(kinds.values()) <= {"'comment'"}, (where, report.unrestored)
            planned = told["planned"] - told["tags"]
            assert history.fewest(wanted) <= planned <= len(wanted), where
            items = client.list(ADDRESS)["items"]
            found = Counter(seen(item) for item in items if is_below(item))
            assert not found - Counter(wanted.values()) - frame(items), where
            assert told["restored"] + told["skipped"] + len(kinds) == told["planned"], where
            assert not [item for item in items if is_astray(item, history, wanted)], where
            returned += told["restored"]
            for item in items:
                if item["name"] and item["folder"] == "/" and item["name"].startswith("undelete_"):
                    client.delete(ADDRESS, item["id"])
    assert returned
    tell("P15", periods, "periods undeleted", seed=seed)


def is_astray(item: Listing, history: History, wanted: Mapping[int, tuple[str, ...]]) -> bool:
    """Say whether an item came back into another folder than one like it was deleted from.

    What was deleted from the Trash came from elsewhere.
    """
    if not is_below(item) or item["type"] == "folder":
        return False
    lain = {history.folders[each] for each, as_seen in wanted.items() if as_seen == seen(item)}
    path = "/" + "/".join(item["folder"].split("/")[2:])
    return path not in lain and not any(each.startswith("/Trash") for each in lain)


def is_below(item: Listing) -> bool:
    return str(item["folder"]).startswith("/undelete_")


def frame(items: list[Listing]) -> Counter[tuple[str, ...]]:
    """Return the folders that are there for what lies in them."""
    return Counter(seen(item) for item in items if is_below(item) and item["type"] == "folder")


def test_moments_of_a_played_history_come_back(in_memory: Path) -> None:
    restore_moments(in_memory, acts=60, moments=2)


def test_what_was_deleted_in_a_period_comes_back(in_memory: Path) -> None:
    undelete_periods(in_memory, acts=100, periods=3)


@pytest.mark.proofs
@pytest.mark.parametrize("_number", range(5))
def test_many_moments_come_back(in_memory: Path, _number: int) -> None:
    restore_moments(in_memory, acts=250, moments=40)


@pytest.mark.proofs
@pytest.mark.parametrize("_number", range(4))
def test_what_was_deleted_in_many_periods_comes_back(in_memory: Path, _number: int) -> None:
    undelete_periods(in_memory, acts=300, periods=25)
