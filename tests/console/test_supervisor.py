"""The supervisor keeps tiny programs: what is killed comes back, what is stopped leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import DEADLINE_S, lives, until

ROOT = Path(__file__).resolve().parent.parent.parent
SLEEPER = "import time\ntime.sleep(600)\n"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER
# Leader and child write their numbers; the child lives in its leader's process group.
FAMILY = (
    "import os, subprocess, sys\n"
    f"child = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}])\n"
    "print('family', os.getpid(), child.pid, flush=True)\n" + SLEEPER
)
# The child has a session of its own, which no signal to the group reaches.
ESTRANGED = FAMILY.replace("])\n", "], start_new_session=True)\n")
OBEDIENT = (
    "import os, signal, sys, time\n"
    "def end(*_):\n"
    "    print('ended in good order', flush=True)\n"
    "    sys.exit()\n"
    "signal.signal(signal.SIGTERM, end)\n"
    "print('ready', os.getpid(), flush=True)\n" + SLEEPER
)


class Keeper:
    """A supervisor in a process of its own, with `python -c` programs as services."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, grace_s: float = 10.0, **programs: str) -> None:
        """Start a supervisor of these programs, by their names."""
        self.want(**programs)
        with (self.folder / "said").open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.console.keeping", self.folder, str(grace_s)],
                stderr=said,
                cwd=ROOT,
            )

    def want(self, **programs: str) -> None:
        """Say what it is to keep from now on."""
        self.write("wanted.json", json.dumps(programs))

    def write(self, name: str, text: str) -> None:
        """Write one of the files it follows, whole or not at all."""
        draft = self.folder / "draft"
        draft.write_text(text)
        draft.rename(self.folder / name)

    @property
    def said(self) -> str:
        """What it said so far."""
        return (self.folder / "said").read_text()

    def lines(self, name: str) -> list[list[str]]:
        """What a service printed so far, in words; a line that is not ended is none yet."""
        log = self.folder / f"{name}.log"
        whole = log.read_text().rpartition("\n")[0] if log.exists() else ""
        return [line.split() for line in whole.splitlines()]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the supervisor and wait for its end."""
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(timeout=DEADLINE_S)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    made = Keeper(tmp_path)
    yield made
    if made.process and made.process.poll() is None:
        try:
            made.stop()
        finally:
            made.process.kill()


def families(keeper: Keeper) -> list[tuple[int, int]]:
    return [(int(line[1]), int(line[2])) for line in keeper.lines("family")]


def test_a_killed_service_takes_its_group_along_and_comes_back(keeper: Keeper) -> None:
    keeper.start(family=FAMILY)
    until(lambda: len(families(keeper)) == 1)
    leader, child = families(keeper)[0]

    os.kill(leader, signal.SIGKILL)
    until(lambda: len(families(keeper)) == 2)

    assert not lives(child)
    assert all(map(lives, families(keeper)[1]))
    assert "family: killed by SIGKILL; starts again in" in keeper.said


def test_a_service_that_ends_leaves_nothing_in_another_session(keeper: Keeper) -> None:
    keeper.start(family=ESTRANGED)
    until(lambda: len(families(keeper)) == 1)
    leader, child = families(keeper)[0]

    os.kill(leader, signal.SIGKILL)

    until(lambda: not lives(child))


def test_a_stop_asks_the_leaders_and_ends_all(keeper: Keeper) -> None:
    keeper.start(obedient=OBEDIENT, family=FAMILY)
    until(lambda: bool(families(keeper) and keeper.lines("obedient")))

    code = keeper.stop()

    assert code == 0
    assert keeper.lines("obedient")[-1] == ["ended", "in", "good", "order"]
    assert not any(map(lives, families(keeper)[0]))
    assert keeper.said.splitlines()[-1] == "stopped"


def test_a_stop_signals_the_leaders_alone(keeper: Keeper) -> None:
    child = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {OBEDIENT!r}])\n"
    keeper.start(pair=child + OBEDIENT)
    until(lambda: len(keeper.lines("pair")) == 2)

    keeper.stop()

    assert [line[0] for line in keeper.lines("pair")] == ["ready", "ready", "ended"]


def test_a_second_signal_ends_the_patience(keeper: Keeper) -> None:
    keeper.start(grace_s=600, stubborn="print('here', flush=True)\n" + STUBBORN)
    until(lambda: bool(keeper.lines("stubborn")))
    assert keeper.process
    keeper.process.send_signal(signal.SIGINT)
    until(lambda: "stopping" in keeper.said)

    assert keeper.stop(signal.SIGINT) == 0


def test_ctrl_c_stops_like_sigterm(keeper: Keeper) -> None:
    keeper.start(obedient=OBEDIENT)
    until(lambda: bool(keeper.lines("obedient")))

    assert keeper.stop(signal.SIGINT) == 0
    assert keeper.lines("obedient")[-1] == ["ended", "in", "good", "order"]


def test_after_the_grace_period_the_stubborn_are_killed(keeper: Keeper) -> None:
    keeper.start(grace_s=0.3, stubborn="print('here', flush=True)\n" + STUBBORN)
    until(lambda: bool(keeper.lines("stubborn")))

    assert keeper.stop() == 0
    assert "stubborn: ended" in keeper.said


def test_a_killed_supervisor_leaves_nothing(keeper: Keeper) -> None:
    keeper.start(obedient=OBEDIENT)
    until(lambda: bool(keeper.lines("obedient")))
    service = int(keeper.lines("obedient")[0][1])

    keeper.stop(signal.SIGKILL)

    until(lambda: not lives(service))
    assert keeper.lines("obedient")[-1] == ["ended", "in", "good", "order"]


def test_a_service_that_fails_at_once_is_given_more_and_more_time(keeper: Keeper) -> None:
    keeper.start(broken="print('tried', flush=True)\nraise SystemExit(3)\n")
    until(lambda: len(keeper.lines("broken")) == 4)
    keeper.stop()

    pauses = [line.partition("again in ")[2][:1] for line in keeper.said.splitlines()]
    assert [pause for pause in pauses if pause][:3] == ["0", "0", "1"]
    assert "broken: ended with code 3" in keeper.said


def test_what_is_wanted_no_longer_ends_and_what_changed_starts_anew(keeper: Keeper) -> None:
    keeper.start(one=OBEDIENT, two=OBEDIENT)
    until(lambda: bool(keeper.lines("one") and keeper.lines("two")))

    keeper.want(one=OBEDIENT.replace("ready", "changed"))
    until(lambda: len(keeper.lines("one")) == 3 and len(keeper.lines("two")) == 2)

    assert [line[0] for line in keeper.lines("one")] == ["ready", "ended", "changed"]
    assert [line[0] for line in keeper.lines("two")] == ["ready", "ended"]


def test_a_service_that_hangs_is_killed_with_its_group_and_started_again(keeper: Keeper) -> None:
    keeper.start(family=FAMILY)
    until(lambda: len(families(keeper)) == 1)

    keeper.write("hangs", "family")
    until(lambda: len(families(keeper)) == 2)

    assert not any(map(lives, families(keeper)[0]))
    assert "family: gives no sign of life" in keeper.said
