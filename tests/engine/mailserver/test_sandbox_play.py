"""A random play on a sandbox: every record of its redo log against the rows it tells of."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backupng.engine.mailserver.sandbox.content.fill import fill
from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import Flag
from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.model import ItemKind
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Record
from tests.engine.mailserver.consistency import assert_consistent
from tests.engine.mailserver.mailboxes import records


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A filled server after a random play; what each record of it says was compared on the way."""
    seed = secrets.randbits(31)
    folder = tmp_path_factory.mktemp("played") / "server"
    with Sandbox.create(folder, name="mail1", domain="example.com", seed=1) as sandbox:
        fill(sandbox, seed=1, accounts=2, items=12)
        play = Play(sandbox, seed=seed)
        print(f"the play has the seed {seed}")  # noqa: T201  # shown when a test fails
        for number in range(200):
            start = sandbox.redo_log.current.stat().st_size
            play.step(now_ms=1_791_000_000_000 + number * 1000)
            fresh = records(sandbox.redo_log.current, start)
            last = {each.envelope.mailbox_id: each for each in fresh if each.op in SAYS}
            for record in last.values():
                assert_said(sandbox, record)
        yield sandbox


def test_every_record_of_a_play_is_encoded_to_the_same_bytes(played: Sandbox) -> None:
    path = played.redo_log.current
    raw = path.read_bytes()
    with RedoLog(path) as log:
        for record in records(path):
            assert b"".join(log.encoded(record)) == raw[record.offset : record.end]


def test_transactions_of_a_play_never_interleave_and_numbers_go_up(played: Sandbox) -> None:
    found = records(played.redo_log.current)
    begun, ended = found[::2], found[1::2]
    pairs = [(each.envelope.txn, each.envelope.opcode) for each in begun]
    assert pairs == [(each.envelope.txn, each.fields["opcode"]) for each in ended]
    assert [txn.counter for txn, _ in pairs] == list(range(1, len(pairs) + 1))
    numbers = defaultdict(list)
    for each in begun:
        numbers[each.envelope.mailbox_id].append(each.envelope.change_id)
    # Not every play delivers to several mailboxes at once, which a record of no mailbox begins.
    numbers.pop(-1, None)
    assert {mailbox: [*range(1, len(each) + 1)] for mailbox, each in numbers.items()} == numbers


def test_a_play_leaves_everything_in_step(played: Sandbox) -> None:
    assert_consistent(played)


def said_message(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": fields["msgId"],
        "folder_id": fields["folderId"],
        "date": fields["receivedDate"] // 1000,
        "blob_digest": fields["digest"],
        "size": fields["msgSize"],
        "unread": int(bool(fields["flags"] & Flag.UNREAD)),
        "client_flags": fields["flags"] & codes.CLIENT_BITS,
        "parent_id": fields["convId"] if fields["convId"] > 0 else None,
        "tags": fields["tags"],
    }


def said_folder(fields: dict[str, Any]) -> dict[str, Any]:
    names = {"id": "folderId", "folder_id": "parentId", "name": "name", "uuid": "uuid"}
    columns = {column: fields[name] for column, name in names.items()}
    values = {"color": fields["color"], "view": fields["view"]}
    return columns | values | {"client_flags": fields["flags"]}


def said_contact(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": fields["contactId"],
        "fields": {each["k"]: each["v"] for each in fields["fields"]},
        "size": fields["data"].length,
    }


def said_marks(fields: dict[str, Any]) -> dict[str, Any]:
    (item,) = fields["ids"]
    if "flags" in fields:
        return {"id": item, "client_flags_and_unread": fields["flags"]}
    name, is_set = fields["tagName"], fields["tagged"]
    return {"id": item, "has": (name, is_set)}


SAYS: dict[str | None, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "CreateMessage": said_message,
    "CreateChat": said_message,
    "CreateFolder": said_folder,
    "CreateContact": lambda fields: {"folder_id": fields["folderId"]} | said_contact(fields),
    "ModifyContact": said_contact,
    "SaveDraft": lambda fields: {
        "id": fields["msgId"],
        "blob_digest": fields["digest"],
        "date": fields["receivedDate"] // 1000,
    },
    "AddDocumentRevision": lambda fields: {
        "id": fields["docId"],
        "name": fields["filename"],
        "blob_digest": fields["digest"],
    },
    "SaveDocument": lambda fields: {
        "id": fields["msgId"],
        "name": fields["filename"],
        "folder_id": fields["folderId"],
        "blob_digest": fields["digest"],
        "uuid": fields["uuid"],
    },
    "CreateNote": lambda fields: {
        "id": fields["noteId"],
        "folder_id": fields["folderId"],
        "subject": fields["content"],
    },
    "CreateComment": lambda fields: {
        "id": fields["itemId"],
        "parent_id": fields["parentId"],
        "subject": fields["text"],
    },
    "SetCalendarItem": lambda fields: {
        "id": fields["calItemId"],
        "folder_id": fields["folderId"],
    },
    "MoveItem": lambda fields: {"id": fields["ids"][0], "folder_id": fields["destFolderId"]},
    "CopyItem": lambda fields: {
        "id": fields["copies"][0]["destId"],
        "uuid": fields["copies"][0]["destUuid"],
        "folder_id": fields["destFolderId"],
    },
    "AlterItemTag": said_marks,
    "SetItemTags": said_marks,
    "DateItem": lambda fields: {"id": fields["id"], "date": fields["date"] // 1000},
}


def assert_said(sandbox: Sandbox, record: Record) -> None:
    """Compare a record with the row that it made, as long as it is the last of its mailbox."""
    if record.fields.get("type") == codes.TYPE_OF_KIND[ItemKind.CONVERSATION]:
        # It names the conversation and means its messages.
        return
    wanted = SAYS[record.op](record.fields)
    mailbox = sandbox.source().mailbox_of(record.envelope.mailbox_id)
    assert mailbox is not None
    table = sandbox.database.table(f"mboxgroup{mailbox.group_id}", "mail_item")
    query = f"SELECT * FROM {table} WHERE mailbox_id = ? AND id = ?"  # noqa: S608
    row = sandbox.database.one(query, mailbox.mailbox_id, wanted["id"])
    assert row is not None, record
    values = decode_column(row["metadata"])
    tags = list(codes.split_tags(row["tag_names"]))
    client_flags = row["flags"] & codes.CLIENT_BITS
    marked = client_flags | (Flag.UNREAD if row["unread"] else 0)
    told = row | {
        "client_flags": client_flags,
        "client_flags_and_unread": marked,
        "tags": tags,
        "color": values.get("c", 0),
        "view": values.get("vt", -1),
        "fields": values.get("fld"),
    }
    if "has" in wanted:
        name, _ = wanted["has"]
        bits = {tag: 1 << (-number - 1) for number, tag in codes.MIRRORED_FLAGS.items()}
        told["has"] = (name, bool(marked & bits[name]) if name in bits else name in tags)
    assert {key: told[key] for key in wanted} == wanted, (record.op, record.envelope.change_id)
