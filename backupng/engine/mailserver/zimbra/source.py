"""A mail server as it is read: database, directory and blob volumes put together.

The same code for a real server and for the sandbox; they differ in the connections given to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from backupng.engine.errors import ItemError, ReadError
from backupng.engine.mailserver.port import BlobReference, Census, DeletedMailbox
from backupng.engine.mailserver.zimbra import volumes
from backupng.engine.mailserver.zimbra.changes import ChangeReader
from backupng.engine.mailserver.zimbra.configuration import Configuration
from backupng.engine.mailserver.zimbra.rows import Database, MailboxReader, blob_references
from backupng.engine.model import (
    AccountId,
    DirectoryEntry,
    EntryKind,
    ItemId,
    ItemState,
    Mailbox,
    Row,
)

if TYPE_CHECKING:
    from backupng.engine.redolog.files import LogFiles


class Directory(Protocol):
    """The directory of a mail server as it is read."""

    def entries(self, kind: EntryKind) -> Iterator[DirectoryEntry]:
        """Yield all entries of a kind, children with their account."""

    def has_account(self, account_id: str) -> bool:
        """Say whether an account of that id exists, whatever its host."""


class MailServerSource:
    """Implements `port.Source` over a database, a directory and the volumes on this machine.

    `home` is the install root; with `relative_volumes` the volumes' paths are below it. `server`
    carries what it inherits from the global configuration too.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        *,
        server: DirectoryEntry,
        redo_log: LogFiles,
        home: Path,
        relative_volumes: bool = True,
    ) -> None:
        self._db = database
        self._reader = MailboxReader(database)
        self._changes = ChangeReader(database)
        self._directory = directory
        self._home = home
        self._relative_volumes = relative_volumes
        self._volumes: dict[int, volumes.Volume] = {}
        self.server_id = server.entry_id
        self.server_name = server.name
        self._mail_host = server.first("zimbraServiceHostname", server.name).lower()
        named = server.first("zimbraConfiguredServerIDForBlobDirEnabled") == "TRUE"
        self._server_folder = server.entry_id if named else ""
        self.redo_log = redo_log

    def configuration(self) -> Configuration:
        """Return the folders that an admin configures by hand, as they are now."""
        return Configuration(self._home)

    def entries(self, kind: EntryKind) -> Iterator[DirectoryEntry]:
        """Yield all entries of a kind; of accounts, those whose mail lies on this server."""
        for entry in self._directory.entries(kind):
            host = entry.first("zimbraMailHost", self._mail_host)
            if kind is not EntryKind.ACCOUNT or host.lower() == self._mail_host:
                yield entry

    def has_account(self, account_id: str) -> bool:
        """Say whether an account of that id exists, wherever its mail lies."""
        return self._directory.has_account(account_id)

    def snapshot(self) -> AbstractContextManager[None]:
        """Let everything read inside be of one moment."""
        return self._db.snapshot()

    def mailbox(self, account: AccountId) -> Mailbox | None:
        """Return an account's mailbox; None if it was never opened. Raises BrokenItem."""
        return self._reader.mailbox(account)

    def mailbox_of(self, mailbox_id: int) -> Mailbox | None:
        """Return the mailbox with that number; None if it is gone. Raises BrokenItem."""
        return self._changes.mailbox_of(mailbox_id)

    def deleted_mailbox(self, mailbox_id: int) -> DeletedMailbox | None:
        """Return whose a mailbox that is gone was, as long as the server remembers."""
        return self._changes.deleted_mailbox(mailbox_id)

    def census(self, mailbox: Mailbox) -> Census:
        """Count a mailbox, by its indexes alone."""
        return self._changes.census(mailbox)

    def heads(self, mailbox: Mailbox) -> Mapping[ItemId, int]:
        """Return the change number of every live item and user tag, by id."""
        return self._reader.heads(mailbox)

    def dated(self, mailbox: Mailbox, since: int) -> int:
        """Return the sum of (id, date) paired of the items with a change number from `since`."""
        return self._changes.dated(mailbox, since)

    def traits(self, mailbox: Mailbox, items: Iterable[ItemId] | None = None) -> Iterator[Row]:
        """Yield of these, or of all items and user tags what tells a row from one of its number."""
        return self._changes.traits(mailbox, items)

    def states(
        self, mailbox: Mailbox, items: Iterable[ItemId]
    ) -> Iterator[tuple[ItemId, ItemState | ItemError]]:
        """Yield the present state of the given items that still exist, errors among them."""
        return self._reader.states(mailbox, items)

    def living(self, mailbox: Mailbox, items: Iterable[ItemId]) -> set[ItemId]:
        """Return which of these ids exist as an item or a user tag."""
        return self._changes.living(mailbox, items)

    def changed(self, mailbox: Mailbox, since: int, until: int) -> list[ItemId]:
        """Return the ids of items and user tags with a change number from `since` to `until`."""
        return self._changes.changed(mailbox, since, until)

    def buried(self, mailbox: Mailbox, since: int, until: int) -> Mapping[ItemId, int]:
        """Return the number of each deletion from `since` to `until` that left a tombstone."""
        return self._changes.buried(mailbox, since, until)

    def dumped(
        self, mailbox: Mailbox, since: int, until: int
    ) -> Iterator[tuple[ItemId, ItemState | ItemError]]:
        """Yield what went to the dumpster from `since` to `until`, with its last content."""
        return self._changes.dumped(mailbox, since, until)

    def blobs_of(self, state: ItemState) -> Iterator[BlobReference]:
        """Yield the blobs that a state read from here needs. Raises BrokenItem."""
        return blob_references(state)

    def blob(self, mailbox: Mailbox, reference: BlobReference) -> Iterator[bytes]:
        """Yield the plain bytes of a blob. Raises ReadError or BrokenItem."""
        volume = self._volume(volumes.volume_id_of(reference.locator))
        plain = volumes.read_plain(
            volume,
            mailbox.mailbox_id,
            item_id=reference.item_id,
            mod_content=reference.mod_content,
            size_bytes=reference.size,
        )
        if plain is not None:
            yield plain
            return
        path = volumes.find_blob(
            volume,
            mailbox.mailbox_id,
            item_id=reference.item_id,
            mod_content=reference.mod_content,
        )
        with volumes.open_blob(path, reference.size) as file:
            while chunk := file.read(volumes.CHUNK_BYTES):
                yield chunk

    def _volume(self, volume_id: int) -> volumes.Volume:
        if volume_id not in self._volumes:
            home = self._home if self._relative_volumes else None
            found = (
                volumes.volume_of_row(row, home=home, server_folder=self._server_folder)
                for row in self._reader.volume_rows()
            )
            self._volumes = {volume.volume_id: volume for volume in found}
        if volume_id not in self._volumes:
            raise ReadError(f"the volume {volume_id} is not on this server")
        return self._volumes[volume_id]
