"""What an admin has changed in the server's own configuration folders, kept as an archive.

It is restored by hand, so an archive is a plain `tar.gz`. A scan makes one when anything there is
not as it was for the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from backupng.engine.backuppath import customizations, layout
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.mailserver.port import Configuration

_SAID: Final = "customizations"
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An archive that was made, and what could not be read for it: path and reason."""

    name: str
    unread: tuple[tuple[str, str], ...]


def keep(
    configuration: Configuration,
    path: BackupPath,
    writer: Writer,
    *,
    moment: datetime,
    pause: Callable[[], None],
) -> tuple[Kept | None, Mapping[str, Any]]:
    """Archive the configuration if it is not as it was for the newest archive.

    Returns the archive that was made, if any, and what the checkpoint is to say of it. `moment` is
    in the zone of the server; `pause` is called between files and may end it. A file that cannot be
    read is left out and told. Raises what the writer raises.
    """
    mark = configuration.mark
    if not mark:
        return None, {}
    there = {each.name for each in customizations.archives(path.tree)}
    said = path.checkpoint().get(_SAID)
    if isinstance(said, dict) and said.get("mark") == mark and said.get("archive") in there:
        return None, {}
    while (name := customizations.name_of(moment)) in there:
        moment += _SECOND
    pack = partial(configuration.pack, pause=pause)
    unread = writer.add_file(layout.SERVER / name, pack)
    return Kept(name=name, unread=tuple(unread)), {_SAID: {"archive": name, "mark": mark}}
