"""Copying: one account of a sandbox on its way into another, without a Backup Path between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from backupng.engine.errors import ReadError
from backupng.engine.mailserver.port import BlobReference, MailboxWriter, Places
from backupng.engine.mailserver.sandbox.destination import SandboxDestination
from backupng.engine.mailserver.sandbox.listing import listing
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.model import AccountId, Digest, DirectoryEntry, ItemId, ItemState
from backupng.engine.restore.rename import ROOTS, order

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
COPY = "copy@example.com"
INBOX = ItemId(SystemFolder.INBOX)
EQUAL = ("type", "folder", "name", "subject", "flags", "unread", "tags", "color", "size", "digest")


@dataclass
class Copying:
    """One account of a sandbox on its way into another: all blobs by digest, all ids led along."""

    sandbox: Sandbox
    source: DirectoryEntry
    target: DirectoryEntry
    writer: MailboxWriter
    gone: dict[ItemId, ItemId] = field(default_factory=lambda: {root: root for root in ROOTS})
    known: dict[Digest, BlobReference] = field(default_factory=dict)

    @property
    def accounts(self) -> dict[AccountId, AccountId]:
        return {AccountId(self.source.entry_id): AccountId(self.target.entry_id)}

    def states(self) -> dict[ItemId, ItemState]:
        source, mailbox = self.sandbox.source(), self.sandbox.mailbox(self.source)
        found = source.states(mailbox, source.heads(mailbox))
        return {item: state for item, state in found if isinstance(state, ItemState)}

    def blobs(self, digest: Digest) -> Iterable[bytes]:
        """Give a blob of the source."""
        source = self.sandbox.source()
        if digest not in self.known:
            needed = (each for state in self.states().values() for each in source.blobs_of(state))
            self.known.update((each.digest, each) for each in needed)
        if digest not in self.known:
            raise ReadError(f"no blob {digest}")
        return source.blob(self.sandbox.mailbox(self.source), self.known[digest])

    def put(self, state: ItemState) -> ItemId:
        """Put one item."""
        folder = self.gone.get(state.folder_id or INBOX, INBOX)
        places = Places(folder=folder, items=self.gone, accounts=self.accounts)
        item = self.writer.put_item(state, places, self.blobs)
        self.gone[state.item_id] = item
        return item

    def put_all(self) -> None:
        """Put everything, in the order of a restore."""
        states = self.states()
        plan = order(states.values())
        for state in plan.tags:
            self.writer.put_tag(state)
        for state in (*plan.system, *plan.folders):
            parent = self.gone[state.folder_id or INBOX]
            self.gone[state.item_id], _ = self.writer.put_folder(state, parent)
        for item in plan.items:
            self.put(states[item.item_id])

    def listed(self, account: DirectoryEntry) -> Counter[str]:
        """Return what must be equal after a restore."""
        items = listing(self.sandbox, account)["items"]
        kept = [item for item in items if item["type"] != "mountpoint"]
        return Counter(str([item[word] for word in EQUAL]) for item in kept)


@contextmanager
def copying(
    sandbox: Sandbox,
    source: DirectoryEntry,
    attributes: Mapping[str, tuple[bytes, ...]] = MappingProxyType({}),
) -> Iterator[Copying]:
    """Make the account to copy to, and open it."""
    destination = SandboxDestination(sandbox, lambda: NOW)
    target = destination.create_account(COPY, attributes)
    with destination.open(target) as writer:
        yield Copying(sandbox, source, target, writer)
