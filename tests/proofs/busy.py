"""A mail server at work, and a Real-Time Scanner that follows it, in a process of their own."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.mailserver.sandbox.server import Sandbox
from tests.engine.scan.scanners import Scanner

START_MS = 1_790_000_000_000
_STEPS_A_TURN = 4


def new_sandbox(folder: Path, *, seed: int, accounts: int = 2) -> Sandbox:
    """Make a mail server with empty accounts."""
    sandbox = Sandbox.create(folder, name="mail", domain="example.com", seed=seed)
    for number in range(accounts):
        sandbox.create_account(
            f"a{number}@example.com",
            f"{number:08d}-0000-4000-8000-000000000000",
            now_ms=START_MS,
            attributes={},
        )
    return sandbox


@contextmanager
def busy_backup(folder: Path, *, seed: int, lead: int) -> Iterator[Path]:
    """Run server and scanner at full speed; yield the Backup Path, `lead` acts after the start.

    Behind the block they have ended, and the scanner has saved everything.
    """
    ready_in, ready_out = os.pipe()
    stop_in, stop_out = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(stop_out)
            _work(folder, seed=seed, lead=lead, ready=ready_out, stop=stop_in)
            status = 0
        except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(ready_out)
    os.close(stop_in)
    try:
        assert os.read(ready_in, 1), "the mail server did not come up"
        yield folder / "backup"
    finally:
        os.close(ready_in)
        os.close(stop_out)
        _, status = os.waitpid(child, 0)
    assert not status, "server or scanner failed"


def _work(folder: Path, *, seed: int, lead: int, ready: int, stop: int) -> None:
    os.set_blocking(stop, False)
    with new_sandbox(folder / "server", seed=seed) as sandbox:
        play, now_ms, done = Play(sandbox, seed=seed), START_MS, 0
        scanner = Scanner(sandbox.source(), folder / "backup")
        with scanner.running() as running:
            while not _is_stopped(stop):
                for _ in range(_STEPS_A_TURN):
                    now_ms += 700
                    play.step(now_ms=now_ms)
                running.turn(0)
                done += _STEPS_A_TURN
                if done - _STEPS_A_TURN < lead <= done:
                    os.write(ready, b"!")
        scanner.catch_up()


def _is_stopped(stop: int) -> bool:
    try:
        return os.read(stop, 1) == b""
    except BlockingIOError:
        return False
