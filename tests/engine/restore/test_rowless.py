"""Restores of states that the redo log alone told: visible fields and blob, and no database row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.mailserver.sandbox.client import SandboxClient
from backupng.engine.mailserver.zimbra.codes import Flag
from backupng.engine.mailserver.zimbra.metadata import decode_column, encode_column
from backupng.engine.model import Digest, EntryKind, ItemId, ItemKind, ItemState
from backupng.engine.restore.dress import described, dressed, is_bare
from tests.cast import ALICE, NOON, Office, message
from tests.engine.restore.restoring import COPY, at, restore

KINDS = (EntryKind.ACCOUNT, EntryKind.COS, EntryKind.DOMAIN)
NAMES = (
    *("type", "folder", "name", "subject", "flags", "unread", "tags", "color", "size"),
    "digest",
)
RECORD = "redolog:5:512"
Change = Callable[[Sequence[ItemState]], Sequence[ItemState]]


MAIL = ItemState(item_id=ItemId(257), kind=ItemKind.MESSAGE, mod=5, start=NOON)


def bare(state: ItemState) -> ItemState:
    """Return a state as the record of its change alone tells it."""
    fields = state.fields
    if state.kind is ItemKind.DOCUMENT:
        values = decode_column(state.row["metadata"])
        fields = {"contentType": str(values["ct"]), "creator": str(values["cr"])}
    return replace(state, row={}, side_rows={}, fields=fields, source=RECORD)


def no_rows(history: Sequence[ItemState]) -> Sequence[ItemState]:
    return [bare(state) for state in history]


def first_row_only(history: Sequence[ItemState]) -> Sequence[ItemState]:
    return [history[0], *(bare(state) for state in history[1:])]


def last_row_only(history: Sequence[ItemState]) -> Sequence[ItemState]:
    return [*(bare(state) for state in history[:-1]), history[-1]]


def rewrite(mail: Office, change: Change) -> None:
    """Replace the Backup Path by one whose histories of alice's items were changed."""
    other = mail.folder / "other"
    other.mkdir()
    account = mail.account_id(ALICE)
    with (
        mail.path as old,
        BackupPath.open_or_create(other, mail.owner, now=mail.now) as new,
        new.writer("scan") as writer,
    ):
        for item in old.items(account):
            history = old.history(account, item)
            for state in history:
                if state.digest is not None:
                    writer.add_blob(old.blob(state.digest))
            writer.add_states(account, change(history))
        for kind in KINDS:
            for entry_id in old.entry_ids(kind):
                for entry in old.entry_history(kind, entry_id):
                    writer.add_entry(entry)
        for scan in old.mailbox_history(account)[:1]:
            writer.add_mailbox(scan)
        writer.commit()
        writer.set_checkpoint(old.checkpoint())
    mail.backup_path.rename(mail.folder / "old")
    other.rename(mail.backup_path)


