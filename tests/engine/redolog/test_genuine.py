"""Logs that a real server wrote, against what its own reader made of them.

The manifests lie in `../shared/genuine/`; without that folder these tests are skipped. Known
limits of the stock reader: it skips opcode 91, and shows invites and policies not as stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.redolog.cursor import Span
from backupng.engine.redolog.faults import NotARedoLog
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Record, Skipped, Stop
from tests.engine.redolog.logs import Found, read

HISTORY = ("history/redolog/redo.log", "history/manifest.json")
DAMAGED = [
    ("cut-after-magic", "truncated record"),
    ("cut-at-record-boundary", "end"),
    ("cut-in-message-body", "truncated record"),
    ("cut-in-op-header", "truncated record"),
    ("garbage-in-middle", "end"),
    ("zero-padded-tail", "zero padding"),
]
ALL = [HISTORY, *((f"damaged-logs/{n}.log", f"damaged-logs/{n}.manifest.json") for n, _ in DAMAGED)]
EVERY_LOG = pytest.mark.parametrize(
    ("log", "manifest"), ALL, ids=[Path(log).stem for log, _ in ALL]
)
ONLY_OURS = {91}

# Names of the server's own fields that are not ours with an `m` before them.
NAMES = {
    "mCalendarItemId": "calItemId",
    "mCalendarItemPartStat": "calPartStat",
    "defaultView": "view",
    "mReminderEnabled": "reminder",
    "mMsgBodyType": "bodyType",
    "mMailboxIdList": "mailboxIds",
    "folderUuid": "uuid",
    "mUIDNEXT": "uidNext",
    "sectionPart": "sectionPattern",
    "mAttachmentIndexingEnabled": "attachIndex",
    "mPreserveExistingAlarms": "preserveAlarms",
    "mDiscardExistingInvites": "discardExisting",
    "mRev": "revision",
    "mIncludeOlderRevisions": "includeOlder",
    "mTxnOpCode": "opcode",
    "mCnStr": "cn",
    "mAddressStr": "address",
    "mCUTypeStr": "cutype",
    "mRoleStr": "role",
    "mPartStatStr": "partStat",
}
NAMES_OF = {
    "MoveItem": {"mDestId": "destFolderId"},
    "SetCustomData": {"itemId": "id"},
    "SetPop3Uid": {"itemId": "id"},
    "CreateContact": {"mId": "contactId"},
    "ModifyContact": {"mId": "contactId"},
}
# Compared as lists, below; or shown as the stock reader holds them and not as they are stored.
NOT_STORED = {
    *("mInvite", "mDefaultInvite", "mExceptions", "custom", "retentionPolicy", "mFields"),
    *("folderIds", "folderUuids", "mParentIds", "mParentUuids", "mDestIds", "mDestUuids"),
    *("mImapUids", "mRecurIdRange", "compressionThreshold", "mParsedContact", "mRedoLogContent"),
}
# Absent from a record of today, or of this kind: the stock reader then holds 0 or null.
MISSING: tuple[Any, ...] = (None, 0)


def ours(op: str, name: str) -> str:
    """Return our name of a field of the server's classes."""
    bare = name[1:] if name[:1] == "m" and name[1:2].isupper() else name
    known = NAMES_OF.get(op, {}).get(name) or NAMES.get(name)
    return known or bare[0].lower() + bare[1:]


def differences(record: Record, expected: dict[str, Any], log: RedoLog) -> list[Any]:
    """Return the fields that are not as the manifest has them."""
    pairs = [
        (name, value, record.fields.get(ours(expected["op"], name)))
        for name, value in expected["fields"].items()
        if name not in NOT_STORED
    ]
    return [
        (record.offset, name, value, mine)
        for name, value, mine in pairs
        if not is_equal(value, mine, log)
    ]


def is_equal(value: Any, mine: Any, log: RedoLog) -> bool:
    if isinstance(mine, Span):
        shown = {"length": mine.length, "sha256": log.digest(mine)}
        return value is None or shown == {name: value[name] for name in shown}
    if isinstance(value, dict) and "code" in value:
        return bool(mine == value["code"])
    return bool(value == mine or (mine is None and value in MISSING))


def records(found: Iterable[Found]) -> list[Record]:
    return [each for each in found if isinstance(each, Record)]


