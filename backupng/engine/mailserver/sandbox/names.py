"""Names of folders, documents and tags: which the server takes, and as what it stores them.

Zimbra/zm-mailbox `store/src/java/com/zimbra/cs/mailbox/MailItem.java` and `Tag.java`
(validateItemName).
"""

from __future__ import annotations

import re
from typing import Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.zimbra.parsing import utf16

LONGEST_NAME: Final = 255
LONGEST_TAG_NAME: Final = 128

_NO_TEXT: Final = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_BAD_IN_NAME = re.compile(rf'[:/"\t\r\n{_NO_TEXT}]')
_BAD_IN_TAG = re.compile(rf"[:\\{_NO_TEXT}]")
_BREAKS = re.compile(r"[\t\r\n]")


def item_name(name: str) -> str:
    """Return the name of a folder or document as it is stored. Raises InvalidItem."""
    trimmed = name.rstrip(" ")
    if trimmed in ("", ".", "..") or _BAD_IN_NAME.search(name):
        raise _refusal(name, "a folder or document")
    return _fitting(trimmed, LONGEST_NAME, "a folder or document")


def tag_name(name: str) -> str:
    """Return the name of a tag as it is stored. Raises InvalidItem."""
    trimmed = name.strip(" \t\r\n")
    if not trimmed or _BAD_IN_TAG.search(name):
        raise _refusal(name, "a tag")
    return _fitting(_BREAKS.sub(" ", trimmed), LONGEST_TAG_NAME, "a tag")


def _fitting(name: str, longest: int, what: str) -> str:
    if len(utf16.to_units(name)) > longest:
        raise _refusal(name, what)
    return name


def _refusal(name: str, what: str) -> InvalidItem:
    return InvalidItem(f"{name[:40]!r} cannot be the name of {what}.", code="bad_value")
