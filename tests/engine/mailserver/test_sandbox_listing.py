"""`sandbox list`: the fixed shape, and on genuine rows what the server's own classes show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.mailserver.sandbox import arrivals, edits, tags
from backupng.engine.mailserver.sandbox.arrivals import Look
from backupng.engine.mailserver.sandbox.listing import listing
from backupng.engine.mailserver.sandbox.load import load
from backupng.engine.mailserver.zimbra.codes import CLIENT_LETTERS, SystemFolder
from backupng.engine.mailserver.zimbra.metadata import encode_column
from backupng.engine.model import ItemKind
from tests.engine.mailserver.mailboxes import CARD, Box, message, open_box, thread

WORD_OF_CODE = {
    1: "folder",
    2: "search",
    5: "message",
    6: "contact",
    8: "document",
    11: "appointment",
    13: "mountpoint",
    15: "task",
    16: "chat",
    17: "comment",
}
KEYS = [
    *("id", "type", "folder", "name", "subject", "flags"),
    *("unread", "tags", "color", "date", "size", "digest"),
]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(tmp_path) as opened:
        yield opened


def shown(box: Box, item: int) -> dict[str, Any]:
    (found,) = (each for each in listing(box.sandbox, box.account)["items"] if each["id"] == item)
    return dict(found)


# --- shape


def test_a_message_is_shown_with_exactly_these_words(box: Box) -> None:
    folder = box.do(arrivals.make_folder, "/Inbox/Rechnungen")
    raw = message("Re: Lunch")

    item = box.deliver(raw, folder=folder, look=Look(unread=True, flags="rf!", tags=("Urgente",)))

    assert shown(box, item) == {
        "id": item,
        "type": "message",
        "folder": "/Inbox/Rechnungen",
        "name": None,
        "subject": "Re: Lunch",
        "flags": "rf",
        "unread": True,
        "tags": ["Urgente"],
        "color": 0,
        "date": box.now_ms // 1000 - 1,
        "size": len(raw),
        "digest": box.row(item)["blob_digest"],
    }
    assert list(shown(box, item)) == KEYS


def test_a_folder_has_its_name_and_no_size(box: Box) -> None:
    folder = box.do(arrivals.make_folder, "/Büro/2026", color=3, flags="*#")

    found = shown(box, folder)

    words = ("type", "folder", "name", "subject", "flags", "color", "size", "digest", "unread")
    assert [found[word] for word in words] == [
        *("folder", "/Büro", "2026", None, "*#", 3, None, None, False)
    ]


def test_the_top_lies_in_itself_and_what_is_above_it_is_not_shown(box: Box) -> None:
    items = {item["id"]: item for item in listing(box.sandbox, box.account)["items"]}

    assert (items[1]["folder"], items[1]["name"]) == ("/", "USER_ROOT")
    assert (items[2]["folder"], items[17]["folder"]) == ("/", "/")
    assert 11 not in items


def test_items_come_by_id_without_conversations_and_with_tags_apart(box: Box) -> None:
    box.deliver(thread("Lunch", "1"))
    item = box.deliver(thread("Re: Lunch", "2", "1"))
    box.do(edits.tag, item, "Work")
    box.do(tags.color_tag, box.rows("tag", "id > 0")[0]["id"], 5)

    found = listing(box.sandbox, box.account)

    ids = [each["id"] for each in found["items"]]
    assert ids == sorted(ids)
    assert {each["type"] for each in found["items"]} == {"folder", "message"}
    assert found["tags"] == [{"id": box.rows("tag", "id > 0")[0]["id"], "name": "Work", "color": 5}]
    assert found["account"] == {"id": box.account.entry_id, "name": box.account.name}
    assert list(found) == ["account", "items", "tags"]


def test_every_letter_that_a_client_can_set_is_shown_in_the_order_of_its_bit(box: Box) -> None:
    item = box.deliver()
    box.set_row(item, flags=2**31 - 1)

    assert shown(box, item)["flags"] == "".join(CLIENT_LETTERS) == "srwfdxnp+^(*b#iy~o"


@pytest.mark.parametrize(
    ("metadata", "subject"),
    [
        ({"p": "Re: "}, "Re: Lunch"),
        ({"r": "[x] Lunch"}, "[x] Lunch"),
        ({"r": ""}, None),
        ({}, "Lunch"),
    ],
)
def test_the_subject_is_the_one_a_user_reads(
    box: Box, metadata: dict[str, Any], subject: str | None
) -> None:
    item = box.deliver(message("Lunch"))
    box.set_row(item, metadata=encode_column(metadata))

    assert shown(box, item)["subject"] == subject


def test_no_subject_is_null(box: Box) -> None:
    assert shown(box, box.deliver(b"From: x\r\n\r\n"))["subject"] is None
    assert shown(box, box.do(arrivals.add_contact, CARD))["subject"] is None


def test_a_folder_that_is_lost_or_its_own_parent_ends_the_path(box: Box) -> None:
    outer = box.do(arrivals.make_folder, "/Outer")
    inner = box.do(arrivals.make_folder, "/Outer/Inner")
    item = box.deliver(folder=inner)
    box.set_row(outer, folder_id=9999)
    assert shown(box, item)["folder"] == "/Outer/Inner"

    box.set_row(outer, folder_id=inner)

    assert shown(box, item)["folder"] == "/Outer/Inner"


def test_an_item_that_cannot_be_read_hides_no_other(box: Box) -> None:
    broken, item = box.deliver(), box.deliver()
    box.set_row(broken, type=99)

    ids = [each["id"] for each in listing(box.sandbox, box.account)["items"]]

    assert item in ids
    assert broken not in ids


def test_the_dumpster_is_shown_on_request(box: Box) -> None:
    item = box.deliver(message("Gone"))
    box.sandbox.database.insert(
        box.sandbox.database.table("mboxgroup1", "mail_item_dumpster"), box.row(item)
    )
    with box.change() as change:
        change.delete([{**box.row(item), "locator": None}])
        change.log("DeleteItem", type=5, ids=[item])

    found = listing(box.sandbox, box.account, deleted=True)

    assert [each["subject"] for each in found["deleted"]] == ["Gone"]
    assert "deleted" not in listing(box.sandbox, box.account)


# --- genuine rows


@pytest.fixture(scope="module")
def zimbra(genuine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("zimbra") / "zimbra1"
    with load(folder, name="zimbra1", directory=genuine / "history") as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def presented(genuine: Path) -> dict[str, list[dict[str, Any]]]:
    """Return each mailbox's items as the server's own item classes present them, by address."""
    lines = (genuine / "history" / "items.jsonl").read_text(encoding="utf-8").splitlines()
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        item = json.loads(line)
        name = ("", "mario.rossi", "anna.bianchi", "luca.verdi")[item["mailboxId"]]
        found.setdefault(f"{name}@example.com", []).append(item)
    return found


def as_listed(item: dict[str, Any], paths: dict[int, str]) -> dict[str, Any]:
    """Return what `sandbox list` must show of an item that the server presents so."""
    values = item["values"]
    folder_like = item["typeCode"] in (1, 2, 13)
    return {
        "id": item["id"],
        "type": WORD_OF_CODE[item["typeCode"]],
        "folder": paths[values["getFolderId"]],
        "name": values.get("getName") or None,
        "subject": None if folder_like else values["getSubject"] or None,
        "unread": values["isUnread"] and not folder_like,
        "tags": values["getTags"],
        "date": values["getDate"] // 1000,
        "size": None if folder_like else values["getSize"],
        "digest": values["getDigest"],
        # `getColor` shows the nearest of the palette.
        "color": (item["decoded"] or {}).get("c", 0),
    }


@pytest.mark.parametrize("name", ["mario.rossi", "anna.bianchi", "luca.verdi"])
def test_genuine_items_are_shown_as_the_server_itself_presents_them(
    zimbra: Any, presented: dict[str, list[dict[str, Any]]], name: str
) -> None:
    items = presented[f"{name}@example.com"]
    paths = {item["id"]: item["values"]["getPath"] for item in items if item["typeCode"] == 1}
    wanted = [
        as_listed(item, paths)
        for item in items
        if item["typeCode"] in WORD_OF_CODE and item["id"] != SystemFolder.ROOT
    ]

    found = listing(zimbra, zimbra.account(f"{name}@example.com"))["items"]

    assert [{key: item[key] for key in wanted[0]} for item in found] == wanted
    assert len(found) > 30


def test_every_kind_that_the_genuine_mailbox_has_is_shown(zimbra: Any) -> None:
    found = listing(zimbra, zimbra.account("mario.rossi@example.com"))["items"]

    kinds = {item["type"] for item in found}
    assert kinds == set(WORD_OF_CODE.values()) - {"mountpoint"}
    assert kinds < {kind.value for kind in ItemKind}
