"""doItemRestore."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.mailserver.port import MailboxWriter
from backupng.engine.mailserver.zimbra.parsing import utf16
from backupng.engine.model import ItemId, ItemKind, ItemState
from backupng.engine.operations.base import Context, Operation, Report
from backupng.engine.operations.coming import Coming, coming
from backupng.engine.operations.moments import before_of
from backupng.engine.operations.named_path import opened
from backupng.engine.operations.own_mailbox import OwnMailbox, path_of
from backupng.engine.operations.restoring import Restoring, known_at
from backupng.engine.operations.words import (
    LAST,
    NO_ADDRESSES,
    AccountNameOrId,
    Addresses,
    ItemIds,
    Moment,
)
from backupng.engine.restore.inject import Injection
from backupng.engine.restore.origins import Origins
from backupng.engine.restore.rename import order
from backupng.engine.restore.select import ALL_TIME, Selection
from backupng.engine.restore.single import Single, cannot_come_back
from backupng.engine.restore.undelete import Gone

_ELSEWHERE: Final = (
    "Restore into another folder to have a copy there (restore_folder), or choose an earlier"
    " state (date)."
)
_BAD_IN_NAME: Final = re.compile(r'[:"\x00-\x1f\ud800-\udfff\ufffe\uffff]')
"""Zimbra/zm-mailbox `store/src/java/com/zimbra/cs/mailbox/MailItem.java` (validateItemName)."""
_LONGEST_NAME: Final = 255
_NAMED: Final = 10
"""So many items are named in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoItemRestore(Operation):
    """Bring single items back to their owner's mailbox."""

    command: ClassVar[str] = "doItemRestore"
    title: ClassVar[str] = "Item Restore"
    summary: ClassVar[str] = "Item Restore: brings a single item back to its owner's mailbox"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup doitemrestore jack@example.com 4784",
        "backupng backup doItemRestore jack@example.com 4784,4790 restore_folder /Restored",
    )

    account_name: AccountNameOrId
    item_id: ItemIds
    restore_folder: str = field(default="", metadata={"default": "the original folder"})
    date: Moment = field(default=LAST, metadata={"values": '"dd/MM/yyyy HH:mm:ss"|last'})
    backup_path: Path | None = field(default=None, metadata={"default": "the active Backup Path"})
    notifications: Addresses = NO_ADDRESSES
    dryrun: bool = False

    def check(self, ctx: Context) -> None:
        """Refuse items that the backup does not have, and those that are still in place."""
        with opened(ctx, self.backup_path) as path:
            self._prepare(ctx, path)

    def run(self, ctx: Context) -> Report:
        """Choose a state of each item, make it, read it back."""
        with opened(ctx, self.backup_path) as path:
            return self._restore(ctx, path)

    def coming(self, ctx: Context) -> Coming:
        """Return what a run would bring now, without a scan before; nothing is changed.

        Raises BadRequest as `check` does.
        """
        with opened(ctx, self.backup_path) as path:
            mailbox, single = self._prepare(ctx, path)
            selection = single.selection()
            plan = single.plan(order(selection.states())).with_shares()
            into = partial(_injection, ctx, mailbox, single, selection)
            found = coming(ctx, mailbox.entry, plan, into)
        return replace(found, there=found.there + len(self.item_id) - len(single.items))

    def _restore(self, ctx: Context, path: BackupPath) -> Report:
        report = Report()
        mailbox, _ = self._prepare(ctx, path)
        mailbox.settle(ctx, report)
        mailbox, single = self._prepare(ctx, path)
        known = known_at(ctx, path, mailbox.account, single.before or ALL_TIME)
        restoring = Restoring(ctx, report, mailbox.entry.name, dry=self.dryrun)
        selection = single.selection()
        plan = single.plan(restoring.plan(selection)).with_shares()
        with restoring.into(mailbox.entry) as writer:
            injection = _injection(ctx, mailbox, single, selection, writer)
            restoring.inject(plan, injection)
            moved = {} if self.dryrun else _moved(single, injection)
            report.notes += _places(writer, moved)
        new_ids = list(moved.values())
        restoring.tell(**({"new_id": new_ids[0]} if len(new_ids) == 1 else {}))
        left = len(self.item_id) - len(single.items)
        if left:
            are = "1 item is" if left == 1 else f"{left} items are"
            report.notes.append(f"{are} still in place and unchanged: left alone.")
        if known and not self.date.keyword:
            report.warnings.append(known)
        return report

    def _prepare(self, ctx: Context, path: BackupPath) -> tuple[OwnMailbox, Single]:
        folder = folder_names(self.restore_folder)
        mailbox = OwnMailbox.of(ctx, path, self.account_name)
        before = None if self.date.keyword == "last" else before_of(self.date, ctx.now)
        if before is not None:
            mailbox.require_known(before, ctx.settings.zone)
        single = Single(
            gone=Gone(path, mailbox.account),
            origins=Origins(path, mailbox.account),
            items=self.item_id,
            now=ctx.now,
            before=before,
            folder=folder,
        )
        self._require(ctx, path, mailbox, single)
        return mailbox, single

    def _require(self, ctx: Context, path: BackupPath, mailbox: OwnMailbox, single: Single) -> None:
        """Refuse what the backup does not have; leave out of `single` what is still in place."""
        for item in self.item_id:
            self._require_state(path, mailbox, single, item)
        present = _present(ctx, mailbox, self.item_id)
        in_place = {item for item, state in present.items() if single.is_in_place(state)}
        single.items = [item for item in self.item_id if item not in in_place]
        if not single.items:
            one = len(in_place) == 1
            raise BadRequest(
                f"{_named(self.item_id)} of {mailbox.entry.name} {'is' if one else 'are'} still in"
                " place and unchanged.",
                code="already_exists",
                hint=_ELSEWHERE,
            )

    def _require_state(
        self, path: BackupPath, mailbox: OwnMailbox, single: Single, item: ItemId
    ) -> None:
        try:
            history = path.history(mailbox.account, item)
        except ItemError:
            # It is planned, and its damage is told as a loss.
            return
        state = single.pick(history)
        if state is None:
            raise BadRequest(
                f"{mailbox.entry.name} has no item {item} in the backup"
                f"{' at that moment' if history else ''}.",
                code="no_such_item",
                hint=f"backupng backup getItem {mailbox.entry.name} {item} date all shows what it"
                " was."
                if history
                else f"backupng backup doItemSearch {mailbox.entry.name} type all search_filter all"
                " shows what there is.",
            )
        if why := cannot_come_back(state.kind):
            raise BadRequest(f"Item {item} {why}.", code="bad_value")


