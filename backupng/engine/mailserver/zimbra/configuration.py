"""The folders that an admin configures by hand, below the install root.

Nothing of it is in the directory: templates, certificates, the settings of Postfix.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import Final

from backupng.engine.model import Unread

FOLDERS: Final = ("conf", "postfix/conf", "common/conf")
"""Postfix has its own in the second, since Zimbra 8.7 in the third."""
_ARCHIVING: Final = "backupng.engine.mailserver.zimbra.archiving"
"""Loaded when there is something to pack: mostly nothing has changed."""


class Configuration:
    """Implements `port.Configuration` for an installation below `home`.

    What lies there is looked at once. Links are not followed, but for the folders themselves.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._unread: list[Unread] = []

    @cached_property
    def mark(self) -> str:
        """A text that differs once anything has been changed; empty if there is nothing."""
        if not (self._entries or self._unread):
            return ""
        digest = hashlib.sha256(os.fsencode(self._home))
        for each in self._unread:
            digest.update(os.fsencode(f"{each}\n"))
        for path, seen in self._entries:
            owner = (seen.st_mode, seen.st_uid, seen.st_gid)
            # A file that is renamed within a folder tells by its name.
            content = () if S_ISDIR(seen.st_mode) else (seen.st_size, seen.st_mtime_ns)
            digest.update(os.fsencode(f"{path}\0{owner}{content}\n"))
        return digest.hexdigest()

    def pack(self, write: Callable[[bytes], object], *, pause: Callable[[], None]) -> list[Unread]:
        """Write all of it as a `tar.gz` with paths below the install root.

        Returns what could not be read. `pause` is called before each file.
        """
        packed = import_module(_ARCHIVING).pack(self._home, self._entries, write, pause=pause)
        return [*self._unread, *packed]

    @cached_property
    def _entries(self) -> list[tuple[str, os.stat_result]]:
        """All that lies there, parents first, by name, with what `lstat` says of it."""
        return [
            entry
            for folder in FOLDERS
            for entry in self._below(folder, self._home / folder, follow=True)
        ]

    def _below(
        self, path: str, place: Path, *, follow: bool = False
    ) -> Iterator[tuple[str, os.stat_result]]:
        try:
            seen = place.stat(follow_symlinks=follow)
            is_folder = S_ISDIR(seen.st_mode)
            if is_folder or S_ISREG(seen.st_mode) or S_ISLNK(seen.st_mode):
                yield path, seen
            names = sorted(os.listdir(place)) if is_folder else ()
        except (FileNotFoundError, NotADirectoryError):
            return  # Not there, or just gone.
        except OSError as error:
            self._unread.append(Unread.of(path, error))
            return
        for name in names:
            yield from self._below(f"{path}/{name}", place / name)
