"""What `sandbox list` shows: every live item of a mailbox, in words."""

from __future__ import annotations

from typing import Any, Final

from backupng.engine.errors import ItemError
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.model import (
    FOLDER_LIKE,
    AccountId,
    DirectoryEntry,
    ItemId,
    ItemKind,
    ItemState,
)

_HIDDEN: Final = frozenset({ItemKind.CONVERSATION, ItemKind.TAG})
_LAST: Final = 2**32 - 1
"""The highest change number there can be."""
_ROOT: Final = int(SystemFolder.ROOT)
_ROOTS: Final = frozenset({int(SystemFolder.USER_ROOT), int(SystemFolder.ROOT)})


def listing(sandbox: Sandbox, account: DirectoryEntry, *, deleted: bool = False) -> dict[str, Any]:
    """Return the account, its items ascending by id and its tags; on request its dumpster too."""
    source = sandbox.source()
    with source.snapshot():
        mailbox = source.mailbox(AccountId(account.entry_id))
        found = source.states(mailbox, sorted(source.heads(mailbox))) if mailbox else ()
        states = {item: state for item, state in found if not isinstance(state, ItemError)}
        dumped = list(source.dumped(mailbox, 0, _LAST)) if mailbox and deleted else []
    gone = [_shown(state, states) for _, state in dumped if not isinstance(state, ItemError)]
    return {
        "account": {"id": account.entry_id, "name": account.name},
        "items": [
            _shown(state, states)
            for state in sorted(states.values(), key=lambda state: state.item_id)
            if state.kind not in _HIDDEN and state.item_id != _ROOT
        ],
        "tags": [
            {"id": state.item_id, "name": state.name, "color": state.color}
            for state in sorted(states.values(), key=lambda state: state.item_id)
            if state.kind is ItemKind.TAG
        ],
        **({"deleted": gone} if deleted else {}),
    }


def _shown(state: ItemState, states: dict[ItemId, ItemState]) -> dict[str, Any]:
    folder_like = state.kind in FOLDER_LIKE
    return {
        "id": state.item_id,
        "type": state.kind.value,
        "folder": folder_path(state.folder_id, states),
        "name": state.name,
        "subject": None if folder_like else state.subject,
        "flags": state.flags,
        "unread": state.unread,
        "tags": list(state.tags),
        "color": state.color,
        "date": state.date,
        "size": state.size,
        "digest": state.digest,
    }


def folder_path(folder: ItemId | None, states: dict[ItemId, ItemState]) -> str:
    """Return a folder's absolute path, `/` for the tops; a lost parent ends the walk."""
    names: list[str] = []
    seen: set[ItemId] = set()
    while folder is not None and folder not in _ROOTS and folder in states and folder not in seen:
        seen.add(folder)
        names.append(states[folder].name or "")
        folder = states[folder].folder_id
    return "/" + "/".join(reversed(names))