def _injection(
    ctx: Context, mailbox: OwnMailbox, single: Single, selection: Selection, writer: MailboxWriter
) -> Injection:
    return Injection(
        selection=selection,
        writer=writer,
        holds=ctx.destination.holds,
        accounts={mailbox.account: mailbox.account},
        known=single.gone,
        at_home=True,
        in_place=True,
        # Without a moment its owner may have changed the look of what is back.
        exact=single.before is not None,
    )


def folder_names(path: str) -> tuple[str, ...] | None:
    """Return the names of a folder's path, none for the top; None if it is empty.

    Raises BadRequest for a path that no folder can have.
    """
    if not path:
        return None
    names = tuple(name.rstrip(" ") for name in path.split("/") if name)
    for name in names:
        is_long = len(utf16.to_units(name)) > _LONGEST_NAME
        if name in ("", ".", "..") or is_long or _BAD_IN_NAME.search(name):
            raise BadRequest(
                f"{name[:40]!r} cannot be the name of a folder.",
                hint="A path of folder names such as /Inbox/Restored; / is the top of the mailbox."
                ' Names have no : and no ", are not . or .., and have 255 characters at most.',
                parameter="restore_folder",
            )
    return names


def _present(
    ctx: Context, mailbox: OwnMailbox, items: Sequence[ItemId]
) -> Mapping[ItemId, ItemState]:
    """Return the items that live on the mail server, as they are there."""
    found = ctx.source.mailbox(mailbox.account)
    states = ctx.source.states(found, items) if found else ()
    return {item: state for item, state in states if isinstance(state, ItemState)}


def _moved(single: Single, injection: Injection) -> dict[ItemId, ItemId]:
    """Return where the items are, as far as they came."""
    return {each: injection.moved[each] for each in single.items if each in injection.moved}


def _places(writer: MailboxWriter, moved: Mapping[ItemId, ItemId]) -> Iterator[str]:
    found = writer.read_back(moved.values())
    for old, new in moved.items():
        state = found.get(new)
        if state is not None:
            is_tag = state.kind is ItemKind.TAG
            where = "" if is_tag else f" in {path_of(writer, state.folder_id)}"
            yield f"Item {old} is item {new}{where}."


def _named(items: Sequence[ItemId]) -> str:
    named, more = ",".join(map(str, items[:_NAMED])), len(items) - _NAMED
    if more > 0:
        return f"Items {named} and {more} more"
    return f"Items {named}" if len(items) > 1 else f"Item {named}"
