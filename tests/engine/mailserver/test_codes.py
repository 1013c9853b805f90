"""Types, flags, system folders and tags, against the reference's tables and genuine rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.errors import BrokenItem
from backupng.engine.mailserver.zimbra.codes import (
    CLIENT_BITS,
    CLIENT_LETTERS,
    FIRST_USER_ID,
    IMMUTABLE,
    KIND_OF_TYPE,
    MIRRORED_FLAGS,
    OPTIONAL_FOLDERS,
    SERVER_BITS,
    SYSTEM_FOLDERS,
    TYPE_OF_KIND,
    UNCOUNTED,
    UNNUMBERED_BITS,
    UNREAD_TAG_ID,
    Flag,
    FolderSpec,
    SystemFolder,
    bits_of,
    join_tags,
    letters_of,
    mirrored_tag_ids,
    split_tags,
)
from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.model import FOLDER_LIKE, ItemKind

ALL_BITS = 2**31 - 1
LETTERS = "srwfdxnp+^(*b#iy~o"


def rows(genuine: Path, pattern: str) -> list[dict[str, Any]]:
    files = sorted((genuine / "history" / "db-rows").glob(pattern))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def spec_of_row(row: dict[str, Any]) -> tuple[SystemFolder, FolderSpec]:
    metadata = decode_column(row["metadata"])
    view = metadata.get("vt")
    return SystemFolder(row["id"]), FolderSpec(
        name=row["name"],
        parent=SystemFolder(row["parent_id"]),
        view=KIND_OF_TYPE[view] if isinstance(view, int) else None,
        attributes=int(str(metadata["a"])),
        flags=row["flags"],
    )


# --- types


@pytest.mark.parametrize(
    ("code", "kind"),
    [(1, "folder"), (2, "search"), (5, "message"), (11, "appointment"), (15, "task"), (16, "chat")],
)
def test_a_type_has_its_kind(code: int, kind: str) -> None:
    assert KIND_OF_TYPE[code] == kind


def test_every_kind_has_a_type_that_leads_back() -> None:
    assert {kind: KIND_OF_TYPE[TYPE_OF_KIND[kind]] for kind in ItemKind} == {
        kind: kind for kind in ItemKind
    }


def test_a_link_is_a_mountpoint_stored_as_one() -> None:
    assert TYPE_OF_KIND[KIND_OF_TYPE[18]] == 13


@pytest.mark.parametrize("code", [-1, 0, 7, 10, 12, 19])
def test_types_without_rows_have_no_kind(code: int) -> None:
    assert code not in KIND_OF_TYPE


# --- flags


def test_letters_are_the_clients_ones_in_ascending_bit_order() -> None:
    assert letters_of(ALL_BITS) == LETTERS
    assert list(CLIENT_LETTERS.values()) == sorted(CLIENT_LETTERS.values())


@pytest.mark.parametrize(
    ("bits", "letters"), [(0, ""), (32, "f"), (36, "rf"), (65, "sd"), (6291456, "#i"), (4096, "")]
)
def test_bits_have_letters(bits: int, letters: str) -> None:
    assert letters_of(bits) == letters


@pytest.mark.parametrize(
    ("letters", "bits"),
    [("", 0), ("fr", 36), ("rf", 36), ("ff", 32), ("fu", 32), ("u", 0), ("a/", 4098), ("fZé", 32)],
)
def test_letters_have_bits_and_unread_has_none(letters: str, bits: int) -> None:
    assert bits_of(letters) == bits


@pytest.mark.parametrize("letter", LETTERS)
def test_a_letter_comes_back_from_its_bit(letter: str) -> None:
    assert letters_of(bits_of(letter)) == letter


def test_every_bit_but_unread_is_the_clients_or_the_servers() -> None:
    assert (CLIENT_BITS ^ SERVER_BITS) | Flag.UNREAD == ALL_BITS
    assert CLIENT_BITS & SERVER_BITS == 0
    assert (CLIENT_BITS | SERVER_BITS) & Flag.UNREAD == 0


def test_flags_without_a_change_number_are_those_of_the_reference() -> None:
    stored = 1 | 2 | 16 | 64 | 1024 | 2048 | 4096 | 8192 | 32768 | 131072 | 8388608
    obsolete_and_folder = 134217728 | 268435456
    in_memory = 536870912 | 1073741824
    assert stored | obsolete_and_folder | in_memory == UNNUMBERED_BITS


def test_flags_of_genuine_rows_are_known(genuine: Path) -> None:
    found = rows(genuine, "mboxgroup*.mail_item*.jsonl")
    bits = {row["flags"] for row in found}
    assert len(bits) >= 9
    assert {bit & ~(CLIENT_BITS | SERVER_BITS) for bit in bits} == {0}
    assert {bits_of(letters_of(bit)) for bit in bits} == {bit & CLIENT_BITS for bit in bits}


def test_types_of_genuine_rows_are_known(genuine: Path) -> None:
    types = {row["type"] for row in rows(genuine, "mboxgroup*.mail_item*.jsonl")}
    assert types >= {1, 2, 4, 5, 6, 8, 11, 13, 15, 16, 17}
    assert types <= KIND_OF_TYPE.keys()


# --- tags


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("\0work\0home\0", ("work", "home")),
        ("\0Cliente è\0", ("Cliente è",)),
        (None, ()),
        ("", ()),
        ("work\0home", ("work", "home")),
    ],
)
def test_tag_names_are_split(column: str | None, names: tuple[str, ...]) -> None:
    assert split_tags(column) == names


def test_tag_names_are_joined_as_the_server_does() -> None:
    column = join_tags(["work", "home"])
    assert column is not None
    assert column.encode() == bytes.fromhex("00776f726b00686f6d6500")


def test_no_tags_are_null() -> None:
    assert join_tags([]) is None


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_would_split_otherwise_is_refused(name: str) -> None:
    with pytest.raises(BrokenItem):
        join_tags(["work", name])


def test_genuine_tag_names_come_back(genuine: Path) -> None:
    columns = {row["tag_names"] for row in rows(genuine, "mboxgroup*.mail_item*.jsonl")}
    assert len(columns) > 3
    assert {join_tags(split_tags(column)) for column in columns} == columns


def test_genuine_mirrored_flags_are_ours(genuine: Path) -> None:
    found = [row for row in rows(genuine, "mboxgroup*.tag.jsonl") if row["id"] < 0]
    mailboxes = {row["mailbox_id"] for row in found}
    assert {(row["mailbox_id"], row["id"], row["name"]) for row in found} == {
        (mailbox, tag_id, name) for mailbox in mailboxes for tag_id, name in MIRRORED_FLAGS.items()
    }


@pytest.mark.parametrize(
    ("bits", "ids"), [(0, ()), (36, (-3, -6)), (8388608, (-24,)), (512, ()), (2097152, ())]
)
def test_mirrored_tag_ids_follow_the_flags(bits: int, ids: tuple[int, ...]) -> None:
    assert mirrored_tag_ids(bits, unread=False) == ids


@pytest.mark.parametrize(("bits", "ids"), [(0, (UNREAD_TAG_ID,)), (36, (-3, -6, UNREAD_TAG_ID))])
def test_an_unread_item_is_listed_as_unread(bits: int, ids: tuple[int, ...]) -> None:
    assert mirrored_tag_ids(bits, unread=True) == ids


def test_genuine_leaf_items_are_listed_under_their_mirrored_flags(genuine: Path) -> None:
    found = rows(genuine, "mboxgroup*.tagged_item.jsonl")
    listed = {(row["mailbox_id"], row["item_id"], row["tag_id"]) for row in found}
    leaves = [
        row
        for row in rows(genuine, "mboxgroup*.mail_item.jsonl")
        if KIND_OF_TYPE[row["type"]] not in FOLDER_LIKE | {ItemKind.CONVERSATION}
    ]
    # The server marks the original of a copy as copied without listing it: only copies are.
    assert {
        (row["mailbox_id"], row["id"], tag_id)
        for row in leaves
        for tag_id in mirrored_tag_ids(row["flags"] & ~Flag.COPIED, unread=bool(row["unread"]))
    } == {entry for entry in listed if entry[2] < 0 and entry[2] != -5}


# --- system folders


@pytest.mark.parametrize(
    ("folder", "name", "parent", "view", "attributes", "flags"),
    [
        (11, "ROOT", 11, None, 3, 0),
        (1, "USER_ROOT", 11, None, 1, 0),
        (9, "Conversations", 11, "conversation", 3, 0),
        (2, "Inbox", 1, "message", 1, 0),
        (3, "Trash", 1, None, 1, 0),
        (10, "Calendar", 1, "appointment", 1, 2097152),
        (15, "Tasks", 1, "task", 1, 2097152),
        (19, "Unsubscribe", 1, "message", 1, 0),
        (20, "Files shared with me", 1, "document", 1, 0),
    ],
)
def test_a_system_folder_is_as_the_reference_tells(
    folder: int, name: str, parent: int, view: str | None, attributes: int, flags: int
) -> None:
    spec = SYSTEM_FOLDERS[SystemFolder(folder)]
    assert (spec.name, spec.parent, spec.view) == (name, parent, view)
    assert (spec.attributes, spec.flags) == (attributes, flags)


def test_every_system_folder_is_specified_and_below_the_users_ids() -> None:
    assert set(SYSTEM_FOLDERS) == set(SystemFolder)
    assert set(SystemFolder) == {*range(1, 12), *range(13, 18), 19, 20}
    assert max(SystemFolder) < FIRST_USER_ID


def test_parents_come_before_their_children() -> None:
    order = list(SYSTEM_FOLDERS)
    assert [
        folder
        for folder, spec in SYSTEM_FOLDERS.items()
        if order.index(spec.parent) > order.index(folder)
    ] == []


def test_names_of_system_folders_are_unique_below_their_parent() -> None:
    names = {(spec.parent, spec.name.lower()) for spec in SYSTEM_FOLDERS.values()}
    assert len(names) == len(SYSTEM_FOLDERS)


def test_hidden_folders_are_those_below_root_but_the_users() -> None:
    hidden = {
        folder
        for folder, spec in SYSTEM_FOLDERS.items()
        if spec.attributes == IMMUTABLE | UNCOUNTED
    }
    assert hidden == {8, 9, 11, 17}


@pytest.mark.parametrize("mailbox", [1, 2, 3])
def test_genuine_system_folders_are_ours(genuine: Path, mailbox: int) -> None:
    found = rows(genuine, f"mboxgroup{mailbox}.mail_item.jsonl")
    system = dict(spec_of_row(row) for row in found if row["id"] < FIRST_USER_ID)
    assert system == {
        folder: spec for folder, spec in SYSTEM_FOLDERS.items() if folder not in OPTIONAL_FOLDERS
    }
