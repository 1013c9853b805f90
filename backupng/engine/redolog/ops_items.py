"""Bodies of operations on items that are there: moved, marked, deleted; tags and folders.

Each is written and read by the class of its name in Zimbra/zm-mailbox
`store/src/java/com/zimbra/cs/redolog/op/`. A single id from the days before lists stands first
(`legacyId`, since then always -1); the list is absent where it is greater than 0. Opcode 35 is
written by three classes, 86 with and without the list `keep` (zextras/carbonio-mailbox
`store/src/main/java/com/zimbra/cs/redolog/op/SetRetentionPolicy.java`): the layouts of one number
are tried in this order.
"""

from __future__ import annotations

from backupng.engine.redolog.kinds import (
    BOOL,
    COLOR,
    I8,
    I16,
    I32,
    I64,
    TEXT,
    TEXTS,
    TYPE,
    Fields,
    Grown,
    Kind,
    Slot,
    before,
    group,
    many,
    only,
    since,
)
from backupng.engine.redolog.layouts import layout
from backupng.engine.redolog.ops_mail import has_section


def _has_list(fields: Fields) -> bool:
    return bool(fields["legacyId"] <= 0)


def _has_copies(fields: Fields) -> bool:
    return bool(fields["legacySrcId"] <= 0 or fields["legacyDestId"] <= 0)


def _has_constraint(fields: Fields) -> bool:
    return bool(fields["hasConstraint"])


def _has_date(fields: Fields) -> bool:
    return bool(fields["hasDate"])


_CONSTRAINT: dict[str, Kind | Slot] = {
    "hasConstraint": BOOL,
    "constraint": only(_has_constraint, TEXT),
}
_IDS = only(_has_list, many(I32))
_COPIES: dict[str, Kind | Slot] = {
    "legacySrcId": I32,
    "legacyDestId": I32,
    "type": TYPE,
    "destFolderId": I32,
    "unused": I16,
    "copies": only(_has_copies, many(group(srcId=I32, destId=I32, destUuid=since(37, TEXT)))),
    "fromDumpster": since(30, BOOL),
}
_SECTION: dict[str, Kind | Slot] = {
    "customKey": since(41, TEXT),
    "customValue": since(41, only(has_section, TEXT)),
}
_REMOTE: dict[str, Kind | Slot] = {
    "id": I32,
    "uuid": since(37, TEXT),
    "name": TEXT,
    "ownerId": TEXT,
    "remoteId": I32,
}
_REVOKED: dict[str, Kind | Slot] = {
    "folderId": I32,
    "grantee": TEXT,
    "dueToExpiry": since(39, BOOL),
}
_POLICIES = many(group(id=TEXT, lifetime=TEXT))

