"""The account that a restore makes: what it has of the source's settings, and a mark until it is
whole.

The mark lies in its Notes, which only administrators see: it says of what the account is an
unfinished restore, so that the same restore can go on after it was cut off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from backupng.engine.errors import ItemError, MailServerRefused
from backupng.engine.mailserver.port import Attributes, Destination
from backupng.engine.mailserver.zimbra.attributes import OF_ITEMS
from backupng.engine.model import DirectoryEntry, EntryKind, ItemId
from backupng.engine.restore.provision import CHILDREN_CARRIED, attributes_for
from backupng.engine.restore.rename import FIRST_USER_ID

_NOTES: Final = "zimbraNotes"
_UNFINISHED: Final = "Backup NG: an unfinished restore of "
_FOLDER: Final = "zimbraDataSourceFolderId"
_INBOX: Final = b"2"
_SECRETS: Final = frozenset(
    {
        "zimbraDataSourcePassword",
        "zimbraDataSourceOAuthToken",
        "zimbraDataSourceOAuthClientSecret",
        "zimbraDataSourceSmtpAuthPassword",
    }
)
"""Encrypted with the id of the data source: under another one nobody can read them."""


@dataclass(frozen=True, slots=True)
class Mark:
    """An unfinished restore of that account as of a moment, begun on a day: `02_03_26`."""

    source: str
    moment: str
    day: str

    def __str__(self) -> str:
        return f"{_UNFINISHED}{self.source} as of {self.moment}, begun on {self.day}."

    def of(self, entry: DirectoryEntry | None) -> Mark | None:
        """Return the mark of an account if it is this very restore, on whatever day it began."""
        notes = "" if entry is None else entry.first(_NOTES)
        begun = replace(self, day=notes[-9:-1])
        return begun if notes == str(begun) else None


def is_unfinished(entry: DirectoryEntry) -> bool:
    """Say whether an account is one that a restore has not completed."""
    return entry.first(_NOTES).startswith(_UNFINISHED)


@dataclass(slots=True)
class NewAccount:
    """One account in the making; `notes` and `warnings` are told to the admin."""

    destination: Destination
    source: DirectoryEntry
    mark: Mark
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def find(self, name: str) -> DirectoryEntry | None:
        """Return the account of that name if it is this very restore, unfinished."""
        entry = self.destination.entry(EntryKind.ACCOUNT, name)
        if entry is None or entry.name != name:
            return None
        return entry if self.mark.of(entry) else None

    def make(self, name: str, *, hide_in_gal: bool) -> DirectoryEntry:
        """Make the account, or go on with it. Raises MailServerRefused or BadRequest."""
        entry = self.find(name)
        if entry is None:
            attributes = attributes_for(self.source, hide_in_gal=hide_in_gal)
            attributes = {key: attributes[key] for key in attributes if key not in OF_ITEMS}
            self._replace_cos(attributes)
            attributes[_NOTES] = (str(self.mark).encode(),)
            entry = self.destination.create_account(name, attributes)
        have = {(child.kind, child.name) for child in entry.children}
        for child in self.source.children:
            if child.kind in CHILDREN_CARRIED and (child.kind, child.name) not in have:
                try:
                    self.destination.add_child(entry, child)
                except (ItemError, MailServerRefused) as error:
                    self.notes.append(f"The {child.kind} {child.name} was not carried: {error}")
        return entry

    def add_data_sources(self, entry: DirectoryEntry, moved: Mapping[ItemId, ItemId]) -> int:
        """Carry the external mailboxes, led to their folders; returns how many came."""
        is_source_alive = self.destination.entry(EntryKind.ACCOUNT, self.source.entry_id)
        carried = 0
        for child in self.source.children:
            if child.kind is not EntryKind.DATA_SOURCE:
                continue
            folder = _led(child.attributes.get(_FOLDER, ()), moved) or (_INBOX,)
            attributes = {**child.attributes, _FOLDER: folder}
            secrets = _SECRETS & attributes.keys() if is_source_alive else frozenset()
            kept = {key: attributes[key] for key in attributes if key not in secrets}
            try:
                self.destination.put_child(entry, replace(child, attributes=kept))
            except (ItemError, MailServerRefused) as error:
                self.warnings.append(f"The data source {child.name} was not carried: {error}")
                continue
            carried += 1
            if secrets:
                self.notes.append(
                    f"The data source {child.name} came without its password, which only the old"
                    " one can read: enter it anew."
                )
        return carried

    def complete(self, entry: DirectoryEntry, moved: Mapping[ItemId, ItemId]) -> None:
        """Restore the settings that name items, and take the mark away."""
        changes: dict[str, tuple[bytes, ...]] = dict(self._of_items(moved))
        try:
            self.destination.modify(entry, changes)
        except MailServerRefused as error:
            self.notes.append(f"Settings that name folders were not carried: {error}")
        # The source may have been saved while a restore into it was unfinished.
        is_plain = not is_unfinished(self.source)
        notes: Attributes = {_NOTES: self.source.attributes.get(_NOTES, ()) if is_plain else ()}
        self.destination.modify(entry, notes)

    def _replace_cos(self, attributes: dict[str, tuple[bytes, ...]]) -> None:
        cos = self.source.first("zimbraCOSId")
        if cos and self.destination.entry(EntryKind.COS, cos) is None:
            attributes.pop("zimbraCOSId", None)
            self.warnings.append(
                f"The class of service {cos} is gone; the domain's default is used."
            )

    def _of_items(self, moved: Mapping[ItemId, ItemId]) -> Iterator[tuple[str, tuple[bytes, ...]]]:
        for name in OF_ITEMS & self.source.attributes.keys():
            values = _led(self.source.attributes[name], moved)
            if values:
                yield name, values


def _led(values: tuple[bytes, ...], moved: Mapping[ItemId, ItemId]) -> tuple[bytes, ...]:
    """Lead ids of items to their new places, several in one value too; what has none goes."""
    found = (
        b",".join(
            str(new).encode()
            for each in value.split(b",")
            if (new := _place(each, moved)) is not None
        )
        for value in values
    )
    return tuple(value for value in found if value)


def _place(text: bytes, moved: Mapping[ItemId, ItemId]) -> ItemId | None:
    if not (text.isdigit() and len(text) < 10):
        return None
    old = ItemId(int(text))
    return moved.get(old, old if old < FIRST_USER_ID else None)
