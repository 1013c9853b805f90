"""Ties a process to its parent: when the parent dies, however it dies, so does the child.

As a program, `python tether.py PARENT COMMAND …`, it ties itself to the process PARENT, gently, and
becomes the command: a parent with threads cannot do that for a child between fork and exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when the thread that started it ends.

    A parent that died before this call is not noticed: compare `os.getppid()` afterwards.
    """
    _control(_PR_SET_PDEATHSIG, signal.SIGKILL)


def outlive_parent() -> None:
    """Undo `die_with_parent`."""
    _control(_PR_SET_PDEATHSIG, 0)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends."""
    _control(_PR_SET_CHILD_SUBREAPER, 1)


def _control(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    # Not SIGKILL: the command ends its own children, and what they are at, in good order.
    _control(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == int(sys.argv[1]):
        os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - without a shell, as meant
