"""SmartScans beside a real Real-Time Scanner while the mailbox changes all the time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event

import pytest

from backupng.engine.backuppath.blobs import Packer
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.mailserver.sandbox.client import SandboxClient
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import ItemId
from backupng.engine.scan.realtime import RealTimeScanner
from backupng.engine.scan.smartscan import SmartScan
from tests.cast import ALICE, Office, message

CHANGES = 300
FLAGS = ("+flagged", "-flagged", "+unread", "-unread")


def now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def scanner_of(mail: Office, lines: list[str]) -> Iterator[RealTimeScanner]:
    with (
        Sandbox.open(mail.sandbox.folder) as sandbox,
        BackupPath.open(mail.backup_path) as path,
    ):
        scanner = RealTimeScanner(
            sandbox.source(),
            path,
            packer=Packer(),
            clock=now,
            log=lines.append,
            gap=lambda gap: lines.append(str(gap)),
        )
        try:
            yield scanner
        finally:
            scanner.close()


def follow(mail: Office, began: Event, ending: Event) -> list[str]:
    """Follow until the end was announced and everything before it is saved."""
    lines: list[str] = []
    with scanner_of(mail, lines) as scanner:
        began.set()
        while not ending.is_set():
            scanner.turn(0.05)
        while scanner.turn(0.05):
            pass
    return lines


def play(mail: Office, seed: int) -> None:
    """Change alice's mailbox at random, as fast as it goes."""
    dice = random.Random(seed)  # noqa: S311 - it makes a test, no secret
    ids: list[ItemId] = []
    with Sandbox.open(mail.sandbox.folder) as sandbox:
        client = SandboxClient(sandbox, now)
        for number in range(CHANGES):
            what = dice.random()
            if what < 0.5 or not ids:
                ids.append(client.deliver(ALICE, message(f"m{number}"), folder="/Inbox"))
            elif what < 0.8:
                client.flag(ALICE, dice.choice(ids), [dice.choice(FLAGS)])
            elif what < 0.9:
                client.move(ALICE, dice.choice(ids), dice.choice(["/Sent", "/Inbox"]))
            else:
                client.delete(ALICE, ids.pop(dice.randrange(len(ids))))


def smart_scan(mail: Office, *, deep: bool) -> None:
    with mail.path as path:
        scan = SmartScan(
            source=mail.source,
            path=path,
            started=now(),
            tick=lambda *_: None,
            log=lambda _: None,
            deep=deep,
        )
        scan.run(now=now)


def all_along(done: Callable[[], bool], step: Callable[[int], None]) -> None:
    number = 0
    while not done():
        step(number)
        number += 1


@pytest.mark.proofs
def test_scans_beside_a_scanner_that_misses_nothing_write_nothing(mail: Office) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311 - it makes a test, no secret
    print(f"seed {seed}")  # noqa: T201 - to run it again
    mail.now = now()
    mail.owned_path()
    smart_scan(mail, deep=False)
    first = mail.path.mailbox_history(mail.account_id(ALICE))[0].start
    began, ending = Event(), Event()

    with ThreadPoolExecutor() as pool:
        following = pool.submit(follow, mail, began, ending)
        began.wait(30)
        playing = pool.submit(play, mail, seed)
        all_along(playing.done, lambda number: smart_scan(mail, deep=number % 2 == 0))
        ending.set()
        lines = following.result()
    playing.result()

    account = mail.account_id(ALICE)
    states = [
        state for item in mail.path.items(account) for state in mail.path.history(account, item)
    ]
    by_scans = [state for state in states if state.source.startswith("scan:")]
    assert lines == []
    assert {state.start for state in by_scans} == {first}
    heads = mail.source.heads(mail.source.mailbox(account))
    last = {item: mail.path.last_state(account, item) for item in mail.path.items(account)}
    living = {item for item, state in last.items() if state and not state.deleted}
    assert living == set(heads)
