"""What a new server and a new mailbox come with: volumes, system folders, tags of flags."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.database import SqliteDatabase
from backupng.engine.mailserver.zimbra import codes, volumes
from backupng.engine.mailserver.zimbra.metadata import encode_column
from backupng.engine.model import ItemKind

_VOLUMES: Final = (
    (1, volumes.VolumeType.PRIMARY, "message1", "store", 0),
    (2, volumes.VolumeType.INDEX, "index1", "index", 0),
    (3, volumes.VolumeType.SECONDARY, "message2", "store2", 1),
)


def add_volumes(database: SqliteDatabase) -> None:
    """Add the volumes of a fresh server: plain primary, index, compressed secondary."""
    for volume_id, volume_type, name, path, compressed in _VOLUMES:
        database.insert(
            database.table("zimbra", "volume"),
            {
                "id": volume_id,
                "type": int(volume_type),
                "name": name,
                "path": path,
                "file_bits": 12,
                "file_group_bits": 8,
                "mailbox_bits": 12,
                "mailbox_group_bits": 8,
                "compress_blobs": compressed,
                "compression_threshold": 4096,
                "store_manager_class": "com.zimbra.cs.store.file.FileBlobStore",
            },
        )
    current = {"message_volume_id": 1, "index_volume_id": 2, "next_mailbox_id": 1}
    database.insert(database.table("zimbra", "current_volumes"), current)


def add_configuration(folder: Path, name: str) -> None:
    """Make the folders that an admin configures by hand, with the settings of Postfix."""
    (folder / "conf").mkdir(mode=0o750)
    postfix = folder / "postfix" / "conf"
    postfix.mkdir(mode=0o750, parents=True)
    (postfix / "main.cf").write_text(f"myhostname = {name}\n")


def furnish(change: Change, account_id: str) -> None:
    """Make a mailbox's system folders and the tags that mirror flags."""
    for folder, spec in codes.SYSTEM_FOLDERS.items():
        if folder not in codes.OPTIONAL_FOLDERS:
            _add_system_folder(change, folder, spec)
    for tag, tag_name in codes.MIRRORED_FLAGS.items():
        change.insert_side("tag", id=tag, name=tag_name, sequence=0)
    change.log("CreateMailbox", accountId=account_id)


def _add_system_folder(change: Change, folder: int, spec: codes.FolderSpec) -> None:
    values: dict[str, int | str] = {
        "a": spec.attributes,
        "das": "false",
        "mseq": 1,
        "unxt": folder + 1,
    }
    if spec.view is not None:
        values["vt"] = codes.TYPE_OF_KIND[spec.view]
    change.insert(
        ItemKind.FOLDER,
        folder=spec.parent,
        id=folder,
        parent_id=int(spec.parent),
        name=spec.name,
        subject=spec.name,
        unread=0,
        flags=int(spec.flags),
        metadata=encode_column(values),
    )
