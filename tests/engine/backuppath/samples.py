"""What the tests of the Backup Path write: one server, one account, a few states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.blobs import BlobCodec, Packer
from backupng.engine.backuppath.store import BackupPath, Owner, Writer
from backupng.engine.model import (
    AccountId,
    Digest,
    DirectoryEntry,
    EntryKind,
    EntryState,
    ItemId,
    ItemKind,
    ItemState,
    Mailbox,
    MailboxState,
)

SERVER = "5a62fc0b-ff85-4ce8-b97d-14fe3897f178"
ACCOUNT = AccountId("f449b723-15f8-4727-bb2d-1f7c7a5725b2")
ITEM = ItemId(257)
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SCAN = "scan"
PLAIN = (b"Subject: Ordine n. 0\r\n\r\nBuongiorno, grazie.", b"Subject: Re: 8\r\n\r\nPrego!\r\n")
ROW = {"id": 257, "type": 5, "subject": "Ordine n. 0", "size": 2063, "metadata": "d1:v2:10e"}


OWNER = Owner(server_id=SERVER, server_name="zimbra1")


def new_path(root: Path) -> BackupPath:
    """Make a Backup Path at `root`, or open it again."""
    root.mkdir(exist_ok=True)
    return BackupPath.open_or_create(root, OWNER, now=NOON)


def message(item: int = 257, mod: int = 11, **changes: Any) -> ItemState:
    """Return a message's state, as a scan `mod` minutes after noon saw it."""
    values: dict[str, Any] = {
        "kind": ItemKind.MESSAGE,
        "start": NOON + timedelta(minutes=mod),
        "source": "scan:1772452800000",
        "folder_id": ItemId(2),
        "subject": "Ordine n. 0",
        "row": ROW,
    }
    return ItemState(item_id=ItemId(item), mod=mod, **(values | changes))


def deletion(item: int = 257, mod: int = 12) -> ItemState:
    """Return the state of a deleted message."""
    return ItemState(
        item_id=ItemId(item),
        kind=ItemKind.MESSAGE,
        mod=mod,
        start=NOON + timedelta(minutes=mod),
        deleted=True,
    )


def entry(
    kind: EntryKind = EntryKind.ACCOUNT, entry_id: str = ACCOUNT, **attributes: bytes
) -> EntryState:
    """Return a directory entry's state."""
    found = DirectoryEntry(
        kind=kind,
        entry_id=entry_id,
        name="alice@example.com",
        dn="uid=alice,ou=people,dc=example,dc=com",
        attributes={name: (value,) for name, value in attributes.items()},
    )
    return EntryState(start=NOON, entry=found)


def mailbox(mod: int = 11, **sections: str) -> MailboxState:
    """Return what a scan found in the mailbox as a whole."""
    row = {"id": 3, "group_id": 3, "account_id": ACCOUNT}
    found = Mailbox(mailbox_id=3, account_id=ACCOUNT, group_id=3, row=row, sections=sections)
    return MailboxState(start=NOON, mod=mod, mailbox=found, mark=f"mark {mod}")


def add_message(writer: Writer, plain: bytes, item: int = 257, mod: int = 11) -> Digest:
    """Queue a message with its blob; return its digest."""
    digest, length, _ = writer.add_blob([plain])
    writer.add_states(ACCOUNT, [message(item, mod, digest=digest, size=length)])
    return digest


def write(path: BackupPath, *states: ItemState) -> int:
    """Commit states in one group; return how many were news."""
    with path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, states)
        return writer.commit()


def mods(path: BackupPath, item: int = 257) -> list[int]:
    """Return the change numbers of an item's history."""
    return [state.mod for state in path.history(ACCOUNT, ItemId(item))]


def is_kept(path: BackupPath, state: ItemState) -> bool:
    """Say whether a state's blob, if it has one, is there and whole. Raises ItemError."""
    return state.digest is None or bool(list(path.blob(state.digest)))


def item_file(path: BackupPath, item: int = 257) -> Path:
    """Return where an item's history lies on the disk."""
    return path.tree.root / layout.item_file(ACCOUNT, ItemId(item))


def blob_file(path: BackupPath, digest: Digest) -> Path:
    """Return where a blob lies on the disk."""
    return path.tree.root / layout.blob_file(digest)


def fill(path: BackupPath) -> tuple[Digest, Digest]:
    """Write one file of each kind; return the digests of a zstandard and a gzip blob."""
    with path.writer(SCAN) as writer:
        first = add_message(writer, PLAIN[0], 257, 11)
        writer.add_states(ACCOUNT, [deletion(257, 12)])
        writer.add_entry(entry(cn=b"Alice"))
        writer.add_entry(entry(EntryKind.COS, "c"))
        writer.add_mailbox(mailbox())
        writer.commit()
    with path.writer(SCAN, packer=Packer(BlobCodec.GZIP)) as writer:
        second = add_message(writer, PLAIN[1], 258, 12)
        writer.commit()
        writer.set_checkpoint({"smartscan": {"id": 1}})
    return first, second


def files(root: Path) -> dict[str, bytes]:
    """Return every file below `root` with its content, but for working files."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.relative_to(root).parts[0].startswith(".")
    }


def blobs_below(root: Path) -> list[Digest]:
    """Return what blobs there are, by their names."""
    return [Digest(Path(name).name) for name in files(root) if name.startswith("items/")]
