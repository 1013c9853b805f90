"""The watchdog with real processes: a worker frozen for ever, which nothing else notices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.holding import children, command_line
from tests.console.machine import Machine, are_gone, ended, family, kill
from tests.processes import DEADLINE_S, own_port

SILENT = "worker mail1: gives no sign of life; it is killed and started again"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Return a machine with one server and nothing that runs."""
    data = tmp_path / "data"
    data.mkdir()
    with ended(Machine(data=data, url=f"sqlite:///{data}/db.sqlite3")) as made:
        made.make("mail1")
        yield made


@pytest.mark.proofs
def test_a_worker_frozen_by_kills_of_its_idle_processes_is_found_and_replaced(
    machine: Machine,
) -> None:
    log = machine.data / "said"
    with log.open("w") as file:
        run = machine.start(
            "run", log=file, BACKUPNG_PORT=str(own_port()), EMAIL_URL="smtp://127.0.0.1:9"
        )
    machine.wait_until(lambda: machine.ask("heard") > 0, log.read_text)
    (worker,) = [child for child in children(run.pid) if b"\0worker\0" in command_line(child)]
    frozen = family(worker)

    # One of them waits for work with the lock of django-q2's queue, which nobody gets any more.
    kill(*frozen[2:5])
    machine.submit()

    machine.wait_until(lambda: SILENT in log.read_text(), log.read_text)
    (row,) = machine.await_states("successful")
    assert row["begun"] == 1
    assert are_gone(frozen)
    run.terminate()
    assert run.wait(timeout=DEADLINE_S) == 0
