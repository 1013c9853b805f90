"""What a disk may hold after a power loss: every call of a run is recorded, then trees are drawn.

A write that was not synced is kept, lost, cut or full of NULs; a change of a folder that was not
synced is kept or lost. With ordered folders those that are lost are the last ones of all, as on a
journal; with unordered ones any may be. Nothing that was synced is ever touched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.engine.backuppath.calls import watched

Inode = int
_ROOT = -1
_PAGE = 64
"""A page of NULs, small as the files of tests are small."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes written to a file at a place; None instead of bytes cuts the file there."""

    file: Inode
    place: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Named:
    """A name given to an inode in a folder, taken from `before` (folder, name) if it had one."""

    folder: Inode
    name: str
    inode: Inode | None
    before: tuple[Inode, str] | None = None

    @property
    def folders(self) -> set[Inode]:
        """The folders that have to be synced, one of them, to make it durable."""
        return {self.folder} | ({self.before[0]} if self.before else set())


@dataclass(frozen=True, slots=True)
class Synced:
    """A file or folder became durable; None: everything."""

    inode: Inode | None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Somebody was told that something is durable."""

    word: str


Event = Write | Named | Synced | Acknowledged


@dataclass
class Image:
    """What a disk holds: the content of files, the names in folders."""

    files: dict[Inode, bytearray] = field(default_factory=dict)
    folders: dict[Inode, dict[str, Inode]] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> Image:
        """Read a folder and all below it."""
        image = cls()
        image._read(root, root.stat().st_ino)
        image.folders[_ROOT] = image.folders[root.stat().st_ino]
        return image

    def _read(self, folder: Path, inode: Inode) -> None:
        names = self.folders.setdefault(inode, {})
        for path in folder.iterdir():
            names[path.name] = found = path.stat().st_ino
            if path.is_dir():
                self._read(path, found)
            else:
                self.files[found] = bytearray(path.read_bytes())

    def copied(self) -> Image:
        """Return one that can be changed."""
        files = {inode: bytearray(data) for inode, data in self.files.items()}
        folders = {inode: dict(names) for inode, names in self.folders.items()}
        root = next(key for key, names in self.folders.items() if names is self.folders[_ROOT])
        folders[_ROOT] = folders[root]
        return Image(files, folders)

    def rename(self, change: Named) -> None:
        """Give or take a name."""
        if change.before:
            self.folders.get(change.before[0], {}).pop(change.before[1], None)
        names = self.folders.setdefault(change.folder, {})
        if change.inode is None:
            names.pop(change.name, None)
        else:
            names[change.name] = change.inode

    def write(self, change: Write) -> None:
        """Change the content of a file; what lies before it and was never written is NULs."""
        data = self.files.setdefault(change.file, bytearray())
        data.extend(bytes(max(0, change.place - len(data))))
        if change.data is None:
            del data[change.place :]
        else:
            data[change.place : change.place + len(change.data)] = change.data

    def lay_out(self, root: Path) -> None:
        """Make the files and folders."""
        self._lay_out(root, _ROOT)

    def _lay_out(self, folder: Path, inode: Inode) -> None:
        folder.mkdir(exist_ok=True)
        for name, found in self.folders.get(inode, {}).items():
            if found in self.folders:
                self._lay_out(folder / name, found)
            else:
                self._file(folder / name, bytes(self.files.get(found, b"")))

    def _file(self, path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            if path.name == ".lock":
                # The note names its own inode: a power loss does not change that.
                number = os.fstat(file.fileno()).st_ino
                data = re.sub(rb"inode [0-9]+", b"inode %d" % number, data)
            file.write(data)


class Recording:
    """All that a run did to the disk below a folder, and what that held before."""

    def __init__(self, root: Path) -> None:
        self.before = Image.of(root)
        self.now = self.before.copied()
        self.events: list[Event] = []
        self._root = root.stat().st_ino

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record what is done inside."""
        with watched(None, self._after):
            yield

    def acknowledge(self, word: str) -> None:
        """Note that what the word means was told to be durable."""
        self.events.append(Acknowledged(word))

    def _after(self, name: str, args: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        match name:
            case "open":
                self._made(named["dir_fd"], args[0], os.fstat(result).st_ino, is_folder=False)
            case "mkdir":
                found = os.stat(args[0], dir_fd=named["dir_fd"])
                self._made(named["dir_fd"], args[0], found.st_ino, is_folder=True)
            case "rename":
                source, target = _of(named["src_dir_fd"]), _of(named["dst_dir_fd"])
                inode = self.now.folders[source][args[0]]
                self._note(Named(target, args[1], inode, (source, args[0])))
            case "unlink":
                self._note(Named(_of(named["dir_fd"]), args[0], None))
            case "write" | "pwrite":
                self._wrote(name, args, result)
            case "ftruncate":
                self._note(Write(_of(args[0]), args[1], None))
            case "fsync" | "fdatasync" | "syncfs":
                self._note(Synced(None if name == "syncfs" else _of(args[0])))

    def _made(self, folder: int, name: str, inode: Inode, *, is_folder: bool) -> None:
        if self.now.folders[_of(folder)].get(name) == inode:
            return
        if is_folder:
            self.now.folders[inode] = {}
        self._note(Named(_of(folder), name, inode))

    def _wrote(self, name: str, args: tuple[Any, ...], written: int) -> None:
        inode = _of(args[0])
        known = inode in self.now.files or inode in _reachable(self.now)
        if known:
            place = args[2] if name == "pwrite" else len(self.now.files.get(inode, b""))
            self._note(Write(inode, place, bytes(args[1][:written])))

    def _note(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Write):
            self.now.write(event)
        elif isinstance(event, Named):
            self.now.rename(event)

    # Power losses

    def after_power_loss(self, at: int, random: Random, *, ordered: bool) -> Image:
        """Draw what the disk may hold if the power goes just before the event number `at`."""
        image = self.before.copied()
        for event in self.events[:at]:
            if isinstance(event, Named) and event.inode in self.now.folders:
                image.folders.setdefault(event.inode or 0, {})
        kept = self._kept_names(at, random, ordered=ordered)
        for number, event in enumerate(self.events[:at]):
            if isinstance(event, Named) and number in kept:
                image.rename(event)
            elif isinstance(event, Write):
                durable = self._is_durable(number, at, {event.file})
                if found := (event if durable else _damaged(event, random)):
                    image.write(found)
        return image

    def acknowledged(self, at: int) -> set[str]:
        """Return what was told to be durable before the event number `at`."""
        return {event.word for event in self.events[:at] if isinstance(event, Acknowledged)}

    def _kept_names(self, at: int, random: Random, *, ordered: bool) -> set[int]:
        names = {
            number: event
            for number, event in enumerate(self.events[:at])
            if isinstance(event, Named)
        }
        durable = {
            number for number, event in names.items() if self._is_durable(number, at, event.folders)
        }
        if ordered:
            end = random.randint(max(durable, default=-1), at)
            return {number for number in names if number <= end}
        share = random.random()
        return durable | {number for number in names if random.random() < share}

    def _is_durable(self, number: int, at: int, inodes: set[Inode]) -> bool:
        return any(
            isinstance(event, Synced) and (event.inode is None or event.inode in inodes)
            for event in self.events[number + 1 : at]
        )


def _damaged(event: Write, random: Random) -> Write | None:
    """Return what a power loss makes of a write that was not synced; None: it is lost."""
    if event.data is None:
        return event if random.random() < 0.5 else None
    data = event.data
    match random.choice(("kept", "lost", "cut", "nul", "hole")):
        case "kept":
            return event
        case "cut":
            return Write(event.file, event.place, data[: random.randint(0, len(data))])
        case "nul":
            return Write(event.file, event.place, bytes(len(data)))
        case "hole":
            start = random.randrange(max(1, len(data)))
            hole = data[:start] + bytes(len(data[start : start + _PAGE])) + data[start + _PAGE :]
            return Write(event.file, event.place, hole)
    return None


def _reachable(image: Image) -> set[Inode]:
    return {inode for names in image.folders.values() for inode in names.values()}


def _of(descriptor: int) -> Inode:
    return os.fstat(descriptor).st_ino
