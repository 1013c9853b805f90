"""Watch every call by which a process changes the disk: to count, fail, or die at one of them."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backupng.engine.backuppath import disk

NAMES = (
    *("open", "write", "pwrite", "rename", "mkdir", "ftruncate", "unlink", "utime", "fchmod"),
    *("fdatasync", "fsync"),
)
REAL = {name: getattr(os, name) for name in NAMES}

Before = Callable[[str, tuple[Any, ...]], tuple[Any, ...] | None]
After = Callable[[str, tuple[Any, ...], dict[str, Any], Any], None]


@contextmanager
def watched(before: Before | None = None, after: After | None = None) -> Iterator[None]:
    """Have `before` see name and arguments of each call, and `after` also its result.

    What `before` returns stands in for the arguments. Opening counts where it may make a file;
    `flock` and `syncfs` count too.
    """
    places: list[tuple[Any, str]] = [(os, name) for name in NAMES]
    places += [(fcntl, "flock"), (disk._libc, "syncfs")]
    kept = [getattr(place, name) for place, name in places]
    for (place, name), real in zip(places, kept, strict=True):
        setattr(place, name, _wrapped(name, real, before, after))
    try:
        yield
    finally:
        for (place, name), real in zip(places, kept, strict=True):
            setattr(place, name, real)


def _wrapped(name: str, real: Any, before: Before | None, after: After | None) -> Any:
    def call(*args: Any, **named: Any) -> Any:
        counts = name != "open" or args[1] & os.O_CREAT
        if before and counts:
            args = before(name, args) or args
        result = real(*args, **named)
        if after and counts:
            after(name, args, named, result)
        return result

    return call


def is_killed(at: int, work: Callable[[], object]) -> bool:
    """Do it in a process that is killed at the call of that number; say whether it came to it."""
    calls = 0

    def before(_call: str, _args: tuple[Any, ...]) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        status = 1
        try:
            with watched(before):
                work()
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    assert os.WIFSIGNALED(ended) or os.WEXITSTATUS(ended) == 0
    return os.WIFSIGNALED(ended)


@dataclass
class Countdown:
    """Fails the call number `left` of all, or of `only` those of one name; `failed` names it."""

    left: int
    error: int = errno.EIO
    only: str = ""
    failed: str = ""

    def __call__(self, name: str, _args: tuple[Any, ...]) -> None:
        """Count one call."""
        self.left -= self.only in ("", name)
        if self.left == 0 and not self.failed:
            self.failed = name
            raise OSError(self.error, os.strerror(self.error))


@dataclass
class ShortWrite:
    """Has the write number `left` write half of what it is given; `failed` says that it did."""

    left: int
    failed: bool = False

    def __call__(self, name: str, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Count one write."""
        self.left -= name == "write"
        if self.left != 0 or self.failed or name != "write":
            return None
        self.failed = True
        return args[0], args[1][: len(args[1]) // 2]


@dataclass
class Ledger:
    """Knows which files and folders a power loss now would find changed only in memory.

    `at_rename` maps what was renamed to what was not durable just before.
    """

    files: set[tuple[int, int]] = field(default_factory=set)
    folders: set[tuple[int, int]] = field(default_factory=set)
    synced: list[tuple[int, int]] = field(default_factory=list)
    whole: int = 0
    at_rename: dict[str, tuple[set[tuple[int, int]], set[tuple[int, int]]]] = field(
        default_factory=dict
    )

    def before(self, name: str, args: tuple[Any, ...]) -> None:
        """Note what is not durable when a file gets its final name."""
        if name == "rename":
            self.at_rename[args[1]] = (set(self.files), set(self.folders))

    def after(self, name: str, args: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        """Keep the account of one call that succeeded."""
        match name:
            case "write" | "ftruncate":
                self.files.add(_of(args[0]))
            case "open" | "mkdir":
                self.folders.add(_of(named["dir_fd"]))
            case "rename":
                self.folders.add(_of(named["dst_dir_fd"]))
            case "fsync" | "fdatasync":
                self.files.discard(_of(args[0]))
                self.folders.discard(_of(args[0]))
                self.synced.append(_of(args[0]))
            case "syncfs":
                self.files.clear()
                self.folders.clear()
                self.whole += result == 0


def inode(path: Path) -> tuple[int, int]:
    """Return what the ledger knows a file or folder by."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _of(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
