"""The rule that delivery by LMTP has for messages: no line is too long (pure).

Zimbra/zm-mailbox `common/src/java/com/zimbra/common/mime/Rfc822ValidationInputStream.java`: a line
is what lies between two bytes CR or LF.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from backupng.engine.errors import InvalidItem
from backupng.engine.model import ItemId

LMTP_LONGEST_LINE: Final = 10_240
"""Bytes, as servers have it (`zimbra_lmtp_max_line_length`)."""


class Lines:
    """Watches the bytes of a message go by; `longest` is its longest line so far, in bytes."""

    def __init__(self) -> None:
        self.longest = 0
        self._open = 0

    def see(self, chunk: bytes) -> None:
        """Take the next bytes."""
        first, *others = chunk.replace(b"\r", b"\n").split(b"\n")
        self._open += len(first)
        self.longest = max(self.longest, self._open)
        if others:
            self._open = len(others[-1])
            self.longest = max(self.longest, *map(len, others))


def require_short(message: Iterable[bytes], item: ItemId, longest: int) -> None:
    """Refuse a message with a line that the server does not take. Raises InvalidItem."""
    lines = Lines()
    for chunk in message:
        lines.see(chunk)
    if lines.longest > longest:
        raise InvalidItem(
            f"item {item} has a line of {lines.longest} bytes: the server takes {longest}",
            hint="It passes while zimbra_lmtp_validate_messages is set to false.",
        )
