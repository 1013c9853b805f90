"""Where things lie in a Backup Path: path arithmetic only."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote

from backupng.engine.model import AccountId, Digest, EntryKind, ItemId


class Place(str):
    """Where something lies in a tree: the names from its root on, with `/` between them.

    As quick to make and to find again as a text is: a scan has many for each item.
    """

    __slots__ = ()

    def __truediv__(self, name: str) -> Place:
        return Place(self + "/" + name if self else name)

    @property
    def name(self) -> str:
        """The last name; empty for the root."""
        return self[self.rfind("/") + 1 :]

    @property
    def parent(self) -> Place:
        """The folder in which it lies."""
        # What begins with `/` lies in a folder without a name: nowhere.
        return Place(self[: self.rfind("/") or 1]) if "/" in self else Place()

    @property
    def parts(self) -> tuple[str, ...]:
        """The names, none for the root."""
        return tuple(self.split("/")) if self else ()

    def is_below(self, folder: str) -> bool:
        """Say whether it is the folder, or lies somewhere in it."""
        return self == folder or self.startswith(f"{folder}/" if folder else "")


FORMAT = Place("format")
LOCK = Place(".lock")
STAGING = Place(".staging")
TRASH = Place(".trash")
ACCOUNTS = Place("accounts")
SERVER = Place("server")
BLOBS = Place("items")
CHECKPOINT = Place("checkpoint")
RESERVE = Place(".reserve")
QUARANTINE = Place("quarantine")
ID_MAPPER = "id_mapper"
"""The name of the file in an account's folder that says what became of imported items."""

ENTRY_FOLDERS = {
    EntryKind.DOMAIN: SERVER / "domains",
    EntryKind.COS: SERVER / "cos",
    EntryKind.LIST: SERVER / "lists",
    EntryKind.SERVER: SERVER / "servers",
    EntryKind.CONFIG: SERVER / "config",
}
"""Where entries other than accounts lie; an account's entry is the file `account` in its folder."""

_MAP = "map_"
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ITEM = re.compile(r"[1-9][0-9]{0,9}")
_ITEM_BUCKET = re.compile(r"[0-9]{2}")
_DIGEST = re.compile(r"[A-Za-z0-9+,]{43}=")
_BLOB_BUCKET = re.compile(r"[A-Za-z0-9+,]{2}")
_BIGGEST_ITEM = 2**31 - 1
_KEPT = 1_000
"""Paths met last: a path that is there already is told from others much faster than a new one."""


@lru_cache(maxsize=2 * _KEPT)
def folder_of(path: Place) -> Place:
    """Return the folder that a path lies in."""
    return path.parent


def id_name(entry_id: str) -> str:
    """Spell an id as a file name: UUIDs as they are, other characters percent-encoded."""
    return quote(entry_id, safe="").replace(".", "%2E")


def id_of(name: str) -> str | None:
    """Return the id that `name` spells, or None if no id is spelled that way."""
    # A name that is no ASCII may not even be text; no id is spelled so.
    entry_id = unquote(name) if name.isascii() else ""
    return entry_id if entry_id and id_name(entry_id) == name else None


def account_folder(account: AccountId) -> Place:
    """Return the folder that holds all of one account."""
    return ACCOUNTS / id_name(account)


def account_of(name: str, *, is_file: bool) -> AccountId | None:
    """Return whose folder bears that name below `accounts`, or None for a stray one.

    A file there is one, unless its name is that of an account, whose folder it has replaced then.
    """
    account = id_of(name)
    return None if account is None or (is_file and not is_uuid(name)) else AccountId(account)


def is_uuid(name: str) -> bool:
    """Say whether `name` is a UUID, as the ids of accounts are."""
    return _UUID.fullmatch(name) is not None


def account_file(account: AccountId) -> Place:
    """Return the history of the account's directory entry."""
    return account_folder(account) / "account"


def mailbox_file(account: AccountId) -> Place:
    """Return the history of what scans found in the mailbox as a whole."""
    return account_folder(account) / "mailbox"


