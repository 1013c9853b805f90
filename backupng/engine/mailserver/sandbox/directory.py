"""The sandbox's directory: one table of entries under the rules of a real one.

Names and rules as in `zimbra-provisioning.md` §2 and §6.4: DN, zimbraId and addresses are unique,
required attributes are there, some have one value, booleans are TRUE or FALSE.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox.database import SqliteDatabase
from backupng.engine.mailserver.sandbox.schema import DIRECTORY
from backupng.engine.model import DirectoryEntry, EntryKind

REQUIRED: Mapping[EntryKind, tuple[str, ...]] = {
    EntryKind.ACCOUNT: ("uid", "zimbraId", "zimbraAccountStatus", "cn", "sn"),
    EntryKind.DOMAIN: ("zimbraId", "zimbraDomainName", "zimbraDomainType"),
    EntryKind.COS: ("cn", "zimbraId"),
    EntryKind.LIST: ("zimbraId",),
    EntryKind.SERVER: ("cn", "zimbraId"),
    EntryKind.IDENTITY: ("zimbraPrefIdentityName",),
    EntryKind.SIGNATURE: ("zimbraSignatureId", "zimbraSignatureName"),
    EntryKind.DATA_SOURCE: ("zimbraDataSourceId", "zimbraDataSourceName"),
    EntryKind.GROUP_UNIT: ("zimbraId", "zimbraGroupId", "cn"),
}
_SINGLE = frozenset(
    {
        "uid",
        "zimbraId",
        "zimbraAccountStatus",
        "zimbraCOSId",
        "zimbraMailQuota",
        "zimbraHideInGal",
        "zimbraNotes",
        "zimbraMailHost",
        "zimbraDomainName",
        "zimbraDomainDefaultCOSId",
        "zimbraMailDeliveryAddress",
    }
)
_BOOLEAN = frozenset(
    {
        "zimbraHideInGal",
        "zimbraIsAdminAccount",
        "zimbraIsDelegatedAdminAccount",
        "zimbraIsSystemAccount",
        "zimbraIsSystemResource",
        "zimbraMailboxInitialized",
        "zimbraRedoLogEnabled",
        "zimbraRedoLogDeleteOnRollover",
    }
)
_NUMBER = frozenset(
    {
        "zimbraMailQuota",
        "zimbraRedoLogRolloverFileSizeKB",
        "zimbraRedoLogRolloverMinFileAge",
        "zimbraRedoLogRolloverHardMaxFileSizeKB",
    }
)
_LONGEST_NOTES = 1024
_WITH_CHILDREN = frozenset({EntryKind.ACCOUNT, EntryKind.LIST})
_ADDRESSES = ("zimbraMailDeliveryAddress", "mail", "zimbraMailAlias")
_FIRST_OF_DN = re.compile(r"(?:[^,\\]|\\.)*,?", re.DOTALL)


class SandboxDirectory:
    """Reads and writes directory entries; implements `zimbra.source.Directory`.

    Changes belong inside `Sandbox.locked`: there one that is refused changes nothing.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self._db = database
        self._entries = database.table(DIRECTORY, "entry")
        self._addresses = database.table(DIRECTORY, "address")

    def entries(self, kind: EntryKind) -> Iterator[DirectoryEntry]:
        """Yield all entries of a kind by name, what lies below it with it."""
        rows = self._db.rows(f"SELECT * FROM {self._entries} WHERE kind = ? ORDER BY name", kind)
        for row in list(rows):
            yield self._with_children(_entry(row))

    def find(self, kind: EntryKind, name: str) -> DirectoryEntry | None:
        """Return an entry by its name, id or one of its addresses; None if there is none."""
        row = self._db.one(
            f"SELECT * FROM {self._entries} WHERE kind = ? AND (name = ? OR entry_id = ? OR dn ="
            f" (SELECT dn FROM {self._addresses} WHERE address = ?))",
            kind,
            name,
            name,
            name.lower(),
        )
        return self._with_children(_entry(row)) if row else None

    def has_account(self, account_id: str) -> bool:
        """Say whether an account of that id exists, whatever its host."""
        query = f"SELECT 1 FROM {self._entries} WHERE kind = ? AND entry_id = ?"
        return self._db.one(query, EntryKind.ACCOUNT, account_id) is not None

    def is_taken(self, address: str) -> bool:
        """Say whether an account or list goes by that address."""
        query = f"SELECT dn FROM {self._addresses} WHERE address = ?"
        return self._db.one(query, address.lower()) is not None

    def add(self, entry: DirectoryEntry) -> None:
        """Add an entry and its children. Raises InvalidItem for what a directory refuses."""
        self._check(entry)
        self._put_row(entry)
        for child in entry.children:
            self.add(replace(child, children=()))

    def modify(self, entry: DirectoryEntry, changes: Mapping[str, tuple[bytes, ...]]) -> None:
        """Replace attributes of an entry, its children untouched; an empty tuple removes one.

        Raises InvalidItem.
        """
        attributes = {**entry.attributes, **changes}
        changed = replace(
            entry, attributes={name: values for name, values in attributes.items() if values}
        )
        self._check(changed)
        self._db.run(f"DELETE FROM {self._addresses} WHERE dn = ?", entry.dn)
        self._db.run(f"DELETE FROM {self._entries} WHERE dn = ?", entry.dn)
        self._put_row(changed)

    def remove(self, entry: DirectoryEntry) -> None:
        """Remove an entry and everything below it."""
        for dn in (entry.dn, *(child.dn for child in entry.children)):
            self._db.run(f"DELETE FROM {self._addresses} WHERE dn = ?", dn)
            self._db.run(f"DELETE FROM {self._entries} WHERE dn = ?", dn)

    def _with_children(self, entry: DirectoryEntry) -> DirectoryEntry:
        if entry.kind not in _WITH_CHILDREN:
            return entry
        rows = self._db.rows(
            f"SELECT * FROM {self._entries} WHERE parent_dn = ? ORDER BY kind, name", entry.dn
        )
        return replace(entry, children=tuple(_entry(row) for row in rows))

    def _put_row(self, entry: DirectoryEntry) -> None:
        attributes = {
            name: [value.decode("utf-8", "surrogateescape") for value in values]
            for name, values in entry.attributes.items()
        }
        # Not `insert`: a directory holds all of Unicode, the three-byte limit is the database's.
        self._db.run(
            f"INSERT INTO {self._entries} (dn, parent_dn, kind, entry_id, name, attributes)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            entry.dn,
            _FIRST_OF_DN.sub("", entry.dn, count=1),
            entry.kind,
            entry.entry_id,
            entry.name,
            json.dumps(attributes),
        )
        if entry.kind in (EntryKind.ACCOUNT, EntryKind.LIST):
            addresses = {each for name in _ADDRESSES for each in entry.values(name)}
            for address in sorted(addresses | {entry.name}):
                self._db.run(
                    f"INSERT INTO {self._addresses} (address, dn) VALUES (?, ?)",
                    address.lower(),
                    entry.dn,
                )

    def _check(self, entry: DirectoryEntry) -> None:
        for name in REQUIRED[entry.kind]:
            if not any(entry.attributes.get(name, ())):
                raise _refusal(entry, f"lacks the attribute {name}")
        for name, values in entry.attributes.items():
            if name in _SINGLE and len(values) > 1:
                raise _refusal(entry, f"can have only one {name}")
            if name in _BOOLEAN and not set(values) <= {b"TRUE", b"FALSE"}:
                raise _refusal(entry, f"has a {name} that is neither TRUE nor FALSE")
            if name in _NUMBER and not all(value.isdigit() for value in values):
                raise _refusal(entry, f"has a {name} that is no number")
        if len(entry.first("zimbraNotes")) > _LONGEST_NOTES:
            raise _refusal(entry, f"has a zimbraNotes of more than {_LONGEST_NOTES} characters")


