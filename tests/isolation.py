"""Give each test process a data folder of its own; loaded before Django reads its settings.

The paths of programs that tests start follow from the environment set here. No test waits for ever,
whatever it waits for. Where several processes share the tests, each takes whole files.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from types import FrameType

import pytest

_LONGEST_TEST_S = 180
"""With its fixtures; long proofs take what they take."""

DATA = tempfile.mkdtemp(prefix="backupng-tests-")
atexit.register(shutil.rmtree, DATA, ignore_errors=True)

# A shell has what it starts in the background ignore Ctrl+C, and so would all that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A suite that is told to end takes away what it has made, as after Ctrl+C.
signal.signal(signal.SIGTERM, signal.default_int_handler)

# Compiled once for all, not anew in each of the hundreds of processes that tests start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

os.environ["BACKUPNG_DATA"] = DATA
# Plain HTTP, as in the demo: the test client and the browser reach the console without TLS.
os.environ["BACKUPNG_TLS"] = "false"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Fail a test that takes too long, where it is."""
    is_long = item.get_closest_marker("proofs") is not None
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(0 if is_long else _LONGEST_TEST_S)
    try:
        return (yield)
    finally:
        signal.alarm(0)


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    pytest.fail(f"the test took more than {_LONGEST_TEST_S} seconds")
