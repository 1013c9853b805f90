"""What a restore into a mailbox that is there would bring now, counted for a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from backupng.engine.mailserver.port import MailboxWriter
from backupng.engine.model import FOLDER_LIKE, DirectoryEntry, ItemKind
from backupng.engine.operations.base import Context
from backupng.engine.restore.dry_mailbox import DryMailbox
from backupng.engine.restore.inject import Injection
from backupng.engine.restore.rename import Plan

NO_ITEMS: Final = FOLDER_LIKE | {ItemKind.TAG, ItemKind.CONVERSATION}
"""What pages do not call an item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """What comes; `kinds` are the numbers of `items` by kind, folders are counted apart.

    `there` are in the mailbox already, `lost` cannot be restored. `folder` is the path of the new
    folder that everything comes to, empty if none is made.
    """

    items: int = 0
    size_bytes: int = 0
    folders: int = 0
    kinds: Mapping[ItemKind, int] = field(default_factory=dict)
    there: int = 0
    lost: int = 0
    folder: str = ""


def coming(
    ctx: Context, entry: DirectoryEntry, plan: Plan, into: Callable[[MailboxWriter], Injection]
) -> Coming:
    """Return what a plan would bring into a mailbox by a run that changes nothing there."""
    with ctx.destination.open(entry) as real:
        mailbox = DryMailbox(real)
        injection = into(mailbox)
        unreadable = len(injection.selection.unreadable)
        injection.run(plan)
    kinds = {kind: number for kind, number in injection.kinds.items() if kind not in NO_ITEMS}
    return Coming(
        items=sum(kinds.values()),
        size_bytes=mailbox.coming_bytes.total(),
        folders=sum(injection.kinds[kind] for kind in FOLDER_LIKE),
        kinds=dict(sorted(kinds.items())),
        there=injection.skipped,
        lost=unreadable + len(injection.unrestored),
        folder=f"/{injection.top}" if injection.top else "",
    )
