"""The sandbox's tables: Zimbra's schema in one SQLite file, plus tables of its own.

Columns and keys follow Zimbra/zm-db-conf `src/db/mysql/db.sql` and `create_database.sql` (10.1).
`mboxgroup3.mail_item` is the table `mboxgroup3__mail_item`. Text that MariaDB compares without case
has the collation UTF8_GENERAL_CI (`codes.folded`); what it declares BINARY has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ITEM_COLUMNS: Final = """
    mailbox_id INTEGER NOT NULL, id INTEGER NOT NULL CHECK (typeof(id) = 'integer'),
    type INTEGER NOT NULL, parent_id INTEGER,
    folder_id INTEGER, prev_folders TEXT, index_id INTEGER, imap_id INTEGER, date INTEGER NOT NULL,
    size INTEGER NOT NULL, locator TEXT, blob_digest TEXT, unread INTEGER,
    flags INTEGER NOT NULL DEFAULT 0, tags INTEGER NOT NULL DEFAULT 0, tag_names TEXT, sender TEXT,
    recipients TEXT, subject TEXT, name TEXT COLLATE UTF8_GENERAL_CI, metadata TEXT,
    mod_metadata INTEGER NOT NULL, change_date INTEGER, mod_content INTEGER NOT NULL, uuid TEXT,
    PRIMARY KEY (mailbox_id, id)"""
_REVISION_COLUMNS: Final = """
    mailbox_id INTEGER NOT NULL, item_id INTEGER NOT NULL, version INTEGER NOT NULL,
    date INTEGER NOT NULL, size INTEGER NOT NULL, locator TEXT, blob_digest TEXT, name TEXT,
    metadata TEXT, mod_metadata INTEGER NOT NULL, change_date INTEGER, mod_content INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, item_id, version)"""

ZIMBRA_TABLES: Final = {
    "volume": """
    id INTEGER PRIMARY KEY, type INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE COLLATE UTF8_GENERAL_CI, path TEXT NOT NULL UNIQUE,
    file_bits INTEGER NOT NULL, file_group_bits INTEGER NOT NULL, mailbox_bits INTEGER NOT NULL,
    mailbox_group_bits INTEGER NOT NULL, compress_blobs INTEGER NOT NULL,
    compression_threshold INTEGER NOT NULL, metadata TEXT, store_type INTEGER NOT NULL DEFAULT 1,
    store_manager_class TEXT""",
    "current_volumes": """
    message_volume_id INTEGER NOT NULL, secondary_message_volume_id INTEGER,
    index_volume_id INTEGER NOT NULL, next_mailbox_id INTEGER NOT NULL""",
    "mailbox": """
    id INTEGER PRIMARY KEY, group_id INTEGER NOT NULL,
    account_id TEXT NOT NULL UNIQUE COLLATE UTF8_GENERAL_CI,
    index_volume_id INTEGER NOT NULL, item_id_checkpoint INTEGER NOT NULL DEFAULT 0,
    contact_count INTEGER DEFAULT 0, size_checkpoint INTEGER NOT NULL DEFAULT 0,
    change_checkpoint INTEGER NOT NULL DEFAULT 0, tracking_sync INTEGER NOT NULL DEFAULT 0,
    tracking_imap INTEGER NOT NULL DEFAULT 0, last_backup_at INTEGER, comment TEXT,
    last_soap_access INTEGER NOT NULL DEFAULT 0, new_messages INTEGER NOT NULL DEFAULT 0,
    idx_deferred_count INTEGER NOT NULL DEFAULT 0, highest_indexed TEXT, version TEXT,
    last_purge_at INTEGER NOT NULL DEFAULT 0, itemcache_checkpoint INTEGER NOT NULL DEFAULT 0""",
    "mailbox_metadata": """
    mailbox_id INTEGER NOT NULL, section TEXT NOT NULL COLLATE UTF8_GENERAL_CI, metadata TEXT,
    PRIMARY KEY (mailbox_id, section)""",
    "deleted_account": """
    email TEXT PRIMARY KEY COLLATE UTF8_GENERAL_CI, account_id TEXT NOT NULL,
    mailbox_id INTEGER NOT NULL, deleted_at INTEGER NOT NULL""",
    "config": "name TEXT PRIMARY KEY, value TEXT, description TEXT, modified TEXT",
    "pending_acl_push": """
    mailbox_id INTEGER NOT NULL, item_id INTEGER NOT NULL, date INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, item_id, date)""",
}
"""Tables of the schema `zimbra`."""

GROUP_TABLES: Final = {
    "mail_item": _ITEM_COLUMNS + ", UNIQUE (mailbox_id, folder_id, name)",
    "mail_item_dumpster": _ITEM_COLUMNS,
    "revision": _REVISION_COLUMNS,
    "revision_dumpster": _REVISION_COLUMNS,
    "tag": """
    mailbox_id INTEGER NOT NULL, id INTEGER NOT NULL,
    name TEXT NOT NULL COLLATE UTF8_GENERAL_CI, color INTEGER,
    item_count INTEGER NOT NULL DEFAULT 0, unread INTEGER NOT NULL DEFAULT 0,
    listed INTEGER NOT NULL DEFAULT 0, sequence INTEGER NOT NULL,
    policy TEXT, PRIMARY KEY (mailbox_id, id), UNIQUE (mailbox_id, name)""",
    "tagged_item": """
    mailbox_id INTEGER NOT NULL, tag_id INTEGER NOT NULL, item_id INTEGER NOT NULL,
    UNIQUE (mailbox_id, tag_id, item_id)""",
    "appointment": """
    mailbox_id INTEGER NOT NULL, uid TEXT NOT NULL COLLATE UTF8_GENERAL_CI,
    item_id INTEGER NOT NULL, start_time TEXT NOT NULL, end_time TEXT,
    PRIMARY KEY (mailbox_id, uid), UNIQUE (mailbox_id, item_id)""",
    "tombstone": """
    mailbox_id INTEGER NOT NULL, sequence INTEGER NOT NULL, date INTEGER NOT NULL,
    type INTEGER NOT NULL, ids TEXT""",
    "open_conversation": """
    mailbox_id INTEGER NOT NULL, hash TEXT NOT NULL, conv_id INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, hash)""",
    "data_source_item": """
    mailbox_id INTEGER NOT NULL, data_source_id TEXT NOT NULL, item_id INTEGER NOT NULL,
    folder_id INTEGER NOT NULL DEFAULT 0, remote_id TEXT NOT NULL, metadata TEXT,
    PRIMARY KEY (mailbox_id, item_id), UNIQUE (mailbox_id, data_source_id, remote_id)""",
    "pop3_message": """
    mailbox_id INTEGER NOT NULL, data_source_id TEXT NOT NULL, uid TEXT NOT NULL,
    item_id INTEGER NOT NULL, PRIMARY KEY (mailbox_id, item_id)""",
    "imap_folder": """
    mailbox_id INTEGER NOT NULL, item_id INTEGER NOT NULL, data_source_id TEXT NOT NULL,
    local_path TEXT NOT NULL, remote_path TEXT NOT NULL, uid_validity INTEGER,
    PRIMARY KEY (mailbox_id, item_id)""",
    "imap_message": """
    mailbox_id INTEGER NOT NULL, imap_folder_id INTEGER NOT NULL, uid INTEGER NOT NULL,
    item_id INTEGER NOT NULL, flags INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (mailbox_id, item_id)""",
}
"""Tables of each schema `mboxgroup<n>`."""

GROUP_INDEXES: Final = {
    "mail_item": ("mod_metadata", "folder_id, date", "parent_id"),
    "tagged_item": ("item_id",),
    "tombstone": ("sequence",),
    "open_conversation": ("conv_id",),
}
"""Indexes besides the keys, each behind mailbox_id."""

DIRECTORY: Final = "directory"
DIRECTORY_TABLES: Final = {
    "entry": """
    dn TEXT PRIMARY KEY COLLATE NOCASE, parent_dn TEXT NOT NULL COLLATE NOCASE, kind TEXT NOT NULL,
    entry_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL COLLATE NOCASE,
    attributes TEXT NOT NULL""",
    "address": "address TEXT PRIMARY KEY, dn TEXT NOT NULL COLLATE NOCASE",
}
"""The directory: entries with their attributes as JSON, and the addresses no two may share."""

SANDBOX: Final = "sandbox"
LOG_TABLE: Final = "log"
SANDBOX_TABLES: Final = {
    LOG_TABLE: """
    time INTEGER NOT NULL, counter INTEGER NOT NULL, sequence INTEGER NOT NULL,
    end INTEGER NOT NULL, opcode INTEGER NOT NULL, mailbox_id INTEGER NOT NULL,
    timestamp INTEGER NOT NULL"""
}
"""What no real server has: the last transaction of the redo log, and where in it that ends."""


def create_statements(schema: str, tables: Mapping[str, str]) -> list[str]:
    """Return the statements that make these tables of a schema."""
    statements = [
        f'CREATE TABLE "{schema}__{name}" ({columns})' for name, columns in tables.items()
    ]
    for name in tables:
        for number, columns in enumerate(GROUP_INDEXES.get(name, ())):
            statements.append(
                f'CREATE INDEX "{schema}__{name}_{number}"'
                f' ON "{schema}__{name}" (mailbox_id, {columns})'
            )
    return statements
