"""Folders that people type: walked without links, refused in one sentence, then held.

The one check of a folder to write an export into and of one to read a backup from, for command line
and console (`reliability.md` §6.1). Each component is opened from the one before it; the last stays
open, so that what is opened by its name later can be held against it.
"""

from __future__ import annotations

import errno
import os
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backupng.engine.backuppath.casing import require_case_sensitive
from backupng.engine.backuppath.disk import (
    FILE_MODE,
    Room,
    reason,
    require_writable,
    room_at,
)
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import FORMAT, LOCK, RESERVE, STAGING, TRASH, Place
from backupng.engine.backuppath.typed_walk import (
    above,
    answering,
    how_to_make,
    identities,
    identity,
    opened_folder,
    refused,
)
from backupng.engine.errors import BadRequest

LONGEST_PATH, LONGEST_NAME = 1024, 255
"""In bytes."""
USUAL_ROOTS: Final = tuple(map(Path, ("/mnt", "/srv", "/media")))
CLOSED: Final = tuple(map(Path, ("/proc", "/sys", "/dev", "/run", "/etc", "/boot", "/root")))
"""Never a place for a backup, whoever asks."""
_NAMED: Final = 3
_LOST: Final = "See whether its disk is mounted, or name a folder that is there."
_OURS: Final = frozenset({LOCK, STAGING, TRASH, RESERVE, ".pulses", "lost+found"})
"""What a killed beginner leaves in a folder that counts as empty, and a new file system."""
_GOES_ON: Final = "An export that did not come to its end goes on with resume true."
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SHOWN: Final = 100
_TURNING: Final = frozenset(
    map(chr, (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
)
"""Characters that turn the direction of text: a path with one reads as another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Where a typed folder may lie.

    `roots` are the allowed ones; links above them are followed, below them refused. `is_confined`:
    nothing outside of them is looked at at all. `tree` is the active Backup Path, `closed` are the
    program's own folders and those of the mail store.
    """

    roots: tuple[Path, ...]
    tree: Path
    closed: tuple[Path, ...] = ()
    is_confined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedFolder:
    """A folder that was found to be good, held by its descriptor."""

    path: Path
    descriptor: int
    room: Room
    is_on_the_same_disk: bool

    def warnings(self, needed_bytes: int = 0) -> list[str]:
        """Return what speaks against it and does not forbid it, one sentence each."""
        found = []
        if self.is_on_the_same_disk:
            found.append(
                f"{self.path} lies on the same disk as the Backup Path: if that disk fails, both"
                " are gone."
            )
        if needed_bytes > self.room.bytes:
            found.append(
                f"The disk of {self.path} may be too small: about {needed_bytes / 1e6:.0f} MB are"
                f" needed, {self.room.bytes / 1e6:.0f} MB are free."
            )
        return found

    def require_same(self, tree: Tree) -> None:
        """Raise BadRequest if a tree that was opened by the name of this folder is another one."""
        if tree.mark(Place("."))[:2] != identity(os.fstat(self.descriptor)):
            raise refused(
                self.path,
                "was replaced while it was looked at",
                code="path_missing",
                hint="See who changes it, then run the command again.",
            )


def misspelling(text: str) -> str:
    """Return what is wrong with the spelling of a path, to stand in a sentence; empty if nothing.

    Nothing is looked for on the disk.
    """
    if not text.strip():
        return "empty"
    if any(_is_unprintable(each) for each in text):
        return "with control characters or bytes that are no text"
    if not text.startswith("/"):
        return "not an absolute path: it has to begin with /"
    if len(text.encode()) > LONGEST_PATH:
        return f"longer than {LONGEST_PATH} bytes"
    names = text.split("/")
    if any(len(name.encode()) > LONGEST_NAME for name in names):
        return f"with a name of more than {LONGEST_NAME} bytes in it"
    return "not a path without `..`" if {".", ".."} & set(names) else ""


@contextmanager
def folder_to_write(path: Path, bounds: Bounds, *, is_begun: bool = False) -> Iterator[TypedFolder]:
    """Check and hold a folder that a new tree is to be written into.

    It has to be empty, unless something `is_begun` there that is to go on. Nothing is changed.
    Raises BadRequest (bad_value, path_…, no_space).
    """
    if bounds.tree in path.parents:
        # Said before it is looked for: nobody is to make it there.
        raise _in_use(path, "lies inside a Backup Path")
    with _held(path, bounds, missing=how_to_make(path)) as found:
        _require_apart(found, bounds)
        names = _names(found)
        if not is_begun:
            _require_empty(found, names)
        _require_usable(found)
        yield found


@contextmanager
def folder_to_keep(path: Path, bounds: Bounds) -> Iterator[TypedFolder]:
    """Check and hold a folder that is to be a server's Backup Path; whose it is is not looked at.

    Nothing is changed. Raises BadRequest (bad_value, path_…, no_space).
    """
    with _held(path, bounds, missing=how_to_make(path)) as found:
        _require_usable(found)
        yield found


@contextmanager
def folder_to_read(path: Path, bounds: Bounds) -> Iterator[TypedFolder]:
    """Check and hold a folder that a backup is to be read from; what it holds is not looked at.

    Raises BadRequest (bad_value, path_…).
    """
    with _held(path, bounds, missing=_LOST) as found:
        names = _names(found)
        if FORMAT in names:
            require_case_sensitive(found.descriptor, root=path)
        yield found


def _is_unprintable(character: str) -> bool:
    """Say whether it is a control character, one that turns the direction of text, or half one."""
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cs", "Zl", "Zp") or character in _TURNING


@contextmanager
def _held(path: Path, bounds: Bounds, *, missing: str) -> Iterator[TypedFolder]:
    _require_allowed(path, bounds)
    descriptor = opened_folder(path, bounds.roots, missing=missing)
    try:
        yield TypedFolder(
            path=path,
            descriptor=descriptor,
            room=room_at(descriptor),
            is_on_the_same_disk=os.fstat(descriptor).st_dev == _device_of(bounds.tree),
        )
    finally:
        os.close(descriptor)


def _require_allowed(path: Path, bounds: Bounds) -> None:
    """Refuse by its spelling alone: whether it exists is nobody's business then."""
    if flaw := misspelling(str(path)):
        raise BadRequest(
            f"{str(path)[:_SHOWN]!r} is not accepted: {flaw}.",
            hint="Expected: Path, such as /mnt/import.",
        )
    if bounds.is_confined and not any(map(path.is_relative_to, bounds.roots)):
        roots = ", ".join(map(str, bounds.roots))
        raise refused(
            path,
            "is not allowed",
            code="path_not_allowed",
            hint=f"Folders have to lie below one of these: {roots}. allowed_paths names them.",
        )
    for closed in (*CLOSED, *bounds.closed):
        if path.is_relative_to(closed) or closed.is_relative_to(path):
            raise refused(
                path,
                "is not allowed: the system, the mail store or Backup NG itself lies there",
                code="path_not_allowed",
                hint="Name a folder that is there for backups alone, such as /mnt/export.",
            )


# What lies there


def _names(folder: TypedFolder) -> list[str]:
    with answering(folder.path, folder.path, _LOST):
        return sorted(os.listdir(folder.descriptor))


def _device_of(tree: Path) -> int | None:
    with suppress(OSError):
        return tree.stat().st_dev
    return None


def _require_empty(folder: TypedFolder, names: Sequence[str]) -> None:
    there = [name for name in names if name not in _OURS]
    if not there:
        return
    first = ", ".join(map(repr, there[:_NAMED]))
    more = f" and {len(there) - _NAMED} more" if len(there) > _NAMED else ""
    raise refused(
        folder.path,
        f"is not empty: it holds {first}{more}",
        code="path_not_empty",
        hint="Name an empty folder." + (f" {_GOES_ON}" if FORMAT in there else ""),
    )


def _require_apart(folder: TypedFolder, bounds: Bounds) -> None:
    """Refuse a folder in a Backup Path, or around the active one, by whatever name.

    Compared are devices and inodes from each up to the root: a bind mount has those of its source.
    """
    own = identity(os.fstat(folder.descriptor))
    tree, around = identities(bounds.tree)
    inside, is_in_a_tree = above(folder.descriptor)
    if own == tree:
        problem = "is the active Backup Path"
    elif own in around:
        problem = "contains the active Backup Path"
    elif tree in inside or is_in_a_tree:
        problem = "lies inside a Backup Path"
    else:
        return
    raise _in_use(folder.path, problem)


def _in_use(path: Path, problem: str) -> BadRequest:
    hint = "Name a folder apart from every Backup Path, best on another disk."
    return refused(path, problem, code="path_in_use", hint=hint)


def _require_usable(folder: TypedFolder) -> None:
    """Have a file made in it and take it away; its file system has to tell letters apart."""
    require_writable(folder.descriptor, root=folder.path)
    name = f".Probe-{uuid.uuid4()}"
    try:
        probe = os.open(name, _NEW, FILE_MODE, dir_fd=folder.descriptor)
        try:
            os.write(probe, name.encode())
        finally:
            os.close(probe)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise refused(
            folder.path,
            f"cannot be written: {reason(error)}",
            code="no_space" if is_full else "path_not_writable",
            hint="Make room there, or name a folder on another disk."
            if is_full
            else "Repair its disk, or name a folder on another one.",
        ) from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder.descriptor)
    require_case_sensitive(folder.descriptor, root=folder.path)
