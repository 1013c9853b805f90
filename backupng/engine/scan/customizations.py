"""What an admin has changed in the server's own configuration folders, kept as an archive.

It is restored by hand, so an archive is a plain `tar.gz`. A scan makes one when anything there is
not as it was for the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from backupng.engine.backuppath import customizations, layout
from backupng.engine.backuppath.customizations import Archive
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.mailserver.port import Configuration
from backupng.engine.model import Unread

_SAID: Final = "customizations"
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An archive that was made, and what could not be read for it."""

    name: str
    unread: tuple[Unread, ...]


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
    read is left out and told; if it may be read another time, the next scan archives anew. Raises
    what the writer raises.
    """
    mark = configuration.mark
    if not mark:
        return None, {}
    there = customizations.archives(path.tree)
    said = path.checkpoint().get(_SAID)
    if said in [{"archive": each.name, "mark": mark} for each in there]:
        return None, {}
    name = _name(there, moment.replace(tzinfo=None))
    unread = writer.add_file(layout.SERVER / name, partial(configuration.pack, pause=pause))
    is_settled = not any(each.may_pass for each in unread)
    said = {"archive": name, "mark": mark if is_settled else ""}
    return Kept(name=name, unread=tuple(unread)), {_SAID: said}


def _name(there: Sequence[Archive], moment: datetime) -> str:
    """Return a name behind those there are, also in the hour that the zone has twice."""
    if there:
        moment = max(moment, there[-1].made + _SECOND)
    return customizations.name_of(moment)
