"""class SandboxClient: what users and admins do on a sandbox, by address, item and folder path."""

from __future__ import annotations

import mimetypes
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.mailserver.sandbox import arrivals, edits, removal
from backupng.engine.mailserver.sandbox.listing import listing
from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.mailserver.sandbox.redo import STREAMED
from backupng.engine.mailserver.sandbox.series import MailboxSeries
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.model import DirectoryEntry, EntryKind, ItemId, ItemKind, to_ms


class SandboxClient:
    """One sandbox, used by name.

    Every method is one change, made whole or not at all; where a user's act is several changes, as
    on the real server, what is refused is refused before the first of them.

    Raises BadRequest or InvalidItem for what the server refuses.
    """

    def __init__(self, sandbox: Sandbox, clock: Callable[[], datetime]) -> None:
        self._sandbox = sandbox
        self._clock = clock

    # Accounts and classes of service

    def create_account(self, address: str, *, cos: str = "") -> str:
        """Make an account with an empty mailbox; returns its id."""
        attributes = {"zimbraCOSId": self._cos_id(cos)} if cos else {}
        account = self._sandbox.create_account(
            address, str(uuid.uuid4()), now_ms=self._now_ms, attributes=attributes
        )
        return account.entry_id

    def delete_account(self, address: str) -> None:
        """Remove an account with all it holds."""
        self._sandbox.delete_account(self._sandbox.account(address), now_ms=self._now_ms)

    def set_cos(self, address: str, cos: str) -> None:
        """Put an account into a class of service; an unknown name makes one."""
        account = self._sandbox.account(address)
        cos_id = self._cos_id(cos)
        with self._sandbox.locked():
            self._sandbox.directory.modify(account, {"zimbraCOSId": (cos_id.encode(),)})

    def set_cos_notes(self, cos: str, notes: str) -> None:
        """Set the Notes of a class of service; an unknown name makes one."""
        self._cos_id(cos)
        with self._sandbox.locked():
            entry = self._sandbox.directory.find(EntryKind.COS, cos)
            if entry is not None:
                values = (notes.encode(),) if notes else ()
                self._sandbox.directory.modify(entry, {"zimbraNotes": values})

    # What arrives

    def create_folder(self, address: str, path: str) -> ItemId:
        """Make a folder, missing parents with it."""
        with self._on(address).change() as change:
            return arrivals.make_folder(change, path)

    def deliver(
        self, address: str, raw: bytes, *, folder: str, date: datetime | None = None
    ) -> ItemId:
        """Deliver a message, unread."""
        received = to_ms(date or self._clock()) // 1000
        with self._on(address).change() as change:
            target = arrivals.folder_id(change, folder)
            return arrivals.deliver(change, raw, folder=target, date=received)

    def deliver_to_all(self, addresses: Iterable[str], raw: bytes) -> None:
        """Deliver a message to the Inboxes of several accounts, each by itself.

        As on the real server it is logged once, and each mailbox refers to it.
        """
        accounts = {account.entry_id: account for account in map(self._sandbox.account, addresses)}
        path = STREAMED
        if len(accounts) > 1:
            mailboxes = [self._sandbox.mailbox(account) for account in accounts.values()]
            path = self._sandbox.store_incoming(raw, mailboxes, now_ms=self._now_ms)
        for account in accounts.values():
            with self._on(account).change() as change:
                arrivals.deliver(
                    change, raw, folder=SystemFolder.INBOX, date=change.date, path=path
                )

    def addressee(self, address: str) -> str | None:
        """Return the name of the account that mail to an address or alias goes to, if any does."""
        found = self._sandbox.directory.find(EntryKind.ACCOUNT, address) if "@" in address else None
        return found.name if found else None

    def add_contact(self, address: str, raw: bytes) -> ItemId:
        """Add a contact from a vCard."""
        with self._on(address).change() as change:
            return arrivals.add_contact(change, raw)

    def add_calendar_item(self, address: str, raw: bytes, *, kind: ItemKind) -> ItemId:
        """Add an appointment or task from iCalendar text."""
        account = self._sandbox.account(address)
        with self._on(account).change() as change:
            return arrivals.add_calendar_item(change, raw, address=account.name, kind=kind)

    def save_document(self, address: str, raw: bytes, *, name: str) -> ItemId:
        """Save a document in the Briefcase; the same name again makes a new version."""
        account = self._sandbox.account(address)
        content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        with self._on(account).change() as change:
            return arrivals.save_document(
                change, raw, name=name, content_type=content_type, creator=account.name
            )

    # What happens to it

    def move(self, address: str, item: int, folder: str) -> int:
        """Move an item; returns how many items changed."""
        with self._on(address).change() as change:
            return edits.move(change, item, arrivals.folder_id(change, folder))

    def flag(self, address: str, item: int, words: Iterable[str]) -> int:
        """Set and clear flags, `+unread`, `-flagged`; returns how many items changed."""
        return edits.flag(self._on(address), item, words)

    def tag(self, address: str, item: int, name: str) -> int:
        """Put a tag on an item; returns how many items changed."""
        with self._on(address).change() as change:
            return edits.tag(change, item, name)

    def delete(self, address: str, item: int) -> int:
        """Delete an item for good; returns how many items went."""
        return removal.delete(self._on(address), item)

    def empty_folder(self, address: str, folder: str) -> int:
        """Delete all that is in a folder; returns how many items went."""
        return removal.empty_folder(self._on(address), folder)

    def share(self, address: str, folder: str, *, grantee: str, rights: str) -> int:
        """Grant another account rights on a folder; returns how many items changed."""
        other = self._sandbox.account(grantee)
        with self._on(address).change() as change:
            target = arrivals.folder_id(change, folder)
            return edits.share(change, target, other.entry_id, rights)

    def play(self, *, seed: int) -> Play:
        """Return users who work in all mailboxes, step by step."""
        return Play(self._sandbox, seed=seed)

    # What can be seen

    def list(self, address: str, *, deleted: bool = False) -> dict[str, Any]:
        """Return the account, its live items and its tags; on request what its dumpster holds."""
        return listing(self._sandbox, self._sandbox.account(address), deleted=deleted)

    def blob(self, address: str, item: int) -> bytes:
        """Return the plain bytes of an item's blob."""
        account = self._sandbox.account(address)
        source = self._sandbox.source()
        mailbox = self._sandbox.mailbox(account)
        state = dict(source.states(mailbox, [ItemId(item)])).get(ItemId(item))
        if isinstance(state, ItemError):
            raise state
        reference = next(iter(source.blobs_of(state)), None) if state else None
        if state is None or state.digest is None or reference is None:
            what = "no blob" if state else "no such item"
            raise BadRequest(f"{account.name}, item {item}: {what}.", code="no_such_item")
        return b"".join(source.blob(mailbox, reference))

    def _on(self, account: str | DirectoryEntry) -> MailboxSeries:
        """Return who changes the mailbox of an account, given by name or as its entry."""
        found = self._sandbox.account(account) if isinstance(account, str) else account
        return MailboxSeries(self._sandbox, found, lambda: self._now_ms)

    @property
    def _now_ms(self) -> int:
        return to_ms(self._clock())

    def _cos_id(self, name: str) -> str:
        """Return the id of a class of service, made if there is none of that name."""
        with self._sandbox.locked():
            found = self._sandbox.directory.find(EntryKind.COS, name)
            if found is not None:
                return found.entry_id
            cos_id = str(uuid.uuid4())
            self._sandbox.add_entry(EntryKind.COS, name, cos_id)
            return cos_id
