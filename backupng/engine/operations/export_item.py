"""export-item."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.mailserver.zimbra.spelling import vcard
from backupng.engine.model import ItemId, ItemKind, ItemState, to_ms
from backupng.engine.operations.base import BackupPathLookup, Context, Document
from backupng.engine.operations.folder_paths import last_content
from backupng.engine.operations.moments import before_of
from backupng.engine.operations.words import LAST, AccountNameOrId, Moment
from backupng.engine.restore.dress import dressed
from backupng.engine.restore.select import find_account, state_at

EML, ICS, VCF, RAW = "eml", "ics", "vcf", "raw"
_FORMATS: Final = (EML, ICS, VCF, RAW)
_OF_KIND: Final[Mapping[ItemKind, str]] = {
    ItemKind.MESSAGE: EML,
    ItemKind.CHAT: EML,
    ItemKind.APPOINTMENT: ICS,
    ItemKind.TASK: ICS,
    ItemKind.CONTACT: VCF,
}
_OTHER_WAY: Final = {
    kind: f"format {form} writes it from its fields."
    for kind, form in _OF_KIND.items()
    if form != EML
}
_NO_ITEM: Final = 2**31
_CALENDAR: Final = "backupng.engine.mailserver.zimbra.spelling.calendar"
"""Loaded for an appointment or a task: with it every command would start later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportItem(BackupPathLookup):
    """Take one item out of the backup, as a file that other programs read."""

    command: ClassVar[str] = "export-item"
    title: ClassVar[str] = "Export of an item"
    summary: ClassVar[str] = (
        "Export of an item: takes one item out of the backup, as a file that other programs read"
    )
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup export-item john@example.com 49965 to offer.eml",
        'backupng backup export-item john@example.com 4784 date "28/09/2021 10:15:10" format raw',
    )

    account: AccountNameOrId
    id: int
    date: Moment = field(default=LAST, metadata={"values": '"dd/MM/yyyy HH:mm:ss"|last'})
    format: str = field(
        default="", metadata={"values": "|".join(_FORMATS), "default": "that of the item's type"}
    )
    to: str = field(default="", metadata={"default": "standard output"})

    def look(self, path: BackupPath, ctx: Context) -> dict[str, Any]:
        """Return the item's file; of a deleted item its last content. Raises ItemError."""
        wanted = self._format()
        account, entries = find_account(path, self.account)
        name = entries[-1].entry.name
        history = path.history(account, ItemId(self.id)) if self.id < _NO_ITEM else ()
        if not history:
            raise BadRequest(
                f"{name} has no item {self.id} in the backup.",
                code="no_such_item",
                hint=f"Find it: backupng backup doItemSearch {account} type all search_filter all",
            )
        state = self._state(history, ctx)
        form = wanted or _OF_KIND.get(state.kind, RAW)
        try:
            content = self._content(path, state, form)
        except ItemError as error:
            raise type(error)(
                f"Item {self.id} cannot be written: {error}.",
                hint="getItem with date all shows older states, which may be intact.",
            ) from error
        return {
            "account": {"id": account, "name": name},
            "item": self.id,
            "type": state.kind.value,
            "format": form,
            "size": len(content),
            "content_base64": base64.b64encode(content).decode("ascii"),
        }

    def document(self, response: Mapping[str, Any]) -> Document | None:
        """Return the file, if one is named."""
        if self.to in ("", "-"):
            return None
        content = base64.b64decode(response["content_base64"])
        return Document(file=Path(self.to), content=content)

    def _format(self) -> str:
        if self.format.lower() not in ("", *_FORMATS):
            raise BadRequest(
                f"format: {self.format!r} is not accepted.",
                hint=f"Expected: {', '.join(_FORMATS)}.",
                parameter="format",
                value=self.format,
            )
        return self.format.lower()

    def _state(self, history: Sequence[ItemState], ctx: Context) -> ItemState:
        """Return the state of the date, with a row; of a deletion the last living one."""
        state = state_at(history, before_of(self.date, ctx.now))
        if state is None:
            raise BadRequest(
                f"Item {self.id} was not in the backup yet at that time.",
                code="before_first_backup",
                first=to_ms(history[0].start),
            )
        content = last_content(history, state)
        if content.deleted:
            raise BadRequest(
                f"Of item {self.id} the backup knows only that it was deleted.",
                code="no_such_item",
            )
        return dressed(history, content)

    def _content(self, path: BackupPath, state: ItemState, form: str) -> bytes:
        if form not in (RAW, _OF_KIND.get(state.kind)):
            own = _OF_KIND.get(state.kind)
            raise BadRequest(
                f"Item {self.id} is of the type {state.kind.value}: no such is written as {form}.",
                hint=f"Expected: {f'{own} or ' if own else ''}{RAW}.",
                parameter="format",
                value=form,
            )
        if form == VCF:
            return _card(path, state)
        if form == ICS:
            return _calendar(path, state)
        if state.digest is None:
            raise BadRequest(
                f"Item {self.id} is of the type {state.kind.value} and has no blob.",
                code="no_such_item",
                hint=_OTHER_WAY.get(state.kind, "getItem shows what the backup has of it."),
            )
        return _blob(path, state)


def _card(path: BackupPath, state: ItemState) -> bytes:
    values = decode_column(state.row.get("metadata"))
    photo = vcard.photo_in(_blob(path, state)) if "att" in values and state.digest else None
    return vcard.spell_vcard(state.fields, tags=state.tags, photo=photo)


def _calendar(path: BackupPath, state: ItemState) -> bytes:
    calendar = import_module(_CALENDAR)
    values = decode_column(state.row.get("metadata"))
    has_more = state.digest is not None and calendar.needs_blob(values)
    spelled: bytes = calendar.spell_calendar(values, _blob(path, state) if has_more else b"")
    return spelled


def _blob(path: BackupPath, state: ItemState) -> bytes:
    return b"".join(path.blob(state.digest, size=state.size)) if state.digest else b""