def described(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return manifest


@EVERY_LOG
def test_ranges_and_envelopes_are_those_of_the_manifest(
    genuine: Path, log: str, manifest: str
) -> None:
    (expected,) = described(genuine / manifest)["files"]
    found = [each for each in records(read(genuine / log)) if each.envelope.opcode not in ONLY_OURS]
    assert [
        (each.offset, each.end, each.op, each.envelope.opcode, each.envelope.timestamp)
        for each in found
    ] == [(e["offset"], e["end"], e["op"], e["opcode"], e["timestamp"]) for e in expected["ops"]]
    assert [
        (e.txn.time, e.txn.counter, e.change_id, e.change_constraint, e.mailbox_id, str(e.version))
        for e in (each.envelope for each in found)
    ] == [
        (*e["txn"].values(), e["changeId"], e["changeConstraint"], e["mailboxId"], e["version"])
        for e in expected["ops"]
    ]


@EVERY_LOG
def test_fields_are_those_of_the_manifest(genuine: Path, log: str, manifest: str) -> None:
    (expected,) = described(genuine / manifest)["files"]
    with RedoLog(genuine / log) as opened:
        found = [e for e in records(opened.records()) if e.envelope.opcode not in ONLY_OURS]
        pairs = zip(found, expected["ops"], strict=True)
        assert [each for mine, theirs in pairs for each in differences(mine, theirs, opened)] == []


def test_lists_of_the_history_are_those_of_the_manifest(genuine: Path) -> None:
    (expected,) = described(genuine / HISTORY[1])["files"]
    listed = {each["offset"]: lists(each["op"], each["fields"]) for each in expected["ops"]}
    found = records(read(genuine / HISTORY[0]))
    wanted = {offset: value for offset, value in listed.items() if value is not None}
    assert len(wanted) == 13
    assert {each.offset: pairs(each) for each in found if each.offset in wanted} == wanted


def lists(op: str, fields: dict[str, Any]) -> list[tuple[Any, ...]] | None:
    """Return a list of the manifest as pairs: ids and uuids, contact fields."""
    match op:
        case "CopyItem" | "ImapCopyItem" | "RecoverItem":
            uuids = fields["mDestUuids"]
            return sorted((int(n), dest, uuids[n]) for n, dest in fields["mDestIds"].items())
        case "SetImapUid":
            return sorted((int(n), uid) for n, uid in fields["mImapUids"].items())
        case "CreateFolderPath":
            return sorted(zip(fields["folderIds"], fields["folderUuids"], strict=True))
        case "RenameItemPath":
            return sorted(zip(fields["mParentIds"], fields["mParentUuids"], strict=True))
        case "CreateContact" | "ModifyContact":
            return sorted(fields["mFields"].items())
        case "SetRetentionPolicy":
            both = fields["retentionPolicy"]
            return sorted((e["id"] or "", e["lifetime"]) for e in both["keep"] + both["purge"])
    return None


def pairs(record: Record) -> list[tuple[Any, ...]]:
    names = ("copies", "uids", "folders", "parents", "fields")
    found = next((record.fields[name] for name in names if name in record.fields), None)
    if found is None:
        both = record.fields["keep"] + record.fields["purge"]
        return sorted((each["id"] or "", each["lifetime"]) for each in both)
    return sorted(
        tuple(value for name, value in each.items() if name != "unused") for each in found
    )


@EVERY_LOG
def test_transactions_end_as_in_the_manifest(genuine: Path, log: str, manifest: str) -> None:
    expected = described(genuine / manifest)["transactions"]
    assert outcomes(records(read(genuine / log))) == {
        (each["txn"]["time"], each["txn"]["counter"]): each["status"] for each in expected
    }


def outcomes(found: list[Record]) -> dict[tuple[int, int], str]:
    """Return how each transaction ended that has a beginning, as far as the stock reader sees."""
    ended = {3: "committed", 4: "aborted"}
    status: dict[tuple[int, int], str] = {}
    for each in found:
        txn = (each.envelope.txn.time, each.envelope.txn.counter)
        if each.envelope.opcode in ended and txn in status:
            status[txn] = ended[each.envelope.opcode]
        elif each.envelope.opcode not in ended and each.envelope.opcode not in ONLY_OURS:
            status.setdefault(txn, "uncommitted")
    return status


def test_the_history_has_one_record_and_one_transaction_more_than_the_manifest(
    genuine: Path,
) -> None:
    found = records(read(genuine / HISTORY[0]))
    assert len(found) == 759
    assert len({each.envelope.txn for each in found}) == 380


@EVERY_LOG
def test_every_record_is_encoded_byte_for_byte(genuine: Path, log: str, manifest: str) -> None:
    data = (genuine / log).read_bytes()
    with RedoLog(genuine / log) as opened:
        copies = [
            (each.offset, b"".join(opened.encoded(each))) for each in records(opened.records())
        ]
        assert opened.header.encode() == data[:512]
    assert [(at, data[at : at + len(copy)]) for at, copy in copies] == copies
    assert hashlib.sha256(data).hexdigest() == described(genuine / manifest)["files"][0]["sha256"]


@pytest.mark.parametrize(("name", "reason"), DAMAGED)
def test_a_damaged_log_stops_where_the_manifest_says(genuine: Path, name: str, reason: str) -> None:
    (expected,) = described(genuine / f"damaged-logs/{name}.manifest.json")["files"]
    stop = read(genuine / f"damaged-logs/{name}.log")[-1]
    assert stop == Stop(reason=reason, at=expected["lastGoodEnd"], records=expected["opCount"])


def test_only_the_overwritten_record_is_skipped(genuine: Path) -> None:
    found = read(genuine / "damaged-logs/garbage-in-middle.log")
    gaps = [(each.start, each.end) for each in found if isinstance(each, Skipped)]
    assert gaps == [(8386, 9538)]


def test_a_log_cut_in_its_header_is_refused(genuine: Path) -> None:
    with pytest.raises(NotARedoLog, match="ends within its header"):
        RedoLog(genuine / "damaged-logs/cut-in-file-header.log")