_ITEMS = (
    layout(16, "ColorItem", legacyId=I32, type=TYPE, color=COLOR, ids=_IDS),
    layout(
        18,
        "AlterItemTag",
        legacyId=I32,
        type=TYPE,
        tagName=since(33, TEXT),
        tagId=before(33, I32),
        tagged=BOOL,
        **_CONSTRAINT,
        ids=_IDS,
    ),
    layout(
        19,
        "SetItemTags",
        legacyId=I32,
        type=TYPE,
        flags=I32,
        tags=since(33, TEXTS),
        tagBitmask=before(33, I64),
        **_CONSTRAINT,
        ids=_IDS,
    ),
    layout(
        20,
        "MoveItem",
        legacyId=I32,
        type=TYPE,
        destFolderId=I32,
        **_CONSTRAINT,
        ids=_IDS,
        uidNext=since(16, I32),
    ),
    layout(21, "DeleteItem", legacyId=I32, type=TYPE, **_CONSTRAINT, ids=_IDS),
    layout(22, "CopyItem", **_COPIES),
    layout(29, "SetImapUid", uids=many(group(itemId=I32, imapUid=I32))),
    layout(
        56,
        "ImapCopyItem",
        type=TYPE,
        destFolderId=I32,
        unused=I16,
        copies=many(group(srcId=I32, destId=I32, unused=I32, destUuid=since(37, TEXT))),
    ),
    layout(
        61,
        "RenameItem",
        id=I32,
        folderId=I32,
        name=TEXT,
        type=TYPE,
        hasDate=since(40, BOOL),
        date=since(40, only(_has_date, I64)),
    ),
    layout(
        62,
        "RenameItemPath",
        id=I32,
        path=TEXT,
        parents=many(group(id=I32, uuid=since(37, TEXT))),
        type=TYPE,
    ),
    layout(71, "DateItem", id=I32, type=TYPE, date=I64),
    layout(73, "SetCustomData", id=I32, type=TYPE, section=TEXT, value=TEXT),
    layout(74, "LockItem", type=TYPE, accountId=TEXT, id=I32),
    layout(75, "UnlockItem", type=TYPE, accountId=TEXT, id=I32),
    layout(77, "DeleteItemFromDumpster", ids=many(I32)),
    layout(79, "RecoverItem", **_COPIES),
    layout(95, "SetPop3Uid", id=I32, type=TYPE, uid=TEXT),
)
_FOLDERS_AND_TAGS = (
    layout(
        12,
        "CreateSavedSearch",
        searchId=I32,
        uuid=since(37, TEXT),
        name=TEXT,
        query=TEXT,
        types=TEXT,
        sort=TEXT,
        folderId=I32,
        flags=since(28, I32),
        color=COLOR,
    ),
    layout(13, "ModifySavedSearch", searchId=I32, query=TEXT, types=TEXT, sort=TEXT),
    layout(14, "CreateTag", tagId=I32, name=TEXT, color=COLOR),
    layout(15, "RenameTag", id=I32, name=TEXT),
    layout(
        23,
        "CreateFolderPath",
        path=TEXT,
        attrs=I8,
        view=TYPE,
        flags=I32,
        color=COLOR,
        url=TEXT,
        hasDate=since(41, BOOL),
        date=since(41, only(_has_date, I64)),
        **_SECTION,
        folders=many(group(id=I32, uuid=since(37, TEXT))),
    ),
    layout(24, "RenameFolderPath", id=I32, path=TEXT, parents=many(I32)),
    layout(25, "EmptyFolder", folderId=I32, subfolders=BOOL),
    layout(
        58,
        "CreateFolder",
        name=TEXT,
        parentId=I32,
        attrs=since(19, I8),
        view=TYPE,
        flags=I32,
        color=COLOR,
        url=TEXT,
        folderId=I32,
        uuid=since(37, TEXT),
        hasDate=since(39, BOOL),
        date=since(39, only(_has_date, Grown(40, I32, I64))),
        **_SECTION,
    ),
    layout(59, "RenameFolder", id=I32, parentId=I32, name=TEXT),
    layout(72, "SetFolderDefaultView", folderId=I32, view=TYPE),
    layout(49, "SetFolderUrl", folderId=I32, url=TEXT),
    layout(50, "SetSubscriptionData", folderId=I32, lastItemDate=I64, lastItemGuid=TEXT),
    layout(91, "SetDisableActiveSync", folderId=I32, disable=BOOL),
    layout(92, "SetWebOfflineSyncDays", folderId=I32, days=I32),
)
_SHARES_AND_POLICIES = (
    layout(
        35,
        "CreateMountpoint",
        **_REMOTE,
        remoteUuid=since(38, TEXT),
        folderId=I32,
        view=TYPE,
        flags=I32,
        color=COLOR,
        reminder=since(33, BOOL),
    ),
    layout(
        35,
        "CreateFileSharedWithMe",
        **_REMOTE,
        remoteUuid=TEXT,
        folderId=I32,
        ownerName=TEXT,
        contentType=TEXT,
        rights=TEXT,
    ),
    layout(35, "CreateLink", **_REMOTE, folderId=I32),
    layout(
        47,
        "GrantAccess",
        folderId=I32,
        grantee=TEXT,
        granteeType=I8,
        rights=I16,
        inherit=BOOL,
        password=since(2, TEXT),
        expiry=since(36, I64),
    ),
    layout(48, "RevokeAccess", **_REVOKED),
    layout(90, "ExpireAccess", **_REVOKED),
    layout(51, "SetPermissions", folderId=I32, acl=TEXT),
    layout(80, "EnableSharedReminder", mountpointId=I32, enabled=BOOL),
    layout(89, "RefreshMountpoint", id=I32, ownerId=TEXT, remoteId=I32),
    layout(86, "SetRetentionPolicy", type=TYPE, itemId=I32, keep=_POLICIES, purge=_POLICIES),
    layout(86, "SetRetentionPolicy", type=TYPE, itemId=I32, purge=_POLICIES),
)
LAYOUTS = _ITEMS + _FOLDERS_AND_TAGS + _SHARES_AND_POLICIES
