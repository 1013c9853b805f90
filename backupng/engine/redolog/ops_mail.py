"""Bodies of operations that carry content: messages, documents, contacts, calendar items, notes.

Each is written and read by the class of its name in Zimbra/zm-mailbox
`store/src/java/com/zimbra/cs/redolog/op/`. What is common to all with a message is CreateMessage's:

    rcptEmail text · receivedDate i64 (1.4) · shared · digest text · msgSize i64 (before 1.42 i32) ·
    msgId · folderId · convId · convFirstMsgId (1.5) · mergedConvIds (1.32) · calItemId ·
    calPartStat text (1.1) · flags · noICal · tags texts (before 1.33 tagIds text) · path text ·
    unused i16 · customKey text (1.25) · customValue text unless the key is null · bodyType i8 ·
    bodyType 1: bulk data; any other: unused2 i16
"""

from __future__ import annotations

from backupng.engine.redolog.kinds import (
    BOOL,
    BULK,
    COLOR,
    I8,
    I16,
    I32,
    I64,
    MAILBOX_ID,
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

INLINE = 1
"""The body type of a message whose bytes are in the record itself."""


def has_section(fields: Fields) -> bool:
    """Say whether a custom metadata section follows."""
    return fields["customKey"] is not None


def _is_inline(fields: Fields) -> bool:
    return bool(fields["bodyType"] == INLINE)


def _is_elsewhere(fields: Fields) -> bool:
    return not _is_inline(fields)


def _has_message(fields: Fields) -> bool:
    # Before 1.24 the flag is not there and the message always is.
    return bool(fields.get("hasMessage", True))


def _has_default(fields: Fields) -> bool:
    # Before 1.17 likewise.
    return bool(fields.get("hasDefault", True))


_MESSAGE: dict[str, Kind | Slot] = {
    "rcptEmail": TEXT,
    "receivedDate": since(4, I64),
    "shared": BOOL,
    "digest": TEXT,
    "msgSize": Grown(42, I32, I64),
    "msgId": I32,
    "folderId": I32,
    "convId": I32,
    "convFirstMsgId": since(5, I32),
    "mergedConvIds": since(32, many(I32)),
    "calItemId": I32,
    "calPartStat": since(1, TEXT),
    "flags": I32,
    "noICal": BOOL,
    "tags": since(33, TEXTS),
    "tagIds": before(33, TEXT),
    "path": TEXT,
    "unused": I16,
    "customKey": since(25, TEXT),
    "customValue": since(25, only(has_section, TEXT)),
    "bodyType": I8,
    "data": only(_is_inline, BULK),
    "unused2": only(_is_elsewhere, I16),
}
_DOCUMENT: dict[str, Kind | Slot] = {
    "filename": TEXT,
    "mimeType": TEXT,
    "author": TEXT,
    "type": TYPE,
    "description": since(29, TEXT),
    "descEnabled": since(31, BOOL),
    "uuid": since(37, TEXT),
    **_MESSAGE,
}
_PAIR = group(k=TEXT, v=TEXT)
_INVITE = group(
    force=BOOL,
    localTz=TEXT,
    invite=TEXT,
    hasMessage=since(24, BOOL),
    receivedDate=only(_has_message, I64),
    data=only(_has_message, BULK),
)

LAYOUTS = (
    layout(
        26,
        "StoreIncomingBlob",
        mailboxIds=since(0, many(MAILBOX_ID)),
        digest=TEXT,
        path=TEXT,
        unused=I16,
        msgSize=I32,
        data=BULK,
    ),
    layout(27, "CreateMessage", **_MESSAGE),
    layout(28, "SaveDraft", imapId=I32, **_MESSAGE),
    layout(63, "CreateChat", **_MESSAGE),
    layout(64, "SaveChat", imapId=I32, **_MESSAGE),
    layout(52, "SaveWiki", wikiWord=TEXT, **_DOCUMENT),
    layout(53, "SaveDocument", **_DOCUMENT),
    layout(54, "AddDocumentRevision", docId=I32, **_DOCUMENT),
    layout(76, "PurgeRevision", id=I32, revision=I32, includeOlder=BOOL),
    layout(
        84,
        "CreateComment",
        itemId=I32,
        uuid=since(37, TEXT),
        parentId=I32,
        creatorId=TEXT,
        text=TEXT,
    ),
    layout(
        30,
        "CreateContact",
        contactId=I32,
        folderId=I32,
        unused=I16,
        tags=since(33, TEXTS),
        tagIds=before(33, TEXT),
        fields=many(_PAIR, I16),
        data=since(14, BULK),
    ),
    layout(
        31,
        "ModifyContact",
        contactId=I32,
        replace=before(14, BOOL),
        fields=many(_PAIR, I16),
        unused=since(14, I16),
        data=since(14, BULK),
    ),
    layout(
        32,
        "CreateNote",
        noteId=I32,
        folderId=I32,
        unused=I16,
        content=TEXT,
        color=COLOR,
        x=I32,
        y=I32,
        w=I32,
        h=I32,
    ),
    layout(33, "EditNote", id=I32, content=TEXT),
    layout(34, "RepositionNote", id=I32, x=I32, y=I32, w=I32, h=I32),
    layout(36, "ModifyInviteFlag", id=I32, compNum=I32, flag=I32, add=BOOL),
    layout(
        37,
        "ModifyInvitePartStat",
        calItemId=I32,
        hasRecurId=BOOL,
        recurIdRange=only(lambda fields: bool(fields["hasRecurId"]), I32),
        recurIdDt=only(lambda fields: bool(fields["hasRecurId"]), TEXT),
        cn=TEXT,
        address=TEXT,
        cutype=TEXT,
        role=TEXT,
        partStat=TEXT,
        rsvp=BOOL,
        seqNo=I32,
        dtStamp=I64,
    ),
    layout(
        43,
        "CreateInvite",
        calItemId=I32,
        calPartStat=since(1, TEXT),
        folderId=I32,
        unused=since(0, I16),
        force=BOOL,
        data=BULK,
        localTz=TEXT,
        invite=TEXT,
        preserveAlarms=since(22, BOOL),
        discardExisting=since(22, BOOL),
        addRevision=since(23, BOOL),
    ),
    layout(
        44,
        "SetCalendarItem",
        folderId=I32,
        unused=since(0, I16),
        calItemId=I32,
        calPartStat=since(1, TEXT),
        attachIndex=since(2, BOOL),
        flags=since(11, I32),
        tags=since(33, TEXTS),
        tagBitmask=since(11, before(33, I64)),
        hasDefault=since(17, BOOL),
        default=only(_has_default, _INVITE),
        exceptions=many(_INVITE),
        replies=since(15, TEXTS),
        nextAlarm=since(21, I64),
    ),
    layout(57, "ICalReply", localTz=TEXT, invite=TEXT, sender=TEXT),
    layout(60, "FixCalendarItemTimeZone", id=I32, after=I64, country=TEXT),
    layout(66, "DismissCalendarItemAlarm", id=I32, dismissedAt=I64),
    layout(67, "FixCalendarItemEndTime", id=I32),
    layout(70, "FixCalendarItemTZ", id=I32, replacements=many(group(tzid=TEXT, tz=TEXT))),
    layout(78, "FixCalendarItemPriority", id=I32),
    layout(83, "SnoozeCalendarItemAlarm", id=I32, snoozeUntil=I64),
)
