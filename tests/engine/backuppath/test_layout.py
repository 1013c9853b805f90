"""Paths of the tree: every spelling is computed, and only computed spellings are the tree's."""

from __future__ import annotations

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.layout import Place
from backupng.engine.model import AccountId, Digest, EntryKind, ItemId
from tests.engine.backuppath.samples import ACCOUNT

DIGEST = Digest("y,HYaKC+80I9,GgehOklV,ltOqQiEZnDYM32lsnZ,Ss=")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (layout.account_file(ACCOUNT), f"accounts/{ACCOUNT}/account"),
        (layout.mailbox_file(ACCOUNT), f"accounts/{ACCOUNT}/mailbox"),
        (layout.item_file(ACCOUNT, ItemId(2057)), f"accounts/{ACCOUNT}/items/57/2057"),
        (layout.item_file(ACCOUNT, ItemId(5)), f"accounts/{ACCOUNT}/items/05/5"),
        (layout.entry_file(EntryKind.ACCOUNT, ACCOUNT), f"accounts/{ACCOUNT}/account"),
        (layout.entry_file(EntryKind.DOMAIN, "d"), "server/domains/d"),
        (layout.entry_file(EntryKind.COS, "c"), "server/cos/c"),
        (layout.entry_file(EntryKind.LIST, "l"), "server/lists/l"),
        (layout.entry_file(EntryKind.SERVER, "s"), "server/servers/s"),
        (layout.blob_file(DIGEST), f"items/y,/{DIGEST}"),
        (layout.checkpoint_file("s"), "checkpoint/s"),
    ],
)
def test_everything_lies_where_the_format_says(path: Place, text: str) -> None:
    assert str(path) == text


@pytest.mark.parametrize(
    ("entry_id", "name"),
    [
        (ACCOUNT, ACCOUNT),
        ("a.b", "a%2Eb"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("../../etc", "%2E%2E%2F%2E%2E%2Fetc"),
        ("a b\n", "a%20b%0A"),
        ("è", "%C3%A8"),
        ("A-_~z9", "A-_~z9"),
        ("%41", "%2541"),
    ],
)
def test_any_id_has_one_spelling_as_a_file_name(entry_id: str, name: str) -> None:
    assert layout.id_name(entry_id) == name
    assert layout.id_of(name) == entry_id


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a.txt", "%41", "%2e", "%FF", "a b", "è", "\udcff", "a%", "~é"],
)
def test_a_name_that_spells_no_id_is_not_the_trees(name: str) -> None:
    assert layout.id_of(name) is None


def test_an_items_name_and_bucket_give_its_id_back() -> None:
    assert layout.item_of("57", "2057") == 2057
    assert layout.item_of("05", "5") == 5
    assert layout.item_of("47", str(2**31 - 1)) == 2**31 - 1


@pytest.mark.parametrize(
    ("bucket", "name"),
    [
        ("57", "2058"),
        ("5", "5"),
        ("07", "007"),
        ("00", "0"),
        ("48", str(2**31)),
        ("57", "2057~"),
        ("57", "-57"),
        ("57", "\u0665\u0667"),
        ("57", ""),
        ("57", "99999999999999957"),
    ],
)
def test_a_file_that_is_no_items_in_its_bucket_is_not_the_trees(bucket: str, name: str) -> None:
    assert layout.item_of(bucket, name) is None


@pytest.mark.parametrize("name", ["5", "057", "ab", "\u0665\u0667", "", "..", "5\n"])
def test_a_folder_that_is_no_two_digits_holds_no_items(name: str) -> None:
    assert not layout.is_item_bucket(name)
    assert layout.is_item_bucket("05")


@pytest.mark.parametrize("name", ["y", "y,H", "..", "y/", "lost+found", "y\n", ""])
def test_a_folder_that_is_no_start_of_a_digest_holds_no_blobs(name: str) -> None:
    assert not layout.is_blob_bucket(name)
    assert layout.is_blob_bucket("y,")


@pytest.mark.parametrize(
    "text",
    [
        DIGEST[:-1],
        DIGEST.replace(",", "/"),
        f"{DIGEST}\n",
        f"../{DIGEST[3:]}",
        "",
        None,
        5,
        "é" * 44,
    ],
)
def test_only_forty_four_characters_of_the_alphabet_are_a_digest(text: object) -> None:
    assert not layout.is_digest(text)
    assert layout.is_digest(DIGEST)


def test_an_items_chain_begins_with_its_account_and_id_and_any_other_with_its_path() -> None:
    odd = AccountId("a.b")

    assert layout.chain_seed(layout.item_file(odd, ItemId(2057))) == "ng1/a.b/2057"
    assert layout.chain_seed(layout.mailbox_file(odd)) == "ng1/accounts/a%2Eb/mailbox"
    assert layout.chain_seed(layout.entry_file(EntryKind.COS, "c")) == "ng1/server/cos/c"


def test_a_history_is_locked_by_its_account_and_any_other_by_the_server() -> None:
    account = layout.account_folder(ACCOUNT)

    assert layout.lock_folder(layout.item_file(ACCOUNT, ItemId(5))) == account
    assert layout.lock_folder(layout.account_file(ACCOUNT)) == account
    assert layout.lock_folder(layout.entry_file(EntryKind.COS, "c")) == layout.SERVER
