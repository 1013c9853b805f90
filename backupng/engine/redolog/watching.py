"""Waits until a redo log may have been written to: inotify where it is there, looking else.

inotify(7); called by ctypes, for the standard library has no door to it. poll(2) is called that way
too: a signal is to end the wait, and `select.poll` would go on waiting. One that arrives right
before the call is noticed by the byte that Python then writes (`signal.set_wakeup_fd`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import time
from contextlib import suppress
from pathlib import Path

_MODIFY, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x80, 0x100, 0x200
_EVENTS_BYTES = 1 << 16
_SLICE_MS, _LOOK_MS = 500, 100
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Pollfd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


class Watch:
    """Watches one path: the file there, and which file that is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = _inotify(path.parent)
        self._signals = _signals()
        self._seen = self._mark()

    @property
    def is_told(self) -> bool:
        """Say whether the kernel tells of changes; else they are looked for."""
        return self._fd is not None

    def look(self) -> None:
        """Remember how the file is now: `wait` returns once it is otherwise."""
        _empty(self._fd)
        self._seen = self._mark()

    def wait(self, timeout_s: float) -> bool:
        """Wait until something changed since `look`; False when time is over, or at a signal.

        A signal since the last wait counts, if waits are in the main thread and nobody else asked
        Python for the same.
        """
        end = time.monotonic() + timeout_s
        while self._mark() == self._seen:
            left_ms = int((end - time.monotonic()) * 1000)
            if left_ms <= 0:
                return False
            # Not every file system tells: the file is looked at now and then as well.
            told = self._poll(min(left_ms, _LOOK_MS if self._fd is None else _SLICE_MS))
            if told is not None:
                return told
        return True

    def close(self) -> None:
        """Watch no longer; repeating it is harmless."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        if self._signals is not None:
            _end_signals(*self._signals)
            self._signals = None

    def _poll(self, timeout_ms: int) -> bool | None:
        """Return True when told of a change, False at a signal, None when time is over."""
        fds = (self._fd, self._signals[0] if self._signals else None)
        asked = [_Pollfd(-1 if fd is None else fd, select.POLLIN, 0) for fd in fds]
        entries = (_Pollfd * 2)(*asked)
        ready = _LIBC.poll(entries, ctypes.c_ulong(len(entries)), timeout_ms)
        if ready < 0 or entries[1].revents:
            _empty(fds[1])
            return False
        if ready:
            _empty(fds[0])
            return True
        return None

    def _mark(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError as error:
            return (-1, error.errno or errno.EIO)
        return (found.st_ino, found.st_size, found.st_mtime_ns)


def _inotify(folder: Path) -> int | None:
    """Return a descriptor that tells of changes in a folder; None where there is no such thing."""
    try:
        fd = int(_LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    except AttributeError:
        return None
    if fd < 0:
        return None
    wanted = _MODIFY | _MOVED_TO | _CREATE | _DELETE
    if _LIBC.inotify_add_watch(fd, os.fsencode(folder), ctypes.c_uint32(wanted)) < 0:
        os.close(fd)
        return None
    return fd


def _empty(fd: int | None) -> None:
    if fd is not None:
        with suppress(BlockingIOError):
            while os.read(fd, _EVENTS_BYTES):
                pass


def _signals() -> tuple[int, int] | None:
    """Return a pipe with a byte for every signal; None where Python has no more to give."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        other = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    except ValueError:
        other = 0
    if other == -1:
        return reader, writer
    if other:
        signal.set_wakeup_fd(other, warn_on_full_buffer=False)
    os.close(reader)
    os.close(writer)
    return None


def _end_signals(reader: int, writer: int) -> None:
    try:
        current = signal.set_wakeup_fd(-1)
    except ValueError:
        # Only the main thread may give it back: the pipe stays, and with it what Python writes to.
        return
    if current != writer:
        signal.set_wakeup_fd(current, warn_on_full_buffer=False)
    os.close(reader)
    os.close(writer)
