"""The closed table: what the records of each operation do to a mailbox's items.

*Exact* records say themselves what becomes of an item. *Swept* ones only name it: its row in the
database is its state, once that row bears the record's number. Rows that a transaction changed on
the way, conversations for instance, are swept with every record. What none of them can settle
makes the account uncertain. `zimbra-redolog.md` §10.2 has the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from backupng.engine.redolog import ops
from backupng.engine.scan import arrivals, edits
from backupng.engine.scan.effects import Apply, Effect, Operation, touching
from backupng.engine.scan.known import Known

NOTHING = Effect()


def _nothing(op: Operation, known: Known) -> Effect:
    """The rows that bear its number say all, and no other item can have changed."""
    return NOTHING


def _touches(*keys: str) -> Apply:
    def apply(op: Operation, known: Known) -> Effect:
        return touching(*(op.fields[key] for key in keys))

    return apply


def _purge(op: Operation, known: Known) -> Effect:
    return Effect(whole="the server purged old items and says nowhere which")


EXACT: Mapping[str, Apply] = MappingProxyType(
    {
        "CreateMessage": arrivals.create_message,
        "CreateChat": arrivals.create_chat,
        "SaveDraft": arrivals.save_draft,
        "CreateContact": arrivals.create_contact,
        "ModifyContact": arrivals.modify_contact,
        "SaveDocument": arrivals.save_document,
        "AddDocumentRevision": arrivals.add_document_revision,
        "CreateFolder": arrivals.create_folder,
        "CreateFolderPath": arrivals.create_folder_path,
        "CreateSavedSearch": arrivals.create_saved_search,
        "CreateMountpoint": arrivals.create_mountpoint,
        "CreateTag": arrivals.create_tag,
        "MoveItem": edits.move_items,
        "AlterItemTag": edits.alter_tag,
        "SetItemTags": edits.set_tags,
        "ColorItem": edits.color_items,
        "DateItem": edits.date_item,
        "RenameItem": edits.rename_item,
        "CopyItem": edits.copy_items,
        "ImapCopyItem": edits.copy_items,
        "RecoverItem": edits.copy_items,
        "DeleteItem": edits.delete_items,
        "PurgeImapDeleted": edits.purge_imap_deleted,
        "EmptyFolder": edits.empty_folder,
    }
)

SWEPT: Mapping[str, Apply] = MappingProxyType(
    {
        "CreateInvite": _touches("calItemId"),
        "SetCalendarItem": _touches("calItemId"),
        "SaveChat": _touches("msgId"),
        "SaveWiki": _touches("msgId"),
        "EditNote": _touches("id"),
        "RenameItemPath": _touches("id"),
        "RenameFolder": _touches("id"),
        "RenameFolderPath": _touches("id"),
        "RenameTag": _touches("id"),
        "SetFolderUrl": _touches("folderId"),
        "PurgeOldMessages": _purge,
        # The rest changes nothing that a person sees of an item it does not name in its own row.
        **dict.fromkeys(
            (
                *("CreateNote", "RepositionNote", "CreateComment", "CreateLink"),
                *("CreateFileSharedWithMe", "ICalReply", "ModifyInvitePartStat"),
                *("ModifyInviteFlag", "DismissCalendarItemAlarm", "SnoozeCalendarItemAlarm"),
                *("FixCalendarItemEndTime", "FixCalendarItemTZ", "FixCalendarItemTimeZone"),
                *("FixCalendarItemPriority", "PurgeRevision", "LockItem", "UnlockItem"),
                *("SetImapUid", "SetPop3Uid", "SetCustomData", "GrantAccess", "RevokeAccess"),
                *("ExpireAccess", "SetPermissions", "SetSubscriptionData", "ModifySavedSearch"),
                *("SetFolderDefaultView", "SetRetentionPolicy", "RefreshMountpoint"),
                *("EnableSharedReminder", "SetDisableActiveSync", "SetWebOfflineSyncDays"),
                *("CreateMailbox", "BackupMailbox", "MoveBlobs"),
            ),
            _nothing,
        ),
    }
)

IGNORED = frozenset(
    {
        *("CommitTxn", "AbortTxn", "Checkpoint", "Rollover"),
        *("ReindexMailbox", "IndexItem", "IndexDeferredItems", "DeleteItemFromDumpster"),
        *("CreateVolume", "ModifyVolume", "DeleteVolume", "SetCurrentVolume"),
        *("DeleteMailbox", "RenameMailbox", "TrackSync", "TrackImap"),
        # Sections of a mailbox have no change number: scans compare them.
        *("SetConfig", "DeleteConfig"),
        "StoreIncomingBlob",
        *("Download", "Preview", "Watch", "Unwatch", "View"),
    }
)
"""Operations that change no item; accounts themselves are told by the directory."""


CARRYING = frozenset(layout.op for layout in ops.LAYOUTS if "bodyType" in layout.slots)
"""Operations whose records carry a message or document, or name it by its digest."""


def effect_of(op: Operation, known: Known) -> Effect:
    """Return what an operation does; one that is not in the table leaves the account uncertain."""
    apply = EXACT.get(op.name) or SWEPT.get(op.name)
    if apply is not None:
        return apply(op, known)
    return NOTHING if op.name in IGNORED else Effect(whole=f"{op.name or 'a record'} is unknown")
