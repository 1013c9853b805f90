"""Bodies and envelopes of all versions, as the reading side of the server takes them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from backupng.engine.redolog import ops
from backupng.engine.redolog.header import Version
from backupng.engine.redolog.layouts import Layout
from backupng.engine.redolog.records import gate
from tests.engine.redolog import samples
from tests.engine.redolog.logs import commit, decode, envelope, layout, write
from tests.engine.redolog.test_vectors import with_bytes

VERSIONS = [Version(0, 0), *(Version(1, minor) for minor in range(43))]
SEED = 20
LAYOUTS = [
    pytest.param(each, id=f"{each.op}-{len(each.slots)}")
    for each in ops.LAYOUTS
    if each.opcode not in ops.CONTROL and len(ops.layouts(each.opcode)) == 1
]
MESSAGE = ["rcptEmail", "shared", "digest", "msgSize", "msgId", "folderId", "convId"]


def there_and_back(form: Layout, version: Version, dice: random.Random) -> Any:
    """Write a record of seeded values; return what was written and what is read."""
    fields = samples.fields(form, gate(version), dice)
    head = envelope(form.opcode, version=version)
    data = write(head, form, fields)
    record = decode(data + commit(form.opcode))
    assert record.envelope == head, (SEED, version)
    return (fields, len(data)), (with_bytes(record.fields, data), record.end)


@pytest.mark.parametrize("form", LAYOUTS)
def test_every_version_of_a_body_is_read_as_it_was_written(form: Layout) -> None:
    dice = random.Random(SEED)  # noqa: S311 - no secrets
    pairs = [there_and_back(form, each, dice) for each in VERSIONS]
    assert [written for written, _ in pairs] == [read for _, read in pairs], SEED


def names(op: str, minor: int, **forced: Any) -> list[str]:
    """Return the names of the fields that records of version 1.`minor` have."""
    form = layout(op)
    chosen: dict[str, Any] = {}
    for name, slot in form.slots.items():
        if slot.is_there(minor, chosen):
            chosen[name] = forced.get(name)
    return list(chosen)


@pytest.mark.parametrize(
    ("minor", "more"),
    [
        (0, ["calItemId", "flags", "noICal", "tagIds"]),
        (3, ["calItemId", "calPartStat", "flags", "noICal", "tagIds"]),
        (5, ["convFirstMsgId", "calItemId", "calPartStat", "flags", "noICal", "tagIds"]),
        (32, ["convFirstMsgId", "mergedConvIds", "calItemId", "calPartStat", "flags", "noICal"]),
    ],
)
def test_a_message_grew_with_its_versions(minor: int, more: list[str]) -> None:
    found = names("CreateMessage", minor, bodyType=1)
    assert [each for each in found if each != "receivedDate"][: len(MESSAGE + more)] == (
        MESSAGE + more
    )
    assert ("receivedDate" in found) == (minor >= 4)
    assert ("customKey" in found) == (minor >= 25)


@pytest.mark.parametrize(
    ("op", "field", "first"),
    [
        ("ReindexMailbox", "completionId", 9),
        ("ReindexMailbox", "hasItemIds", 10),
        ("ReindexMailbox", "skipDelete", 20),
        ("CreateSavedSearch", "flags", 28),
        ("CreateSavedSearch", "uuid", 37),
        ("IndexItem", "deleteFirst", 8),
        ("AlterItemTag", "tagName", 33),
        ("SetItemTags", "tags", 33),
        ("MoveItem", "uidNext", 16),
        ("CopyItem", "fromDumpster", 30),
        ("CreateFolderPath", "hasDate", 41),
        ("StoreIncomingBlob", "mailboxIds", 0),
        ("CreateContact", "tags", 33),
        ("CreateContact", "data", 14),
        ("ModifyContact", "data", 14),
        ("CreateInvite", "unused", 0),
        ("CreateInvite", "calPartStat", 1),
        ("CreateInvite", "preserveAlarms", 22),
        ("CreateInvite", "addRevision", 23),
        ("SetCalendarItem", "attachIndex", 2),
        ("SetCalendarItem", "flags", 11),
        ("SetCalendarItem", "replies", 15),
        ("SetCalendarItem", "hasDefault", 17),
        ("SetCalendarItem", "nextAlarm", 21),
        ("GrantAccess", "password", 2),
        ("GrantAccess", "expiry", 36),
        ("RevokeAccess", "dueToExpiry", 39),
        ("SaveDocument", "description", 29),
        ("SaveDocument", "descEnabled", 31),
        ("CreateFolder", "attrs", 19),
        ("CreateFolder", "hasDate", 39),
        ("CreateFolder", "customKey", 41),
        ("RenameItem", "hasDate", 40),
        ("RenameMailbox", "oldName", 25),
        ("CreateMountpoint", "reminder", 33),
        ("CreateMountpoint", "uuid", 37),
        ("CreateMountpoint", "remoteUuid", 38),
    ],
)
def test_a_field_appears_with_its_version(op: str, field: str, first: int) -> None:
    falsy = {"legacyId": -1, "legacySrcId": -1, "legacyDestId": -1, "bodyType": 1}
    assert field not in names(op, first - 1, **falsy)
    assert field in names(op, first, **falsy)


@pytest.mark.parametrize(
    ("op", "field", "last"),
    [
        ("AlterItemTag", "tagId", 32),
        ("SetItemTags", "tagBitmask", 32),
        ("CreateMessage", "tagIds", 32),
        ("CreateContact", "tagIds", 32),
        ("ModifyContact", "replace", 13),
        ("SetCalendarItem", "tagBitmask", 32),
    ],
)
def test_a_field_is_gone_after_its_last_version(op: str, field: str, last: int) -> None:
    assert field in names(op, last, legacyId=-1)
    assert field not in names(op, last + 1, legacyId=-1)


@pytest.mark.parametrize(
    ("op", "field", "minor", "size"),
    [
        ("CreateTag", "color", 26, 1),
        ("CreateTag", "color", 27, 8),
        ("CreateMessage", "msgSize", 41, 4),
        ("CreateMessage", "msgSize", 42, 8),
        ("CreateFolder", "date", 39, 4),
        ("CreateFolder", "date", 40, 8),
    ],
)
def test_a_number_grew_with_its_version(op: str, field: str, minor: int, size: int) -> None:
    (data,) = layout(op).slots[field].kind.write(1, minor, {})
    assert data == (1).to_bytes(size, "big")


def test_mailbox_ids_were_shorter_before_version_1_26() -> None:
    old, new = Version(1, 25), Version(1, 26)
    assert len(envelope(8, version=old).encode()) == 42
    assert len(envelope(8, version=new).encode()) == 46
    assert decode(envelope(8, version=old).encode()).envelope == envelope(8, version=old)
    (data,) = layout("StoreIncomingBlob").slots["mailboxIds"].kind.write([], 25, {})
    assert data == bytes(4)


def test_what_is_older_than_1_0_has_nothing_that_came_with_1_0() -> None:
    text = b"\0\0\0\1x"
    body = text + text + b"\xff\xff" + bytes(8)
    record = decode(envelope(26, version=Version(0, 0)).encode() + body)
    assert list(record.fields) == ["digest", "path", "unused", "msgSize", "data"]


def test_a_calendar_item_always_had_its_default_before_1_17_and_its_message_before_1_24() -> None:
    form = layout("SetCalendarItem")
    invite = {"force": True, "localTz": "z", "invite": "i"}
    mail = {"receivedDate": 1, "data": b"mail"}
    body = {"folderId": 10, "unused": -1, "calItemId": 601, "calPartStat": "NE"}
    old = {**body, "attachIndex": True, "flags": 0, "tagBitmask": 0, "exceptions": []}
    fields = {**old, "default": invite | mail, "replies": None}
    data = write(envelope(44, version=Version(1, 16)), form, fields)
    assert with_bytes(decode(data).fields, data) == fields


def test_an_id_from_the_days_before_lists_stands_for_the_list() -> None:
    move = {"legacyId": 300, "type": 5, "destFolderId": 3, "hasConstraint": False, "uidNext": 1}
    data = write(envelope(20), layout("MoveItem"), move)
    assert len(data) == 46 + 14
    assert decode(data).fields == move


@pytest.mark.parametrize(("source", "destination"), [(300, -1), (-1, 301), (300, 301)])
def test_two_ids_from_the_days_before_lists_stand_for_the_list(
    source: int, destination: int
) -> None:
    copy = {"legacySrcId": source, "legacyDestId": destination, "type": 5, "destFolderId": 2}
    more: dict[str, Any] = {"copies": []} if -1 in (source, destination) else {}
    fields = {**copy, "unused": -1, **more, "fromDumpster": False}
    data = write(envelope(22), layout("CopyItem"), fields)
    assert len(data) == 46 + 16 + 4 * len(more)
    assert decode(data).fields == fields


def test_a_boolean_is_true_for_every_byte_but_0() -> None:
    data = bytearray(
        write(envelope(91), layout("SetDisableActiveSync"), {"folderId": 2, "disable": 1})
    )
    data[-1] = 2
    assert decode(bytes(data)).fields["disable"] is True


def test_text_that_is_no_utf_8_is_written_back_as_it_was() -> None:
    data = envelope(93).encode() + b"\0\0\0\4a\xff\xc3("
    record = decode(data)
    assert record.layout is not None
    assert write(record.envelope, record.layout, record.fields) == data
