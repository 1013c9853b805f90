"""Holds files of a redo log that the server may delete: hard links in a folder of our own.

    <folder of redo.log>/backup-ng/seq<sequence>-<created, ms>-<inode>.log

A server deletes a file once it is full (`zimbraRedoLogDeleteOnRollover`, TRUE by default). The link
keeps it, even while nobody reads. It lies beside the log, for links do not cross file systems.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from pathlib import Path

from backupng.engine.redolog.faults import RedoLogError
from backupng.engine.redolog.reader import RedoLog

FOLDER = "backup-ng"
_NEW = "new.log"
_NAME = re.compile(r"seq(\d+)-(-?\d+)-(\d+)\.log")
_SPARE = 2
"""So many files read to their end are kept for a reader that never says what it has safe."""
_log = logging.getLogger(__name__)


class Holder:
    """The links to files of one log; where none can be made there are none."""

    def __init__(self, current: Path) -> None:
        self._current = current
        self.folder = current.parent / FOLDER
        self._refused = 0

    def hold(self) -> None:
        """Link to the current file, unless that was done or cannot be done."""
        try:
            inode = self._current.stat().st_ino
        except OSError:
            return
        if inode == self._refused or self.path_of(inode) is not None:
            return
        try:
            self._link()
        except OSError as error:
            self._refused = inode
            what = error.strerror or str(error)
            _log.warning("%s cannot be held by a link in %s: %s", self._current, self.folder, what)
        except RedoLogError as error:
            _log.info("%s", error)

    def _link(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        new = self.folder / _NEW
        new.unlink(missing_ok=True)
        # What is linked is looked at, not what has the name meanwhile: it may be the next file.
        try:
            os.link(self._current, new)
        except FileNotFoundError:
            return
        try:
            with RedoLog(new) as log:
                head, inode = log.header, log.inode
        except RedoLogError:
            new.unlink(missing_ok=True)
            raise
        new.rename(self.folder / f"seq{head.sequence}-{head.created}-{inode}.log")

    def path_of(self, inode: int) -> Path | None:
        """Return the link to a file, if there is one."""
        return next((path for path in self.paths() if path.name.endswith(f"-{inode}.log")), None)

    def paths(self) -> list[Path]:
        """Return all links; a folder that was put back from a copy holds files of other inodes."""
        return [path for path in self._named() if _is_link(path)]

    def _named(self) -> list[Path]:
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        return [self.folder / name for name in names if _NAME.fullmatch(name)]

    def release(self, before: tuple[int, int], *, spare: int = 0) -> None:
        """Delete the links to files older than that one (created, sequence), but the newest few."""
        older = sorted((key, path) for path in self._named() if (key := _key(path)) < before)
        for _, path in older[: len(older) - spare]:
            with suppress(OSError):
                path.unlink()

    def trim(self, before: tuple[int, int]) -> None:
        """Delete the links to files older than that one that nobody can be expected to need."""
        self.release(before, spare=_SPARE)


def _is_link(path: Path) -> bool:
    """Say whether a file is the one that its name was given for."""
    try:
        return path.name.endswith(f"-{path.stat().st_ino}.log")
    except OSError:
        return False


def _key(path: Path) -> tuple[int, int]:
    found = _NAME.fullmatch(path.name)
    if found is None:
        return (0, 0)
    return int(found[2]), int(found[1])