def _refusal(entry: DirectoryEntry, why: str) -> InvalidItem:
    return InvalidItem(f"The {entry.kind} {entry.name} {why}.", code="bad_value")


def dn_of(kind: EntryKind, name: str, *, parent: str = "") -> str:
    """Return the DN of an entry; `parent` is the account's DN for its children."""
    if kind in (EntryKind.ACCOUNT, EntryKind.LIST):
        local, _, domain = name.partition("@")
        return f"uid={_escaped(local)},ou=people,{dn_of(EntryKind.DOMAIN, domain)}"
    if kind is EntryKind.DOMAIN:
        return ",".join(f"dc={_escaped(label)}" for label in name.split("."))
    if kind is EntryKind.COS:
        return f"cn={_escaped(name)},cn=cos,cn=zimbra"
    if kind is EntryKind.SERVER:
        return f"cn={_escaped(name)},cn=servers,cn=zimbra"
    attribute = REQUIRED[kind][-1]
    return f"{attribute}={_escaped(name)},{parent}"


def _escaped(value: str) -> str:
    """RFC 4514: special characters, and a blank or # at the ends, get a backslash."""
    text = "".join(f"\\{c}" if c in ',+"\\<>;=' else c for c in value)
    text = f"\\{text}" if text[:1] in (" ", "#") else text
    return f"{text[:-1]}\\ " if text.endswith(" ") and len(text) > 1 else text


def _entry(row: Mapping[str, Any]) -> DirectoryEntry:
    return DirectoryEntry(
        kind=EntryKind(row["kind"]),
        entry_id=row["entry_id"],
        name=row["name"],
        dn=row["dn"],
        attributes={
            name: tuple(value.encode("utf-8", "surrogateescape") for value in values)
            for name, values in json.loads(row["attributes"]).items()
        },
    )
