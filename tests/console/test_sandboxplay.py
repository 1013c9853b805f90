"""Users at work on a sandbox: `sandbox play` from its start to Ctrl-C, and what it refuses."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.management.commands import run
from tests.commandline import CommandLine, forking
from tests.processes import DEADLINE_S

PLAY = ("sandbox", "play", "mail1")


@pytest.fixture(scope="module")
def backupng(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    with forking(tmp_path_factory.mktemp("play")) as commands:
        create = ("sandbox", "createServer", "mail1", "accounts", "1", "items", "3")
        commands.json(*create)
        yield commands


def test_a_play_says_how_much_it_changed_and_by_which_seed(backupng: CommandLine) -> None:
    answer = backupng("--json", *PLAY, "rate", 40, "seconds", 1, "seed", 7)

    assert answer.exit_status == 0
    assert answer.response["seed"] == 7
    assert answer.response["changes"] >= 1


@pytest.mark.parametrize("words", ["rate 0", "rate 1001", "seconds 0", "seed -2"])
def test_a_play_refuses_numbers_that_make_no_sense(backupng: CommandLine, words: str) -> None:
    answer = backupng("--json", *PLAY, *words.split())

    assert answer.exit_status == 64
    assert answer.error["message"]


def test_ctrl_c_ends_a_play_with_its_summary(backupng: CommandLine) -> None:
    plain = CommandLine(backupng.data)
    words = plain.arguments("--json", *PLAY, "rate", 50, "seconds", 600)
    with subprocess.Popen(
        words,
        env=plain.environment,
        cwd=Path.cwd(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        assert process.stdout
        assert "seconds to go" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.wait(DEADLINE_S) == 0

    (answer,) = json.loads(out).values()
    assert answer["response"]["changes"] >= 1


def test_somebody_is_at_work_beside_the_demo_only(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:
        plain = run.services([], run.Listeners(web=web))
        monkeypatch.setenv(run.TRICKLE, "1")
        demo = run.services([], run.Listeners(web=web))

    assert {each.name for each in demo} - {each.name for each in plain} == {"sandboxplay"}
