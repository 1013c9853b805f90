"""class Sandbox: an embedded mail server in one folder, without a process of its own.

<folder>/mail.sqlite3   database and directory        <folder>/store, store2   blob volumes
<folder>/redolog/       its redo log                  <folder>/lock            one change at a time
"""

from __future__ import annotations

import hashlib
import random
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from backupng.engine.errors import BadRequest, MailServerError
from backupng.engine.mailserver.sandbox import furniture, schema
from backupng.engine.mailserver.sandbox.blobfiles import BlobFiles
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.database import SqliteDatabase
from backupng.engine.mailserver.sandbox.directory import SandboxDirectory, dn_of
from backupng.engine.mailserver.sandbox.journal import Journal
from backupng.engine.mailserver.sandbox.reading import DATABASE_FILE, require_server
from backupng.engine.mailserver.sandbox.redo import op
from backupng.engine.mailserver.sandbox.writing import Writing
from backupng.engine.mailserver.zimbra import codes, volumes
from backupng.engine.mailserver.zimbra.source import MailServerSource
from backupng.engine.model import (
    AccountId,
    DirectoryEntry,
    EntryKind,
    Mailbox,
    spell_digest,
)
from backupng.engine.redolog.files import LogFiles

DEFAULT_COS: Final = "default"
GROUPS: Final = 100
_DELETION_RECORDS: Final = 2
"""A DeleteMailbox is logged before the work and again after it."""