def id_mapper(account: AccountId) -> Place:
    """Return the file that says what became of the items that were imported into an account."""
    return account_folder(account) / ID_MAPPER


def map_file(server_id: str) -> Place:
    """Return the file that says what became of what was imported of that server."""
    return Place(f"{_MAP}{id_name(server_id)}")


def server_of_map(name: str) -> str | None:
    """Return whose map a file at the root is, or None for a foreign one."""
    return id_of(name.removeprefix(_MAP)) if name.startswith(_MAP) else None


def is_map(path: Place) -> bool:
    """Say whether a file of the tree is a map of an import, by its place."""
    if len(path.parts) == 1:
        return server_of_map(path.name) is not None
    return path.name == ID_MAPPER and path.parent.parent == ACCOUNTS


def items_folder(account: AccountId) -> Place:
    """Return the folder of an account's item histories."""
    return account_folder(account) / "items"


@lru_cache(maxsize=_KEPT)
def item_file(account: AccountId, item: ItemId) -> Place:
    """Return an item's history: item 2057 lies at `items/57/2057`, item 5 at `items/05/5`."""
    return _item_bucket(account, item % 100) / str(item)


@lru_cache(maxsize=_KEPT)
def _item_bucket(account: AccountId, number: int) -> Place:
    return items_folder(account) / f"{number:02d}"


def is_item_bucket(name: str) -> bool:
    """Say whether a folder of that name below an account's `items` may hold histories."""
    return _ITEM_BUCKET.fullmatch(name) is not None


def item_of(bucket: str, name: str) -> ItemId | None:
    """Return the item id that a file of a bucket spells, or None for a foreign file."""
    if not _ITEM.fullmatch(name) or f"0{name}"[-2:] != bucket:
        return None
    item = ItemId(int(name))
    return item if item <= _BIGGEST_ITEM else None


def entry_file(kind: EntryKind, entry_id: str) -> Place:
    """Return the history of a directory entry."""
    if kind is EntryKind.ACCOUNT:
        return account_file(AccountId(entry_id))
    return ENTRY_FOLDERS[kind] / id_name(entry_id)


def staged_file(role: str, name: str) -> Place:
    """Return a file that a writer of that role makes before it has a place."""
    return _staging_folder(role) / name


@lru_cache(maxsize=16)
def _staging_folder(role: str) -> Place:
    return STAGING / role


@lru_cache(maxsize=_KEPT)
def blob_file(digest: Digest) -> Place:
    """Return where the blob of that SHA-256 digest lies."""
    return _blob_bucket(digest[:2]) / digest


@lru_cache(maxsize=4096)
def _blob_bucket(name: str) -> Place:
    return BLOBS / name


def is_digest(text: object) -> bool:
    """Say whether `text` is a SHA-256 digest as blobs are named by."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def is_blob_bucket(name: str) -> bool:
    """Say whether a folder of that name below `items` may hold blobs."""
    return _BLOB_BUCKET.fullmatch(name) is not None


def checkpoint_file(server_id: str) -> Place:
    """Return the file that says how far the scans of this server have come."""
    return CHECKPOINT / id_name(server_id)


def scanner_file(server_id: str) -> Place:
    """Return the file that says how far the Real-Time Scanner of this server has come."""
    return CHECKPOINT / f"{id_name(server_id)}.scanner"


def lock_folder(history: Place) -> Place:
    """Return the folder whose lock a writer holds while it appends to that history."""
    depth = 1 if history.parts[0] == SERVER.name else 2
    return Place("/".join(history.parts[:depth]))


def chain_seed(path: Place) -> str:
    """Return the text whose CRC-32 begins the chain of the history at `path`.

    For an item that is `ng1/<account id>/<item id>`, for any other history `ng1/` and its path.
    """
    parts = path.parts
    if parts[0] == ACCOUNTS.name and len(parts) == 5:
        return f"ng1/{unquote(parts[1])}/{parts[4]}"
    return f"ng1/{path}"
