"""Set attributes of an entry, though some of them be refused."""

from __future__ import annotations

from collections.abc import Iterator

from backupng.engine.errors import MailServerRefused
from backupng.engine.mailserver.port import Attributes, Destination
from backupng.engine.model import DirectoryEntry


def set_attributes(
    destination: Destination, entry: DirectoryEntry, attributes: Attributes
) -> Iterator[tuple[str, str]]:
    """Set attributes of an entry; yield those that are refused, each with why.

    One refused attribute fails a whole request, so what is refused is parted until it stands alone.
    """
    if not attributes:
        return
    try:
        destination.modify(entry, attributes)
    except MailServerRefused as error:
        names = list(attributes)
        if len(names) == 1:
            yield names[0], str(error).rstrip(".")
            return
        half = len(names) // 2
        for some in (names[:half], names[half:]):
            yield from set_attributes(destination, entry, {each: attributes[each] for each in some})
