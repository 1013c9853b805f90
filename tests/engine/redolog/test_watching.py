"""Waiting for a log: a write, a rollover, a signal end it; and where nobody tells, looking does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backupng.engine.redolog import watching
from backupng.engine.redolog.watching import Watch
from tests.engine.redolog.live import Server

LONG_S = 60.0


@pytest.fixture
def server(tmp_path: Path) -> Server:
    made = Server(tmp_path)
    made.start()
    return made


@pytest.fixture(params=["told", "looking"])
def watch(
    request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watch]:
    if request.param == "looking":
        monkeypatch.setattr(watching, "_inotify", lambda _folder: None)
    made = Watch(server.files.current)
    assert made.is_told == (request.param == "told")
    yield made
    made.close()


def waited(watch: Watch, act: Callable[[], object]) -> bool:
    """Return what a wait says during which something is done."""
    entered, poll = threading.Event(), watch._poll

    def announced(timeout_ms: int) -> bool | None:
        entered.set()
        return poll(timeout_ms)

    def then_act() -> None:
        assert entered.wait(LONG_S)
        act()

    watch._poll = announced  # type: ignore[method-assign]
    actor = threading.Thread(target=then_act)
    actor.start()
    try:
        return watch.wait(LONG_S)
    finally:
        actor.join()


def test_a_write_ends_the_wait(server: Server, watch: Watch) -> None:
    assert waited(watch, lambda: server.mails(1, 1))


def test_a_rollover_ends_the_wait(server: Server, watch: Watch) -> None:
    assert waited(watch, server.rollover)


def test_a_write_before_the_wait_ends_it(server: Server, watch: Watch) -> None:
    server.mails(1, 1)
    assert watch.wait(LONG_S)


def test_what_was_looked_at_does_not(server: Server, watch: Watch) -> None:
    server.mails(1, 1)
    watch.look()
    assert not watch.wait(0.01)


@pytest.fixture
def signals(server: Server) -> Iterator[list[int]]:
    """Remember signals; one that is missed shows, for a write ends the wait in the end."""
    seen: list[int] = []
    old = signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append(number))
    late = threading.Timer(LONG_S / 2, server.mails, (1, 1))
    late.start()
    yield seen
    late.cancel()
    late.join()
    signal.signal(signal.SIGUSR1, old)


def test_a_signal_ends_the_wait(watch: Watch, signals: list[int]) -> None:
    assert not waited(watch, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    assert signals == [signal.SIGUSR1]


def test_a_signal_before_the_wait_ends_it(watch: Watch, signals: list[int]) -> None:
    signal.raise_signal(signal.SIGUSR1)
    assert not watch.wait(LONG_S)
    assert signals == [signal.SIGUSR1]


def test_a_follower_is_woken_by_what_its_server_writes(server: Server) -> None:
    follower = server.follower()
    assert follower.read(9) == []
    writer = threading.Thread(target=server.mails, args=(1, 1))
    writer.start()
    assert follower.wait(LONG_S)
    writer.join()
    assert len(follower.read(9)) == 1
    follower.close()
