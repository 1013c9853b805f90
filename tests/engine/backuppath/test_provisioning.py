"""Directory entries, mailboxes, `format` and checkpoints: as written, or refused."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from backupng.engine.backuppath import provisioning, values
from backupng.engine.backuppath.provisioning import Format, parse_format, spell_format
from backupng.engine.errors import BackupPathBroken, BrokenItem, UnsupportedFormat
from backupng.engine.model import DirectoryEntry, EntryKind, EntryState
from tests.engine.backuppath.samples import ACCOUNT, NOON, SERVER, entry, mailbox

WHERE = "/backup/format"
FORM = Format(
    tree_id="f449b723-15f8-4727-bb2d-1f7c7a5725b2",
    server_id=SERVER,
    server_name="zimbra1",
    created=NOON,
)
PICTURE = bytes(range(256))
SIGNATURE = DirectoryEntry(
    kind=EntryKind.SIGNATURE, entry_id="s", name="Formal", dn="cn=Formal", attributes={}
)
FULL = EntryState(
    start=NOON,
    entry=DirectoryEntry(
        kind=EntryKind.ACCOUNT,
        entry_id=ACCOUNT,
        name="alice@example.com",
        dn="uid=alice",
        attributes={"cn": ("Größe".encode(), b""), "jpegPhoto": (PICTURE,), "empty": ()},
        children=(SIGNATURE,),
    ),
    deleted=True,
    reason="backup is off",
)


def sealed(text: str) -> bytes:
    """Seal lines as `format` does; the body of a checkpoint ends before the blank."""
    return f"{text}#{zlib.crc32(text.rstrip(' ').encode()):08x}\n".encode()


def reread(state: EntryState) -> EntryState:
    body = values.load_body(values.dump_body(provisioning.spell_entry(state, 1)))
    return provisioning.parse_entry(EntryKind.ACCOUNT, ACCOUNT, body)


# --- directory entries


def test_an_entry_is_read_as_it_was_written() -> None:
    assert reread(FULL) == FULL
    assert reread(entry()) == entry()


def test_text_stays_text_and_other_bytes_travel_as_base64() -> None:
    body = provisioning.spell_entry(FULL, 1)

    assert body["attributes"]["cn"] == ["Größe", ""]
    assert list(body["attributes"]["jpegPhoto"][0]) == ["base64"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("t", True),
        ("t", 1.5),
        ("t", 2**62),
        ("kind", "virus"),
        ("kind", []),
        ("id", 5),
        ("name", None),
        ("dn", []),
        ("attributes", []),
        ("attributes", {"cn": "text"}),
        ("attributes", {"cn": [5]}),
        ("attributes", {"cn": [{"base64": 5}]}),
        ("attributes", {"cn": [{"base64": "!"}]}),
        ("attributes", {"cn": [{"base64": "é"}]}),
        ("attributes", {"cn": [{"other": "YQ=="}]}),
        ("attributes", {"cn": ["\ud800"]}),
        ("children", {}),
        ("children", ["s"]),
        ("children", [{"kind": "signature"}]),
        ("deleted", 1),
        ("reason", 5),
    ],
)
def test_a_value_of_the_wrong_type_makes_an_entry_broken(key: str, value: Any) -> None:
    body = provisioning.spell_entry(FULL, 1) | {key: value}

    with pytest.raises(BrokenItem, match=f"account {ACCOUNT}"):
        provisioning.parse_entry(EntryKind.ACCOUNT, ACCOUNT, body)


@pytest.mark.parametrize("key", ["t", "kind", "id", "name", "dn", "attributes"])
def test_an_entry_without_a_key_it_must_have_is_broken(key: str) -> None:
    body = provisioning.spell_entry(FULL, 1)
    del body[key]

    with pytest.raises(BrokenItem):
        provisioning.parse_entry(EntryKind.ACCOUNT, ACCOUNT, body)


@pytest.mark.parametrize(("kind", "entry_id"), [(EntryKind.COS, ACCOUNT), (EntryKind.ACCOUNT, "x")])
def test_an_entry_in_the_history_of_another_is_broken(kind: EntryKind, entry_id: str) -> None:
    with pytest.raises(BrokenItem, match="speaks of another entry"):
        provisioning.parse_entry(kind, entry_id, provisioning.spell_entry(FULL, 1))


# --- mailboxes


def test_a_mailbox_is_read_as_it_was_written() -> None:
    state = mailbox(11, zwc="d1:v2:10e")

    body = values.load_body(values.dump_body(provisioning.spell_mailbox(state, 1)))

    assert provisioning.parse_mailbox(ACCOUNT, body) == state


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("t", "0"),
        ("mod", True),
        ("mod", None),
        ("mark", 5),
        ("row", []),
        ("row", {}),
        ("row", {"id": "3", "group_id": 3}),
        ("row", {"id": 3, "group_id": True}),
        ("row", {"id": 3, "group_id": 3, "x": [1]}),
        ("sections", None),
        ("sections", {"zwc": 5}),
        ("base", "1"),
        ("unread", "12"),
        ("unread", ["257"]),
        ("unread", [True]),
    ],
)
def test_a_value_of_the_wrong_type_makes_a_mailbox_broken(key: str, value: Any) -> None:
    body = provisioning.spell_mailbox(mailbox(), 1) | {key: value}

    with pytest.raises(BrokenItem, match=f"mailbox of {ACCOUNT}"):
        provisioning.parse_mailbox(ACCOUNT, body)


# --- format


def said(version: str = "1.0", **changes: str) -> bytes:
    lines = {"tree": "t", "server": "s zimbra1", "created": "1772452800000"} | changes
    return sealed(
        f"backupng {version}\n" + "".join(f"{key} {value}\n" for key, value in lines.items())
    )


def test_a_format_is_read_as_it_was_written() -> None:
    assert spell_format(FORM).startswith(b"backupng 1.0\ntree f449b723-")
    assert parse_format(spell_format(FORM), where=WHERE) == FORM


@pytest.mark.parametrize(
    "name", ["", "a b", "a\nfeatures x:incompat", "a\x85b\u2028c", "#", "\ud800"]
)
def test_no_servers_name_can_spoil_its_format(name: str) -> None:
    form = Format(tree_id="t", server_id="s", server_name=name, created=NOON)

    found = parse_format(spell_format(form), where=WHERE)

    assert (found.tree_id, found.server_id, found.created) == ("t", "s", NOON)


def test_a_later_minor_version_and_what_it_adds_are_read() -> None:
    found = parse_format(said("1.7", features="colours:compat", later="any thing"), where=WHERE)

    assert (found.minor, found.read_only) == (7, False)


def test_a_feature_may_allow_no_more_than_reading() -> None:
    assert parse_format(said(features="a:compat b:ro-compat"), where=WHERE).read_only


@pytest.mark.parametrize("features", ["a:incompat", "a:ro-compat b:incompat", "a", "a:", "a:later"])
def test_a_feature_that_a_reader_must_know_is_refused(features: str) -> None:
    with pytest.raises(UnsupportedFormat, match="which this version does not know"):
        parse_format(said(features=features), where=WHERE)


@pytest.mark.parametrize("data", [said("2.0"), said("99.0"), b"backupng 2.0\nsealed otherwise\n"])
def test_another_major_version_is_refused_before_anything_else_is_read(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match="this version reads format 1"):
        parse_format(data, where=WHERE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 100,
        b"backupng",
        b"backupng 1",
        b"backupng 1.\n",
        b"backupng .1\n",
        b"backupng 1.0 \n",
        b"backupng -1.0\n",
        b"backupng \xd9\xa1.0\n",
        b"backupng 1.0\n",
        b"zextras 1.0\n",
        said()[:-1],
        said()[:-20],
        said() + b"\n",
        said().replace(b"zimbra1", b"zimbra2"),
        said(server="lonely"),
        said(created="noon"),
        said(created="9" * 30),
        said(created="9" * 5000),
        said(created="-62135596800001"),
        sealed("backupng 1.0\ntree t\ncreated 0\n"),
        sealed("backupng 1.0\nserver s n\ncreated 0\n"),
        sealed("backupng 1.0\ntree\nserver s n\ncreated 0\n"),
        sealed("backupng 1.0\n\n"),
    ],
)
def test_a_damaged_format_is_called_so(data: bytes) -> None:
    with pytest.raises(BackupPathBroken, match=f"{WHERE} is damaged"):
        parse_format(data, where=WHERE)


# --- checkpoint


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    values = {"smartscan": {"id": 1, "started": 1, "ended": 2}, "text": "a #b\n"}

    data = provisioning.spell_checkpoint(values)

    assert data.count(b"\n") == 1
    assert provisioning.parse_checkpoint(data, where=WHERE) == values


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}\n",
        b"{} #00000000\n",
        b"{} #a3a6bf43",
        b'{"a":1} #a3a6bf43\n',
        sealed("[1] "),
        sealed('{"a":1,"a":1} '),
    ],
)
def test_a_damaged_checkpoint_is_called_so(data: bytes) -> None:
    with pytest.raises(BackupPathBroken, match=f"{WHERE} is damaged"):
        provisioning.parse_checkpoint(data, where=WHERE)
