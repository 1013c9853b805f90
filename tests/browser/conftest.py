"""A console at work with all its processes, and a real browser in front of it."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.commandline import CommandLine, forking
from tests.console.holding import NOT_BY_ITSELF
from tests.processes import DEADLINE_S, own_port
from tests.services import require, require_library

ROOT = Path(__file__).resolve().parent.parent.parent
ADMINISTRATOR = "anna"
ADDRESS = "admin@example.com"
LIGHT = {"DJANGO_SETTINGS_MODULE": "tests.light_settings"}


@dataclass(frozen=True)
class Console:
    """A running console: its address, the password of its administrator, its command line."""

    address: str
    password: str
    cli: CommandLine


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Start everything on a data folder with one sandbox of three accounts.

    SmartScans only run when a test asks for them.
    """
    with forking(tmp_path_factory.mktemp("console")) as cli:
        cli.json("sandbox", "createServer", "mail1", "accounts", 3, "items", 30, "seed", 7)
        cli.json("sandbox", "createAccount", "mail1", ADDRESS)
        for name, value in NOT_BY_ITSELF.items():
            cli.json("setProperty", name, value)
        password = _make_administrator(cli)
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run"],
            cwd=ROOT,
            env=cli.environment | LIGHT | {"BACKUPNG_PORT": str(own_port())},
            stderr=subprocess.PIPE,
        )
        try:
            address = _address(cast("IO[bytes]", process.stderr))
            yield Console(address, password, cli)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=DEADLINE_S)
            finally:
                process.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Debian's Chromium.

    It ends with the tests of a file: while it runs, Django takes all for asynchronous code.
    """
    chromium = require("chromium", "chromium")
    require_library("libatomic.so.1", "libatomic1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


def _make_administrator(cli: CommandLine) -> str:
    made = subprocess.run(
        [sys.executable, "manage.py", "createuser", ADMINISTRATOR, ADDRESS],
        cwd=ROOT,
        env=cli.environment | LIGHT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=DEADLINE_S,
    )
    return made.stdout.split()[-1]


def _address(messages: IO[bytes]) -> str:
    """Read what the supervisor says until it names the console's address."""
    said, until = b"", time.monotonic() + DEADLINE_S
    with selectors.DefaultSelector() as selector:
        selector.register(messages, selectors.EVENT_READ)
        while b"http://" not in said or not said.endswith(b"\n"):
            ready = selector.select(until - time.monotonic())
            chunk = os.read(messages.fileno(), 1 << 16) if ready else b""
            assert chunk, f"the console did not start: {said.decode()}"
            said += chunk
    return next(word for word in said.decode().split() if word.startswith("http://")).rstrip("/")
