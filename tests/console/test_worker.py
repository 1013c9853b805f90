"""The worker with real processes, on both databases: order, kills, stops, lost databases and bells.

What the queue must withstand is tested line by line; the processes share one machine per database.
That a frozen worker is found, and not only replaced, is the business of test_watchdog.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.console import holding
from tests.console.machine import Away, Machine, are_gone, ended, kill, last_words
from tests.postgresql import PostgreSQL
from tests.processes import DEADLINE_S

INTERRUPTED, OK = "interrupted", "successful"
# SQLite is never away.
LOSABLE = pytest.mark.parametrize("host", ["postgresql"], indirect=True)
# What concerns processes, or neither locks nor orders anything, is alike on each database.
ALIKE = pytest.mark.parametrize(
    "host",
    ["sqlite", pytest.param("postgresql", marks=(pytest.mark.services, pytest.mark.proofs))],
    indirect=True,
)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """Return a running PostgreSQL that is there for these tests alone."""
    cluster = PostgreSQL()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)]
)
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """Return a machine with two servers, on each database."""
    data = tmp_path_factory.mktemp("machine")
    url = f"sqlite:///{data}/db.sqlite3"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").make_database("console")
    with ended(Machine(data=data, url=url)) as machine:
        machine.make("mail1", "mail2")
        yield machine


@pytest.fixture
def machine(host: Machine) -> Machine:
    """Return it without operations; a worker may run."""
    host.ask("reset")
    return host


@pytest.fixture
def away(machine: Machine, request: pytest.FixtureRequest) -> Iterator[PostgreSQL]:
    """Return the PostgreSQL of the machine, to be stopped; there again after the test."""
    cluster: PostgreSQL = request.getfixturevalue("postgresql")
    yield cluster
    # One that has lost its database takes ten seconds to listen again.
    machine.workers["mail1"].kill()


@pytest.fixture
def hold(machine: Machine) -> Iterator[ExitStack]:
    """Let no operation of mail1 come to its end before this is closed."""
    with ExitStack() as stack:
        stack.enter_context(machine.held())
        yield stack


def begin(machine: Machine, count: int = 1) -> dict[str, Any]:
    """Queue operations with a worker running and return the first one, at work."""
    machine.worker()
    machine.submit(count=count)
    return machine.await_work()


def assert_one_after_the_other(rows: list[dict[str, Any]]) -> None:
    """Each began once, in the order of the queue, after the end of the one before."""
    assert [row["begun"] for row in rows] == [1] * len(rows)
    moments = [moment for row in rows for moment in (row["started"], row["ended"])]
    assert moments == sorted(moments)


# Order


def test_a_server_runs_its_operations_in_order_and_servers_run_side_by_side(
    machine: Machine, hold: ExitStack
) -> None:
    for server in ("mail1", "mail2"):
        machine.worker(server)
        machine.submit(server, 2)
    hold.enter_context(machine.held("mail2"))
    machine.submit("mail2", 1)

    machine.await_work("mail1")
    machine.await_work("mail2")
    hold.close()

    assert_one_after_the_other(machine.await_states(OK, OK))
    assert_one_after_the_other(machine.await_states(OK, OK, OK, server="mail2"))
    machine.workers["mail2"].terminate()


def test_six_who_claim_without_the_lock_get_each_operation_once(machine: Machine) -> None:
    if worker := machine.workers.get("mail1"):
        worker.kill()
    machine.submit(count=20)
    claimed = machine.ask("claim_all", 6)
    assert sorted(map(int, claimed)) == list(range(1, 21))
    rows = machine.await_states(*[OK] * 20)
    assert [row["started"] for row in rows] == sorted(row["started"] for row in rows)


# Bells


def test_doubled_bells_neither_run_nor_tell_anything_twice(
    machine: Machine, hold: ExitStack
) -> None:
    begin(machine)
    machine.ask("ring", "mail1", 4)
    machine.wait_until(lambda: machine.ask("heard") >= 4)
    hold.close()
    (row,) = machine.await_states(OK)
    assert_one_after_the_other([row])
    assert row["events"] == ["ended", "started"]


@ALIKE
def test_a_lost_bell_is_made_up_for_by_the_next_process(machine: Machine) -> None:
    worker = machine.worker()
    machine.wait_until(lambda: machine.ask("lose_bells") == 0)
    worker.kill()
    machine.submit()
    assert machine.ask("lose_bells") == 1
    machine.worker()
    machine.await_states(OK)


@ALIKE
def test_the_tick_is_planned_once_per_server(machine: Machine) -> None:
    machine.worker("mail1")
    ticks = [tick for tick in machine.ask("ticks") if "mail1" in tick[1]]
    assert ticks == [["console.tasks.tick", "('mail1',)", "srv:mail1"]]


# Stops


@ALIKE
def test_a_running_operation_is_stopped_at_its_next_step(machine: Machine, hold: ExitStack) -> None:
    row = begin(machine, 2)
    machine.wait_until(lambda: holding.is_waiting(row["process"]))
    woken = holding.wakeups(row["process"])
    assert machine.ask("stop", row["id"]) == "started"
    machine.wait_until(lambda: holding.wakeups(row["process"]) > woken)
    hold.close()
    stopped, _ = machine.await_states("stopped", OK)
    assert stopped["message"] == "The operation was stopped before its end."


@ALIKE
def test_a_stubborn_operation_is_killed_after_the_grace_period(
    machine: Machine, hold: ExitStack
) -> None:
    row = begin(machine)
    machine.ask("stop", row["id"])
    (stopped,) = machine.await_states("stopped")
    assert stopped["message"] == "It was stopped, and ended before it could say so."
    assert are_gone([row["process"]])


@ALIKE
def test_a_queued_operation_is_removed_and_told(machine: Machine, hold: ExitStack) -> None:
    begin(machine)
    (waiting,) = machine.submit()
    assert machine.ask("stop", waiting) == "queued"
    assert machine.rows()[1]["events"] == ["ended"]
    hold.close()
    machine.await_states(OK, "removed")


@ALIKE
def test_all_are_stopped_at_once_and_the_queue_goes_on(machine: Machine, hold: ExitStack) -> None:
    begin(machine, 3)
    assert machine.ask("stop_all", "mail1") == [1, 2]
    machine.await_states("stopped", "removed", "removed")
    hold.close()
    machine.submit()
    machine.await_states("stopped", "removed", "removed", OK)


# Kills


@ALIKE
def test_a_killed_operation_is_interrupted_and_the_next_one_runs(
    machine: Machine, hold: ExitStack
) -> None:
    row = begin(machine, 2)
    kill(row["process"])
    hold.close()
    machine.await_states(INTERRUPTED, OK)


@ALIKE
def test_a_killed_busy_process_takes_its_operation_along_and_is_replaced(
    machine: Machine, hold: ExitStack
) -> None:
    row = begin(machine, 2)
    kill(row["pid"])
    machine.wait_until(lambda: are_gone([row["process"]]))
    hold.close()
    interrupted, _ = machine.await_states(INTERRUPTED, OK)
    assert interrupted["message"].startswith("The process that ran it ended")


@ALIKE
@pytest.mark.parametrize("victim", ["sentinel", "main", "all"])
def test_whoever_is_killed_nothing_survives_and_the_next_worker_goes_on(
    machine: Machine, hold: ExitStack, victim: str
) -> None:
    row = begin(machine, 2)
    worker = machine.worker()
    family = worker.family
    assert len(family) == 8
    kill(*{"sentinel": family[1:2], "main": family[:1], "all": family}[victim])
    worker.wait()
    machine.wait_until(lambda: are_gone(family[1:]), lambda: list(map(holding.state, family)))
    hold.close()

    machine.worker()

    machine.await_states(INTERRUPTED, OK)
    assert are_gone([row["process"]])


@ALIKE
def test_a_worker_whose_idle_processes_were_killed_can_be_replaced(machine: Machine) -> None:
    worker = machine.worker()
    machine.wait_until(lambda: machine.ask("heard") > 0 or machine.ask("lose_bells") == 0)
    kill(*worker.family[2:5])
    machine.submit()
    worker.kill()
    machine.worker()
    machine.await_states(OK)


@ALIKE
def test_a_worker_that_is_told_to_end_interrupts_its_operation_and_keeps_the_rest(
    machine: Machine, hold: ExitStack
) -> None:
    begin(machine, 2)
    worker = machine.worker()
    family = worker.family
    assert worker.terminate() == 0
    assert are_gone(family)
    interrupted, _ = machine.await_states(INTERRUPTED, "queued")
    assert interrupted["message"] == "The service was stopped while it ran."
    hold.close()
    machine.worker()
    machine.await_states(INTERRUPTED, OK)


@ALIKE
@pytest.mark.parametrize(
    ("count", "kills"), [(10, 3), pytest.param(300, 12, marks=pytest.mark.proofs)]
)
def test_many_operations_with_kills_run_once_each_and_in_order(
    machine: Machine, count: int, kills: int
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated
    chance = random.Random(seed)  # noqa: S311  # moments, not secrets
    machine.submit(count=count)
    for number in range(kills):
        machine.worker()
        begun = count - machine.states().count("queued")
        goal = begun + chance.randint(1, max(3, count // kills // 2))
        machine.wait_until(
            lambda: count - machine.states().count("queued") >= goal,  # noqa: B023
            machine.rows,
            patience_s=DEADLINE_S + count,
        )
        strike(machine, ("operation", "busy process", "all")[number % 3])
    machine.worker()
    machine.wait_until(
        lambda: not {"queued", "started"} & set(machine.states()),
        machine.rows,
        patience_s=DEADLINE_S + count,
    )

    rows = machine.rows()
    assert {row["state"] for row in rows} <= {OK, INTERRUPTED}
    assert machine.states().count(OK) >= count - kills
    assert all(row["begun"] <= 1 for row in rows)
    moments = [moment for row in rows for moment in (row["started"], row["ended"])]
    assert moments == sorted(moments)


def strike(machine: Machine, victims: str) -> None:
    """Kill what runs an operation now, if anything does."""
    worker = machine.worker()
    busy = [row["pid"] for row in machine.rows() if row["state"] == "started"]
    operations = [child for pid in busy for child in holding.children(pid)]
    kill(*{"operation": operations, "busy process": busy, "all": worker.family}[victims])
    if victims == "all":
        worker.wait()


# One worker per server


@ALIKE
def test_a_second_worker_is_refused_and_so_is_one_without_a_name(machine: Machine) -> None:
    machine.worker()
    second = machine.start("worker", "mail1", BACKUPNG_SERVER="mail1")
    nameless = machine.start("worker")
    assert last_words(second) == "A worker for mail1 is running already. One is enough.\n"
    assert "There are several servers." in last_words(nameless)
    assert (second.returncode, nameless.returncode) == (1, 1)


@ALIKE
def test_a_worker_on_another_host_is_refused(machine: Machine, tmp_path: Path) -> None:
    other = machine.other_host(tmp_path / "other")
    second = other.start("worker", "mail1", BACKUPNG_SERVER="mail1")
    assert "The operations of mail1 run on another host." in last_words(second)
    machine.worker()
    machine.submit(count=2)
    assert_one_after_the_other(machine.await_states(OK, OK))


# The database is away


@LOSABLE
def test_an_operation_goes_on_while_the_database_restarts(
    machine: Machine, hold: ExitStack, away: PostgreSQL
) -> None:
    begin(machine)
    away.stop()
    away.start()
    hold.close()
    with pytest.raises(Away):
        machine.ask("rows")
    (row,) = machine.await_states(OK)
    assert row["begun"] == 1


@LOSABLE
@pytest.mark.parametrize("killed", [False, True])
def test_an_end_without_a_database_is_recorded_later_even_after_kills(
    machine: Machine, hold: ExitStack, away: PostgreSQL, *, killed: bool
) -> None:
    begin(machine)
    worker = machine.worker()
    away.stop()
    hold.close()
    machine.wait_until(lambda: any((machine.data / "state").glob("*.end")))
    if killed:
        kill(*worker.family)
        worker.wait()
    away.start()
    with pytest.raises(Away):
        machine.ask("rows")
    machine.worker()
    (row,) = machine.await_states(OK)
    assert row["begun"] == 1
    machine.wait_until(lambda: not any((machine.data / "state").glob("*.end")))


@LOSABLE
def test_a_worker_waits_for_its_database(machine: Machine, away: PostgreSQL) -> None:
    if worker := machine.workers.get("mail1"):
        worker.kill()
    machine.submit()
    away.stop()
    worker = machine.start_worker()
    machine.wait_until(lambda: "Waiting for it." in worker.said, lambda: worker.said)
    away.start()
    with pytest.raises(Away):
        machine.ask("rows")
    machine.await_states(OK)
