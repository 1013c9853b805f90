r"""Who writes to a tree: the note in `.lock`, and the gate that every writer passes.

    host <id> boot <id> inode <number> writers <number>\n

`writers` counts those at work and those that were killed; 0 is a clean stop. The note of another
boot with writers means that a power loss may have cost what was not synced. The host is `-` if
nobody told it, or if a person has confirmed that it writes there no more. The inode is that of
`.lock` itself: a copied tree has another one, and its note says nothing of the copy.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum, auto

from backupng.engine.backuppath import disk
from backupng.engine.backuppath.disk import Kind, writing
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import (
    ACCOUNTS,
    BLOBS,
    CHECKPOINT,
    LOCK,
    SERVER,
    STAGING,
    Place,
)
from backupng.engine.errors import BackupPathBusy, BackupPathUnwritable, ReadError

_NOTE = re.compile(rb"host (\S+) boot (\S+) inode ([0-9]{1,20}) writers ([0-9]{1,9}) *\n")
_LENGTH = 160
_NOBODY = "-"


class Past(Enum):
    """What the note tells of the writers before."""

    CLEAN = auto()
    POWER_LOSS = auto()
    """Another boot, and no clean stop: what was not synced then may be lost or torn."""
    UNKNOWN = auto()
    """No note of this tree: it is new, or a copy."""


@dataclass(frozen=True, slots=True)
class Note:
    """Who wrote to a tree last, and how many of its writers have not said good-bye."""

    host: str
    boot: str
    inode: int
    writers: int

    @property
    def past(self) -> Past:
        """What to make of it now."""
        is_clean = self.writers == 0 or self.boot == disk.boot_id()
        return Past.CLEAN if is_clean else Past.POWER_LOSS


@contextmanager
def passed(tree: Tree, host: str, recover: Callable[[Past], object]) -> Iterator[None]:
    """Hold the tree's lock shared, as every writer does for its life.

    The first one after an unclean boot calls `recover` before that, while nobody else writes.
    `host` is the identity of this host, empty if nobody told it. Raises BackupPathBusy during a
    repair or migration, for a tree that another host has written to, and for one to be recovered
    that somebody writes to.
    """
    with ExitStack() as stack:
        with tree.locked(STAGING):
            lock = stack.enter_context(tree.locked_for_writing())
            with writing(tree.root, LOCK):
                found = _read(lock)
                _require_own(tree, host, found)
                _count_in(lock, _settled(tree, lock, found, recover), host)
        try:
            yield
        finally:
            if not tree.is_unsettled:
                _count_off(tree, lock)


def require_own(tree: Tree, host: str) -> None:
    """Raise BackupPathBusy if another host has written to the tree; nothing is changed."""
    mark = tree.mark(LOCK)
    said = tree.read(LOCK, limit=disk.LONGEST_NOTE) if mark else None
    _require_own(tree, host, _parse(said or b"", mark[1] if mark else 0))


def confirm(tree: Tree) -> None:
    """Forget which host wrote here: a person says that none but this one does any more."""
    with tree.locked(STAGING), tree.locked_for_writing() as lock, writing(tree.root, LOCK):
        found = _read(lock)
        if found:
            _write(lock, replace(found, host=""), durably=True)


def _settled(tree: Tree, lock: int, found: Note | None, recover: Callable[[Past], object]) -> int:
    """Return how many writers there are, once what the earlier ones left is certain."""
    past = found.past if found else _unknown(lock)
    writers = found.writers if found and past is Past.CLEAN else 0
    if past is Past.CLEAN and not writers:
        return 0
    if not _is_alone(tree, lock):
        _settle_beside(tree, lock, past, writers)
        return writers
    try:
        if past is Past.CLEAN:
            _make_certain(tree, lock)
        else:
            recover(past)
        return 0
    finally:
        disk.lock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB, root=tree.root)


def _settle_beside(tree: Tree, lock: int, past: Past, writers: int) -> None:
    """Do what can be done while others write; they stay counted, and so do those killed."""
    if past is not Past.CLEAN:
        raise BackupPathBusy(
            f"{tree.root} was not closed cleanly, or its .lock is damaged, and somebody writes to"
            " it that the note there does not tell of.",
            hint="End whatever writes there, on this host or another one, then run it again.",
        )
    if writers > tree.count_pulses():
        _make_certain(tree, lock)


def _make_certain(tree: Tree, lock: int) -> None:
    """Have on the disk what writers left in memory that were killed, or could not write."""
    disk.sync_whole(lock)
    if not disk.can_sync_whole(lock):
        # That told of no errors: each file is asked for its own.
        for folder in (ACCOUNTS, SERVER, BLOBS, CHECKPOINT):
            _sync_below(tree, folder)


def _sync_below(tree: Tree, folder: Place) -> None:
    try:
        found = tree.entries(folder)
    except ReadError as error:
        raise BackupPathUnwritable(str(error)) from error
    for name, kind in found:
        if kind is Kind.FILE:
            tree.rely_on(folder / name)
        elif kind is Kind.FOLDER:
            _sync_below(tree, folder / name)
    tree.sync()


def _unknown(lock: int) -> Past:
    """Say what a note means that is none of this file: it may be a power loss that spoilt it."""
    said = disk.noted(lock)
    return Past.POWER_LOSS if said and not _NOTE.fullmatch(said) else Past.UNKNOWN


def _is_alone(tree: Tree, lock: int) -> bool:
    """Make the lock an exclusive one, if nobody else holds it. Raises BackupPathBusy."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # The kernel has let go of it: a repair may have come in between.
        disk.lock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB, root=tree.root)
        return False
    return True


def _require_own(tree: Tree, host: str, found: Note | None) -> None:
    if not host or found is None or found.host in ("", host) or found.boot == disk.boot_id():
        return
    raise BackupPathBusy(
        f"{tree.root} was last written to by another host, {found.host}.",
        hint="Two hosts must never write there. If that one does no more, set the Backup Path"
        f" again: backupng backup setProperty ZxBackup_DestPath {tree.root}",
    )


def _count_in(lock: int, writers: int, host: str) -> None:
    note = Note(host, disk.boot_id(), os.fstat(lock).st_ino, writers + 1)
    # Before anything else is written: a power loss from now on needs a recovery.
    _write(lock, note, durably=writers == 0)


def _count_off(tree: Tree, lock: int) -> None:
    with suppress(BackupPathUnwritable), tree.locked(STAGING), writing(tree.root, LOCK):
        found = _read(lock)
        if found and found.writers:
            _write(lock, replace(found, writers=found.writers - 1), durably=False)


def _read(lock: int) -> Note | None:
    return _parse(disk.noted(lock), os.fstat(lock).st_ino)


def _parse(said: bytes, inode: int) -> Note | None:
    found = _NOTE.fullmatch(said)
    if found is None or int(found[3]) != inode:
        return None
    host = found[1].decode("ascii", "replace")
    return Note("" if host == _NOBODY else host, found[2].decode(), inode, int(found[4]))


def _write(lock: int, note: Note, *, durably: bool) -> None:
    said = f"host {note.host or _NOBODY} boot {note.boot} inode {note.inode} writers {note.writers}"
    disk.note(lock, f"{said:<{_LENGTH - 1}}\n".encode(), durably=durably)
