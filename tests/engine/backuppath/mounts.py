"""File systems of their own for a test: a small tmpfs, ext4 or XFS on a loop device.

The one on a loop device can lose its power: whatever is not on the disk then never was.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services import require

_SHUTDOWN = 0x8004587D
"""The ioctl that shuts a file system down: ext4 and XFS, fs/xfs/xfs_fs.h, XFS_IOC_GOINGDOWN."""
_WITHOUT_LOG = 2
_PACKAGES = {"ext4": "e2fsprogs", "xfs": "xfsprogs"}
_SIZES = {"ext4": 64 << 20, "xfs": 320 << 20}


@dataclass(frozen=True, slots=True)
class LoopDisk:
    """A file system in a file, mounted at `place`."""

    image: Path
    place: Path

    def sync(self) -> None:
        """Have everything on the disk."""
        _run("sync", "-f", self.place)

    def lose_power(self) -> None:
        """Let nothing more reach the disk, not even the journal."""
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG))
        finally:
            os.close(descriptor)

    def start_again(self) -> None:
        """Mount it again: what its journal has is played back."""
        _run("umount", self.place)
        _run("mount", "-o", "loop", self.image, self.place)


@contextmanager
def loop_disk(kind: str, folder: Path, *options: str) -> Iterator[LoopDisk]:
    """Make it with these options and mount it; skips where that cannot be."""
    maker = require(f"mkfs.{kind}", _PACKAGES[kind])
    disk = LoopDisk(folder / f"{kind}.image", folder / kind)
    disk.place.mkdir()
    with disk.image.open("wb") as file:
        file.truncate(_SIZES[kind])
    subprocess.run([maker, "-q", *options, disk.image], check=True, capture_output=True)
    with _mounted(disk.place, "-o", "loop", disk.image):
        yield disk


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs with these options; skips where that cannot be."""
    place = folder / "small"
    place.mkdir()
    with _mounted(place, "-t", "tmpfs", "-o", options, "tmpfs"):
        yield place


def widen(place: Path, options: str) -> None:
    """Give a tmpfs more room."""
    _run("mount", "-o", f"remount,{options}", place)


@contextmanager
def _mounted(place: Path, *words: object) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    command = [require("mount", "mount"), *map(str, words), str(place)]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"nothing can be mounted here: {found.stderr.strip()}")
    try:
        yield
    finally:
        _run("umount", place)


def _run(*words: object) -> None:
    subprocess.run(list(map(str, words)), check=True, capture_output=True)
