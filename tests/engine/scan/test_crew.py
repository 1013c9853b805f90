"""A scan by several processes: it finds and tells what one finds, and nothing of it outlives it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath.layout import blob_file
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import MailServerError, OperationError, Stopped
from backupng.engine.operations import LOOKUPS, OPERATIONS, tether
from backupng.engine.scan.crew import Crew, Done, Tell, Told, Work
from backupng.engine.scan.smartscan import CrewPlan, ScanResult, SmartScan
from tests.cast import ALICE, BOB, DAVE, Office, message
from tests.processes import DEADLINE_S

ENDLESS = 10**9


def no_pause() -> None:
    """Nobody wants the end."""


@contextmanager
def doubling() -> Iterator[Work]:
    def work(job: int, tell: Tell) -> int:
        tell(os.getpid())
        return 2 * job

    yield work


@contextmanager
def dying() -> Iterator[Work]:
    yield lambda _job, _tell: os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def refusing() -> Iterator[Work]:
    if os.getpid():
        raise MailServerError("The server is not at home.", code="away", hint="Ring twice.")
    yield lambda job, _tell: job


@contextmanager
def talking() -> Iterator[Work]:
    def work(_job: int, tell: Tell) -> None:
        for _ in range(ENDLESS):
            tell(os.getpid())

    yield work


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def scanned(
    mail: Office, *, crew: CrewPlan | None, deep: bool = False
) -> tuple[ScanResult, list[str]]:
    lines: list[str] = []
    with BackupPath.open_or_create(mail.backup_path, mail.owner, now=mail.now) as path:
        scan = SmartScan(
            source=mail.source,
            path=path,
            started=mail.now,
            tick=lambda done, total, name: None,
            log=lines.append,
            crew=crew,
            deep=deep,
        )
        return scan.run(now=lambda: mail.now), lines


def tree_of(root: Path) -> dict[str, bytes]:
    files = (file for part in ("accounts", "items") for file in (root / part).rglob("*"))
    return {str(each.relative_to(root)): each.read_bytes() for each in files if each.is_file()}


def test_two_processes_save_and_tell_what_one_does(mail: Office) -> None:
    for address, count in ((ALICE, 2), (BOB, 5), (DAVE, 3)):
        for number in range(count):
            mail.client.deliver(address, message(f"{address} {number}"), folder="/Inbox")
    lost = mail.client.deliver(BOB, message("Lost"), folder="/Inbox")
    for each in (mail.sandbox.folder / "store").rglob(f"{lost}-*.msg"):
        each.unlink()
    alone, told_alone = scanned(mail, crew=None)
    kept = tree_of(mail.backup_path)
    mail.backup_path.rename(mail.folder / "first")
    mail.backup_path.mkdir()

    shared, told = scanned(mail, crew=CrewPlan(2, mail.another, tether.die_with_parent, 0))

    assert told == told_alone
    assert (shared.counts, shared.accounts_new) == (alone.counts, alone.accounts_new)
    assert [(item, str(why)) for item, why in shared.unreadable[BOB]] == [
        (item, str(why)) for item, why in alone.unreadable[BOB]
    ]
    assert tree_of(mail.backup_path) == kept


def test_the_workers_of_a_deep_scan_look_deep(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
    scanned(mail, crew=None)
    (state,) = mail.history(ALICE, item)
    blob = mail.backup_path / blob_file(state.digest)
    blob.unlink()

    scanned(mail, crew=CrewPlan(2, mail.another, tether.die_with_parent, 0), deep=True)

    assert blob.exists()


def test_a_few_items_are_not_worth_a_second_process(mail: Office) -> None:
    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    plan = CrewPlan(2, mail.another, lambda: pytest.fail("a process was started"))

    result, _ = scanned(mail, crew=plan)

    assert result.accounts_new == 3


def test_all_jobs_are_done_and_what_is_told_arrives() -> None:
    with Crew(2, doubling, tether.die_with_parent) as crew:
        said = list(crew.run(range(7), no_pause))

    assert sorted(each.result for each in said if isinstance(each, Done)) == list(range(0, 14, 2))
    assert len([each for each in said if isinstance(each, Told)]) == 7


def test_a_killed_worker_ends_the_scan_with_a_sentence() -> None:
    with (
        pytest.raises(OperationError, match="ended unexpectedly"),
        Crew(2, dying, tether.die_with_parent) as crew,
    ):
        list(crew.run([1], no_pause))


def test_what_a_worker_raises_arrives_as_it_is() -> None:
    with (
        pytest.raises(MailServerError, match="not at home") as raised,
        Crew(1, refusing, tether.die_with_parent) as crew,
    ):
        list(crew.run([1], no_pause))

    assert (raised.value.code, raised.value.hint) == ("away", "Ring twice.")


def test_a_stop_ends_all_workers() -> None:
    pids: set[int] = set()

    def pause() -> None:
        if len(pids) == 2:
            raise Stopped("Enough.")

    with Crew(2, talking, tether.die_with_parent) as crew, pytest.raises(Stopped):
        pids.update(said.what for said in crew.run([1, 2], pause) if isinstance(said, Told))

    assert len(pids) == 2
    assert all(map(is_gone, pids))


def test_workers_die_with_a_killed_parent() -> None:
    program = (
        "from tests.engine.scan import test_crew as t\n"
        "with t.Crew(1, t.talking, t.tether.die_with_parent) as crew:\n"
        "    for said in crew.run([1], t.no_pause):\n"
        "        print(said.what, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        worker = os.pidfd_open(int(parent.stdout.readline()))

        parent.kill()

        try:
            # Readable once the process has ended.
            assert _is_readable(worker)
        finally:
            os.close(worker)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(DEADLINE_S * 1000))


def test_an_id_that_changed_behind_the_servers_back_is_noticed(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    mail.set_column(ALICE, item, id=item + 500)

    counters = mail.scan()

    assert (counters["items_new"], counters["items_deleted"]) == (1, 1)


def test_a_row_that_went_without_a_trace_is_noticed(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.client.deliver(ALICE, message("Two"), folder="/Inbox")
    mail.scan()
    mailbox = mail.sandbox.mailbox(mail.sandbox.account(ALICE))
    table = mail.sandbox.database.table(f"mboxgroup{mailbox.group_id}", "mail_item")
    mail.sandbox.database.run(f"DELETE FROM {table} WHERE id = ?", item)  # noqa: S608

    assert mail.scan()["items_deleted"] == 1


@pytest.mark.parametrize("catalogue", [OPERATIONS, LOOKUPS], ids=["operations", "lookups"])
def test_every_command_is_listed_under_its_own_name(catalogue: Mapping[str, Any]) -> None:
    assert [loaded.command for loaded in catalogue.values()] == list(catalogue)
