"""Ties a process to its parent: when the parent dies, however it dies, so does the child."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when the thread that started it ends.

    A parent that died before this call is not noticed: compare `os.getppid()` afterwards.
    """
    _set_death_signal(signal.SIGKILL)


def outlive_parent() -> None:
    """Undo `die_with_parent`."""
    _set_death_signal(0)


def _set_death_signal(number: int) -> None:
    if _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
