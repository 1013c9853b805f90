"""Every operation of a redo log: its number, its name, the layouts of its body.

Numbers and names are those of Zimbra/zm-mailbox
`store/src/java/com/zimbra/cs/mailbox/MailboxOperation.java`; 2 and 5 do not exist. Some are never
written, some by classes that are not public: those have a name and no layout. Here are the bodies
of operations on the log itself, on mailboxes, settings and volumes. Zimbra 10 appended two fields
to CreateVolume without a new version: the layouts of one number are tried in this order.
"""

from __future__ import annotations

from backupng.engine.redolog import ops_items, ops_mail
from backupng.engine.redolog.kinds import (
    BOOL,
    I16,
    I32,
    I64,
    TEXT,
    TYPE,
    AsManyAs,
    Fields,
    Kind,
    Slot,
    group,
    many,
    only,
    since,
)
from backupng.engine.redolog.layouts import Layout, layout

CHECKPOINT, COMMIT, ABORT = 1, 3, 4
END_MARKERS = frozenset({COMMIT, ABORT})
CONTROL = END_MARKERS | {CHECKPOINT}
WITHOUT_LAYOUT = {
    42: "MoveBlobs",
    81: "Download",
    82: "Preview",
    85: "CreateLink",
    87: "Watch",
    88: "Unwatch",
    94: "View",
}


def _has_types(fields: Fields) -> bool:
    return bool(fields["hasTypes"])


def _has_item_ids(fields: Fields) -> bool:
    return bool(fields["hasItemIds"])


_VOLUME: dict[str, Kind | Slot] = {
    "id": I16,
    "type": I16,
    "name": TEXT,
    "rootPath": TEXT,
    "mboxGroupBits": I16,
    "mboxBits": I16,
    "fileGroupBits": I16,
    "fileBits": I16,
}
_OWN = (
    layout(CHECKPOINT, "Checkpoint", txns=many(group(time=I32, counter=I32))),
    layout(COMMIT, "CommitTxn", opcode=I32),
    layout(ABORT, "AbortTxn", opcode=I32),
    layout(6, "Rollover", seq=I64, filename=TEXT),
    layout(7, "CreateMailbox", accountId=TEXT),
    layout(8, "DeleteMailbox"),
    layout(9, "BackupMailbox", backupSetTstamp=I64, startTime=I64, endTime=I64, label=TEXT),
    layout(
        10,
        "ReindexMailbox",
        completionId=since(9, I32),
        hasTypes=since(9, BOOL),
        types=since(9, only(_has_types, many(TYPE))),
        hasItemIds=since(10, BOOL),
        itemIds=since(10, only(_has_item_ids, many(I32))),
        skipDelete=since(20, BOOL),
    ),
    layout(11, "PurgeOldMessages"),
    layout(17, "IndexItem", id=I32, type=TYPE, deleteFirst=since(8, BOOL)),
    layout(
        38,
        "CreateVolume",
        **_VOLUME,
        compressBlobs=BOOL,
        storeType=I16,
        storeManagerClass=TEXT,
    ),
    layout(38, "CreateVolume", **_VOLUME, compressBlobs=BOOL),
    layout(39, "ModifyVolume", **_VOLUME),
    layout(40, "DeleteVolume", id=I16),
    layout(41, "SetCurrentVolume", type=I16, id=I16),
    layout(45, "TrackSync"),
    layout(46, "SetConfig", section=TEXT, config=TEXT),
    layout(55, "TrackImap"),
    layout(65, "PurgeImapDeleted"),
    layout(68, "IndexDeferredItems", ids=many(I32), types=AsManyAs("ids", TYPE)),
    layout(69, "RenameMailbox", newName=TEXT, oldName=since(25, TEXT)),
    layout(93, "DeleteConfig", sectionPattern=TEXT),
)
LAYOUTS: tuple[Layout, ...] = _OWN + ops_mail.LAYOUTS + ops_items.LAYOUTS
_BY_OPCODE = {
    opcode: tuple(each for each in LAYOUTS if each.opcode == opcode)
    for opcode in {each.opcode for each in LAYOUTS}
}


def layouts(opcode: int) -> tuple[Layout, ...]:
    """Return the layouts that records of this number can have, in the order to try them."""
    return _BY_OPCODE.get(opcode, ())


def name(opcode: int) -> str | None:
    """Return the name of an operation; None for a number unknown here."""
    found = layouts(opcode)
    return found[0].op if found else WITHOUT_LAYOUT.get(opcode)
