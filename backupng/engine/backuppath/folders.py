"""The folders of a tree that are kept open: found without following links, made where they lack.

Beside `fsio`, which owns them, nobody uses them. Every component of a path is opened from the
folder before it. A purge moves accounts away as a whole, and they may come again: what is open of
one counts only while its folder is in its place.
"""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress
from typing import Final

from backupng.engine.backuppath.disk import FOLDER_MODE, set_mode
from backupng.engine.backuppath.layout import ACCOUNTS, Place, folder_of, lock_folder

KEPT_OPEN: Final = max(256, min(2048, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folders:
    """Descriptors of the folders used last; all of them raise OSError.

    `changed` are those in which a name is new, and perhaps not durable. `new` are those that were
    made here since that was last cleared. `masked`: the umask takes from the modes of what is made.
    """

    def __init__(self, root: int, *, masked: bool) -> None:
        self._root = root
        self._masked = masked
        self.kept: dict[Place, int] = {}
        self.changed: set[Place] = set()
        self.new: set[Place] = set()

    def close(self) -> None:
        """Close every descriptor."""
        for descriptor in self.kept.values():
            os.close(descriptor)
        self.kept.clear()

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
            oldest = next(iter(self.kept))
            os.close(self.kept.pop(oldest))
        self.kept[folder] = descriptor
        return descriptor

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
            if not seldom_there:
                # Somebody has just made it, and may not have come to the sync.
                self.changed.add(above)
            return self.at(folder)
        self.changed.add(above)
        self.new.add(folder)
        descriptor = self.at(folder)
        if self._masked:
            set_mode(descriptor, FOLDER_MODE)
        return descriptor

    def forget(self, folder: Place) -> None:
        """Close what is open of a folder that is not in its place any more."""
        for each in [each for each in self.kept if each.is_below(folder)]:
            os.close(self.kept.pop(each))