class Sandbox:
    """One sandbox server, opened."""

    def __init__(self, folder: Path, database: SqliteDatabase) -> None:
        self.folder = folder
        self.database = database
        self.directory = SandboxDirectory(database)
        logs = folder / "redolog"
        self.redo_log = LogFiles(logs / "redo.log", logs / "archive")
        self._journal = Journal(database, self.directory, self.redo_log)
        self.writing = Writing(folder, database, self._journal)

    @classmethod
    def create(cls, folder: Path, *, name: str, domain: str, seed: int) -> Sandbox:
        """Make an empty server in a folder that does not exist yet.

        The ids of server, domain and COS follow from name and seed: two machines make equal ones.
        """
        ids = random.Random(f"{name}/{seed}")  # noqa: S311  # ids, not secrets
        with new_folder(folder):
            for each in ("redolog", "store", "store2"):
                (folder / each).mkdir(mode=0o750)
            with (
                cls(folder, SqliteDatabase(folder / DATABASE_FILE, create=True)) as sandbox,
                sandbox.database.transaction(),
            ):
                furniture.add_volumes(sandbox.database)
                furniture.add_configuration(folder, name)
                sandbox.add_entry(EntryKind.SERVER, name, draw_id(ids), zimbraServiceHostname=name)
                sandbox.add_entry(EntryKind.COS, DEFAULT_COS, draw_id(ids))
                sandbox.add_domain(domain, draw_id(ids))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Sandbox:
        """Open the server in `folder`. Raises MailServerError if there is none."""
        require_server(folder)
        sandbox = cls(folder, SqliteDatabase(folder / DATABASE_FILE))
        try:
            sandbox.writing.settle()
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def server(self) -> DirectoryEntry:
        """Return the server's own directory entry."""
        return next(self.directory.entries(EntryKind.SERVER))

    def source(self) -> MailServerSource:
        """Return this server as one that is read."""
        return MailServerSource(
            self.database,
            self.directory,
            server=self.server(),
            redo_log=self.redo_log,
            home=self.folder,
        )

    # Directory

    def add_entry(self, kind: EntryKind, name: str, entry_id: str, **attributes: str) -> None:
        """Add a server or COS entry."""
        values = {"cn": name, "zimbraId": entry_id, **attributes}
        self.directory.add(_entry(kind, name, entry_id, values))

    def add_domain(self, name: str, entry_id: str) -> None:
        """Add a local domain."""
        values = {"zimbraId": entry_id, "zimbraDomainName": name, "zimbraDomainType": "local"}
        self.directory.add(_entry(EntryKind.DOMAIN, name, entry_id, values))

    def add_account(
        self, address: str, account_id: str, **attributes: str | tuple[bytes, ...]
    ) -> DirectoryEntry:
        """Add an account's directory entry; its domain must be there."""
        address = address.lower()
        local, _, domain = address.partition("@")
        if not local or self.directory.find(EntryKind.DOMAIN, domain) is None:
            raise BadRequest(
                f"The domain of {address} is not on this server.",
                code="no_such_domain",
                hint="Take an address in one of the server's domains.",
            )
        if self.directory.is_taken(address):
            raise BadRequest(
                f"The address {address} is in use.",
                code="already_exists",
                hint="Choose another name.",
            )
        values: dict[str, str | tuple[bytes, ...]] = {
            "uid": local,
            "zimbraId": account_id,
            "zimbraAccountStatus": "active",
            "zimbraMailHost": self.server().name,
            "zimbraMailDeliveryAddress": address,
            "mail": address,
            "cn": local,
            "sn": local,
        }
        entry = _entry(EntryKind.ACCOUNT, address, account_id, values | attributes)
        self.directory.add(entry)
        return entry

    def add_list(self, address: str, list_id: str, members: Iterable[str]) -> None:
        """Add a distribution list."""
        values: dict[str, str | tuple[bytes, ...]] = {
            "uid": address.partition("@")[0],
            "zimbraId": list_id,
            "mail": address,
            "zimbraMailAlias": address,
            "zimbraMailForwardingAddress": tuple(member.encode() for member in members),
        }
        self.directory.add(_entry(EntryKind.LIST, address, list_id, values))

    def account(self, name: str) -> DirectoryEntry:
        """Return an account by address, alias or id; a bare local part means the only domain.

        Raises BadRequest (no_such_account).
        """
        found = self.directory.find(EntryKind.ACCOUNT, name)
        domains = [] if found or "@" in name else list(self.directory.entries(EntryKind.DOMAIN))
        if len(domains) == 1:
            found = self.directory.find(EntryKind.ACCOUNT, f"{name}@{domains[0].name}")
        if found is None:
            raise BadRequest(
                f"There is no account {name} on {self.server().name}.", code="no_such_account"
            )
        return found

    # Mailboxes

    def _add_mailbox(self, account: DirectoryEntry, *, now_ms: int) -> Change:
        """Give an account its mailbox with the system folders, as its first opening does."""
        current = self.database.one(f"SELECT * FROM {self._zimbra('current_volumes')}")
        if current is None:
            raise MailServerError(f"{self.folder} has no current volumes.")
        mailbox_id = current["next_mailbox_id"]
        group = (mailbox_id - 1) % GROUPS + 1
        self.database.ensure_group(group)
        self.database.insert(
            self._zimbra("mailbox"),
            {
                "id": mailbox_id,
                "group_id": group,
                "account_id": account.entry_id.lower(),
                "index_volume_id": current["index_volume_id"],
                "item_id_checkpoint": codes.FIRST_USER_ID - 1,
                "comment": account.name,
                "version": "2.7",
            },
        )
        self.database.run(
            f"UPDATE {self._zimbra('current_volumes')} SET next_mailbox_id = ?", mailbox_id + 1
        )
        self.database.run(
            f"DELETE FROM {self._zimbra('deleted_account')} WHERE email = ?", account.name
        )
        change = self._change(AccountId(account.entry_id), now_ms=now_ms, quota=0)
        furniture.furnish(change, account.entry_id)
        return change

    def mailbox(self, account: DirectoryEntry) -> Mailbox:
        """Return an account's mailbox. Raises MailServerError if it has none."""
        found = self.source().mailbox(AccountId(account.entry_id))
        if found is None:
            raise MailServerError(f"The account {account.name} has no mailbox.")
        return found

    # Changes

    def locked(self) -> AbstractContextManager[None]:
        """Hold the server's lock, for a change of the directory: all of it or nothing."""
        return self.writing.locked()

    @contextmanager
    def change(
        self, account: DirectoryEntry, *, now_ms: int, enforce_quota: bool = True
    ) -> Iterator[Change]:
        """Make one change of one mailbox: all of it is written, or nothing.

        It says with `Change.log` what it does: that is logged before it is committed.
        """
        quota = int(account.first("zimbraMailQuota", "0")) if enforce_quota else 0
        with self.writing.logged(now_ms=now_ms) as pending:
            change = self._change(AccountId(account.entry_id), now_ms=now_ms, quota=quota)
            pending.blobs = change.blobs
            yield change
            change.finish()
            pending.take(change)

    def create_account(
        self,
        address: str,
        account_id: str,
        *,
        now_ms: int,
        attributes: Mapping[str, str | tuple[bytes, ...]],
    ) -> DirectoryEntry:
        """Make an account and its mailbox, together or not at all."""
        with self.writing.logged(now_ms=now_ms) as pending:
            account = self.add_account(address, account_id, **attributes)
            change = self._add_mailbox(account, now_ms=now_ms)
            change.finish()
            pending.take(change)
        return account

    def delete_account(self, account: DirectoryEntry, *, now_ms: int) -> None:
        """Remove an account: directory entry, mailbox rows, blobs."""
        with self.writing.logged(now_ms=now_ms) as pending:
            mailbox = self.mailbox(account)
            pending.done, pending.times = op("DeleteMailbox"), _DELETION_RECORDS
            pending.mailbox_id = mailbox.mailbox_id
            pending.number = mailbox.row["change_checkpoint"] + 1
            self.directory.remove(account)
            tables = [self._zimbra(name) for name in ("mailbox_metadata", "pending_acl_push")]
            group = f"mboxgroup{mailbox.group_id}"
            tables += [self.database.table(group, name) for name in schema.GROUP_TABLES]
            for table in tables:
                self.database.run(f"DELETE FROM {table} WHERE mailbox_id = ?", mailbox.mailbox_id)
            self.database.run(
                f"DELETE FROM {self._zimbra('mailbox')} WHERE id = ?", mailbox.mailbox_id
            )
            self.database.run(
                f"INSERT OR REPLACE INTO {self._zimbra('deleted_account')} VALUES (?, ?, ?, ?)",
                account.name,
                account.entry_id,
                mailbox.mailbox_id,
                now_ms // 1000,
            )
        for volume in self._volumes().values():
            if not volume.external:
                path = volumes.blob_path(volume, mailbox.mailbox_id, item_id=1, mod_content=1)
                shutil.rmtree(path.parent.parent.parent, ignore_errors=True)

    def store_incoming(self, raw: bytes, mailboxes: Sequence[Mailbox], *, now_ms: int) -> str:
        """Log a message once that goes to several mailboxes; returns the path it is known by."""
        with self.writing.logged(now_ms=now_ms) as pending:
            path = str(self.folder / "store" / "incoming" / f"{self._journal.next_txn(now_ms)}.msg")
            pending.done = op(
                "StoreIncomingBlob",
                mailboxIds=[mailbox.mailbox_id for mailbox in mailboxes],
                digest=spell_digest(hashlib.sha256(raw).digest()),
                path=path,
                msgSize=len(raw),
                data=raw,
            )
        return path

    def _change(self, account: AccountId, *, now_ms: int, quota: int) -> Change:
        table = self._zimbra("mailbox")
        mailbox = self.database.one(f"SELECT * FROM {table} WHERE account_id = ?", account)
        current = self.database.one(f"SELECT * FROM {self._zimbra('current_volumes')}")
        if mailbox is None or current is None:
            raise MailServerError(f"The account {account} has no mailbox.")
        return Change(
            self.database,
            mailbox,
            blobs=BlobFiles(self._volumes(), current["message_volume_id"], mailbox["id"]),
            now_ms=now_ms,
            quota=quota,
        )

    def _volumes(self) -> dict[int, volumes.Volume]:
        rows = self.database.rows(f"SELECT * FROM {self._zimbra('volume')}")
        found = (volumes.volume_of_row(row, home=self.folder) for row in rows)
        return {volume.volume_id: volume for volume in found}

    def _zimbra(self, name: str) -> str:
        return self.database.table("zimbra", name)


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Make a folder for a new server; nothing of it stays when the work inside fails.

    Raises BadRequest (already_exists) and MailServerError.
    """
    try:
        folder.mkdir(parents=True, mode=0o750)
    except FileExistsError as error:
        raise BadRequest(f"There is something at {folder}.", code="already_exists") from error
    except OSError as error:
        raise MailServerError(f"The folder {folder} cannot be made: {error}.") from error
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def draw_id(source: random.Random) -> str:
    """Return a UUID drawn from a seeded source."""
    return str(uuid.UUID(int=source.getrandbits(128), version=4))


def _entry(
    kind: EntryKind, name: str, entry_id: str, values: Mapping[str, str | tuple[bytes, ...]]
) -> DirectoryEntry:
    return DirectoryEntry(
        kind=kind,
        entry_id=entry_id,
        name=name,
        dn=dn_of(kind, name),
        attributes={
            attribute: (value.encode(),) if isinstance(value, str) else value
            for attribute, value in values.items()
        },
    )