def fill(mail: Office) -> tuple[datetime, list[tuple[str, ...]]]:
    """Let alice do what the redo log tells by itself, with a scan before and after changes.

    Returns the moment of the first scan, and what she had then.
    """
    client = mail.client
    client.create_folder(ALICE, "/Inbox/Work")
    mails = [
        client.deliver(ALICE, message(f"Re: [list] Plan {number} — ü"), folder="/Inbox")
        for number in range(3)
    ]
    contact = client.add_contact(ALICE, b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ann Lee\r\nEND:VCARD")
    document = client.save_document(ALICE, b"one", name="plan.txt")
    mail.scan()
    moment, found = mail.now, listing(client, ALICE)
    mail.later(hours=1)
    client.flag(ALICE, mails[0], ["+flagged", "-unread"])
    client.tag(ALICE, mails[1], "Urgente")
    client.move(ALICE, mails[2], "/Inbox/Work")
    client.tag(ALICE, contact, "Urgente")
    client.flag(ALICE, document, ["+flagged"])
    mail.scan()
    return moment, found


def listing(client: SandboxClient, address: str) -> list[tuple[str, ...]]:
    found = client.list(address)
    lines = [
        tuple(repr(item[name]) for name in NAMES)
        for item in found["items"]
        if item["type"] != "mountpoint"
    ]
    return sorted([*lines, *((tag["name"], repr(tag["color"])) for tag in found["tags"])])


@pytest.mark.parametrize("change", [no_rows, first_row_only, last_row_only])
def test_a_mailbox_of_states_without_rows_comes_back_equal(mail: Office, change: Change) -> None:
    fill(mail)
    rewrite(mail, change)

    report = restore(mail)

    assert not report.losses
    assert listing(mail.client, COPY) == listing(mail.client, ALICE)


def test_an_earlier_moment_comes_back_from_the_row_of_a_later_one(mail: Office) -> None:
    moment, found = fill(mail)
    rewrite(mail, last_row_only)

    report = restore(mail, date=at(moment))

    assert not report.losses
    assert listing(mail.client, COPY) == found


def test_the_row_of_an_earlier_state_stands_in_with_what_has_changed_since() -> None:
    first = replace(MAIL, row={"flags": 2, "sender": "Eve", "unread": 1, "name": "x"})
    moved = replace(MAIL, mod=7, folder_id=ItemId(300), flags="f", unread=False)
    later = replace(first, mod=8, row={"sender": "other"})

    row = dressed([first, moved, later], moved).row

    assert (row["sender"], row["folder_id"], row["unread"]) == ("Eve", 300, 0)
    assert row["flags"] == 2 | Flag.FLAGGED
    assert "name" not in row


def test_the_row_of_the_same_content_is_preferred() -> None:
    draft = replace(MAIL, digest=Digest("a"), row={"sender": "old"})
    saved = replace(MAIL, mod=7, digest=Digest("b"))
    seen = replace(saved, mod=8, row={"sender": "new"})

    assert dressed([draft, saved, seen], saved).row["sender"] == "new"


def test_what_follows_from_other_content_is_left_to_the_blob() -> None:
    metadata = encode_column({"f": "old text", "s": "Eve", "d": {"do": "300"}})
    draft = replace(MAIL, digest=Digest("a"), row={"metadata": metadata})
    saved = replace(MAIL, mod=7, digest=Digest("b"))

    found = dressed([draft, saved], saved)

    assert decode_column(found.row["metadata"]) == {"d": {"do": "300"}}
    assert is_bare(found)


def test_a_state_with_a_row_is_left_alone() -> None:
    state = replace(MAIL, row={"flags": 2})

    assert dressed([state], state) is state


@pytest.mark.parametrize(
    ("kind", "more", "column", "value"),
    [
        (ItemKind.TAG, {"color": 4}, "color", 4),
        (ItemKind.CONTACT, {"fields": {"company": "Acme", "fileAs": "3"}}, "sender", "Acme"),
        (ItemKind.DOCUMENT, {"sender": "eve"}, "sender", "eve"),
    ],
)
def test_without_any_row_there_is_one_of_the_visible_fields(
    kind: ItemKind, more: dict[str, Any], column: str, value: object
) -> None:
    state = replace(MAIL, kind=kind, name="x", **more)

    assert dressed([state], state).row[column] == value


@pytest.mark.parametrize(
    ("kind", "before", "more", "after"),
    [
        (ItemKind.MESSAGE, {"c": 2, "s": "Eve"}, {"color": 4}, {"c": 4, "s": "Eve"}),
        (ItemKind.MESSAGE, {"c": 2, "s": "Eve"}, {}, {"s": "Eve"}),
        (ItemKind.CONTACT, {"n": "A"}, {"fields": {"n": "B"}}, {"fld": {"n": "B"}}),
        (
            ItemKind.DOCUMENT,
            {"ct": "text/old", "ver": 3},
            {"fields": {"contentType": "text/new", "creator": "eve"}},
            {"ct": "text/new", "cr": "eve", "ver": 3},
        ),
    ],
)
def test_metadata_says_what_the_visible_fields_say(
    kind: ItemKind, before: dict[str, Any], more: dict[str, Any], after: dict[str, Any]
) -> None:
    first = replace(MAIL, kind=kind, row={"metadata": encode_column(before)})
    state = replace(MAIL, kind=kind, mod=7, **more)

    assert decode_column(dressed([first, state], state).row["metadata"]) == after


def test_older_blobs_are_found_under_the_digests_that_they_are_kept_by() -> None:
    kept = {Digest("sha1"): Digest("sha256")}
    first = replace(MAIL, row={"flags": 2}, kept_as=kept)
    moved = replace(MAIL, mod=7, folder_id=ItemId(300))

    assert dressed([first, moved], moved).kept_as == kept


@pytest.mark.parametrize(("priority", "flag"), [("1", "HIGH"), ("5", "LOW")])
def test_a_blob_tells_priority_and_attachments(priority: str, flag: str) -> None:
    mixed = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nHello\r\n'
    attached = b"--b\r\nContent-Disposition: attachment; filename=x.txt\r\n\r\nx\r\n--b--\r\n"
    state = replace(MAIL, row={"flags": int(Flag.FLAGGED)})

    found = described(state, b"X-Priority: %s\r\n" % priority.encode() + mixed + attached)

    assert found.row["flags"] == Flag.FLAGGED | Flag.ATTACHED | Flag[f"{flag}_PRIORITY"]
