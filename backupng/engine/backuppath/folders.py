"""The folders of a tree that are kept open: found without following links, made where they lack.

Beside `fsio`, which owns them, nobody uses them. Every component of a path is opened from the
folder before it. A purge moves accounts away as a whole, and they may come again: what is open of
one counts only while its folder is in its place.
"""

from __future__ import annotations

import errno
import os
import resource
from collections import defaultdict
from contextlib import suppress
from typing import Final

from backupng.engine.backuppath.disk import FOLDER_MODE, set_mode
from backupng.engine.backuppath.layout import ACCOUNTS, Place, folder_of, lock_folder

KEPT_OPEN: Final = max(256, min(2048, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folders:
    """Descriptors of the folders used last; all of them raise OSError.

    `changed` are those in which a name is new, and perhaps not durable. `named` are those whose own
    names, up to the root, are durable once `changed` is synced. `new` are those that were made here
    since that was last cleared. `masked`: the umask takes from the modes of what is made.
    """

    def __init__(self, root: int, *, masked: bool) -> None:
        self._root = root
        self._masked = masked
        self.kept: dict[Place, int] = {}
        self._together: dict[Place, set[Place]] = defaultdict(set)
        """What is kept of each account, and of each other folder at the root."""
        self.changed: set[Place] = set()
        self.named: set[Place] = set()
        self.new: set[Place] = set()

    def close(self) -> None:
        """Close every descriptor."""
        for descriptor in self.kept.values():
            os.close(descriptor)
        self.kept.clear()
        self._together.clear()

    def at(self, folder: Place) -> int:
        """Return a descriptor of the folder."""
        descriptor = self.kept.pop(folder, -1)
        if descriptor >= 0:
            # Moved to the end: the ones used last are the last to be closed.
            self.kept[folder] = descriptor
            return descriptor
        if not folder:
            return self._root
        if folder.name in ("", ".", ".."):
            raise OSError(errno.EINVAL, "it leads out of the tree")
        if folder_of(folder) == ACCOUNTS:
            # What is still open below may be of one that is gone.
            self.forget(folder)
        descriptor = os.open(folder.name, OPEN, dir_fd=self.at(folder_of(folder)))
        if len(self.kept) >= KEPT_OPEN:
            self._close(next(iter(self.kept)))
        self.kept[folder] = descriptor
        self._together[_whole_of(folder)].add(folder)
        return descriptor

    def rely_on(self, folder: Place) -> None:
        """Have names in a folder become durable, and its own and those above it, whoever made them.

        Another writer may have made them just now, and not have come to its sync.
        """
        self.changed.add(folder)
        while folder and folder not in self.named:
            self.named.add(folder)
            folder = folder_of(folder)
            self.changed.add(folder)

    def in_place(self, folder: Place) -> int:
        """Return a descriptor of the folder to read in, found anew if its account was replaced."""
        account = lock_folder(folder) if folder.is_below(ACCOUNTS) else ACCOUNTS
        if account != ACCOUNTS and not self._is_there(account):
            self.forget(account)
        return self.at(folder)

    def _is_there(self, account: Place) -> bool:
        """Say whether what is open as an account's folder is the one in its place."""
        if account not in self.kept:
            return False
        with suppress(FileNotFoundError):
            found = os.stat(account, dir_fd=self._root, follow_symlinks=False)
            # Opened once more it stays open longer than what is below.
            return os.path.samestat(found, os.fstat(self.at(account)))
        return False

    def made(self, folder: Place, *, seldom_there: bool = False) -> int:
        """Return a descriptor of the folder, made if it is not there."""
        if not seldom_there or folder in self.kept:
            with suppress(FileNotFoundError):
                return self.at(folder)
        above = folder_of(folder)
        parent = self.made(above)
        try:
            os.mkdir(folder.name, FOLDER_MODE, dir_fd=parent)
        except FileExistsError:
            return self.at(folder)
        self.rely_on(above)
        self.new.add(folder)
        descriptor = self.at(folder)
        if self._masked:
            set_mode(descriptor, FOLDER_MODE)
        return descriptor

    def forget(self, folder: Place) -> None:
        """Close what is open of a folder that is not in its place any more."""
        together = self._together.get(_whole_of(folder), ())
        for each in [each for each in together if each.is_below(folder)]:
            self._close(each)

    def _close(self, folder: Place) -> None:
        os.close(self.kept.pop(folder))
        self.named.discard(folder)
        whole = _whole_of(folder)
        self._together[whole].discard(folder)
        if not self._together[whole]:
            del self._together[whole]


def _whole_of(folder: Place) -> Place:
    """Return what comes and goes as a whole: an account, or what lies at the root."""
    parts = folder.parts
    return Place("/".join(parts[: 2 if parts[0] == ACCOUNTS else 1]))
