"""A dry mailbox takes for one what the sandbox does, and remembers no more than it must."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.port import MailboxWriter, Places
from backupng.engine.mailserver.zimbra.metadata import encode_column
from backupng.engine.model import ItemId, ItemKind, ItemState
from backupng.engine.restore.dry_mailbox import DryMailbox
from backupng.engine.restore.rename import ROOTS, folder_named, tag_named
from tests.cast import ALICE, Office, office

TOP = ROOTS[0]
NUMBERS = count()


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder: Path = tmp_path_factory.mktemp("office")
    with office(folder) as made:
        yield made


@pytest.fixture(params=["dry", "dry beside a real one", "sandbox"])
def writer(mail: Office, request: pytest.FixtureRequest) -> Iterator[MailboxWriter]:
    real = mail.destination.open(mail.sandbox.account(ALICE))
    with nullcontext() if request.param == "dry" else real as there:
        yield there if request.param == "sandbox" and there else DryMailbox(there)


@pytest.fixture
def home(writer: MailboxWriter) -> ItemId:
    """Return a new folder of the test's own."""
    state = replace(folder_named(f"home {next(NUMBERS)}"), item_id=ItemId(300))
    return writer.put_folder(state, TOP)[0]


def search(name: str, query: str) -> ItemState:
    row = {"name": name, "metadata": encode_column({"q": query})}
    return replace(folder_named(name), kind=ItemKind.SEARCH, row=row)


@pytest.mark.parametrize(
    ("name", "other", "is_one"),
    [
        ("Projekt", "projekt", True),
        ("Cafe", "Café", True),
        ("Work", "Work  ", True),
        ("😀", "?", True),
        ("Йод", "Иод", False),
        ("か", "が", False),
        ("Straße", "Strasse", False),
        (" Work", "Work", False),
    ],
)
def test_a_folder_is_there_by_any_name_that_the_server_takes_for_its_own(
    writer: MailboxWriter, home: ItemId, name: str, other: str, *, is_one: bool
) -> None:
    first, _ = writer.put_folder(folder_named(name), home)

    found = writer.find_folder(folder_named(other), home)
    second, is_new = writer.put_folder(folder_named(other), home)

    assert found == (first if is_one else None)
    assert (second == first, is_new) == (is_one, not is_one)


@pytest.mark.parametrize(
    ("name", "other", "is_one"),
    [
        ("Red{}", "red{}", True),
        ("Grün{}", "grun{}", True),
        ("Blue{}", " Blue{} ", True),
        ("Pink{}", "Pink{} 2", False),
    ],
)
def test_a_tag_is_there_by_any_name_that_the_server_takes_for_its_own(
    writer: MailboxWriter, name: str, other: str, *, is_one: bool
) -> None:
    number = next(NUMBERS)
    name, other = name.format(number), other.format(number)
    first, _ = writer.put_tag(tag_named(other))

    found = writer.find_tag(name)
    second, is_new = writer.put_tag(tag_named(name))

    assert found == (first if is_one else None)
    assert (second == first, is_new) == (is_one, not is_one)


def test_what_is_of_another_kind_or_aim_has_its_name_for_itself(
    writer: MailboxWriter, home: ItemId
) -> None:
    folder, _ = writer.put_folder(folder_named("Work"), home)
    found, _ = writer.put_folder(search("Found", "in:inbox"), home)

    for state in (search("Work", ""), search("Found", "is:unread"), folder_named("found")):
        with pytest.raises(InvalidItem) as refused:
            writer.put_folder(state, home)
        assert refused.value.code == "already_exists"

    with pytest.raises(InvalidItem):
        writer.find_folder(replace(folder_named("work"), kind=ItemKind.DOCUMENT), home)
    assert writer.put_folder(folder_named("Work"), home) == (folder, False)
    assert writer.put_folder(search("found", "in:inbox"), home) == (found, False)


@pytest.mark.parametrize("kind", [ItemKind.DOCUMENT, ItemKind.COMMENT])
def test_no_document_comes_to_where_its_name_is_taken_and_no_comment_without_its_document(
    writer: MailboxWriter, home: ItemId, kind: ItemKind
) -> None:
    writer.put_folder(folder_named("Work"), home)
    state = replace(folder_named("work"), kind=kind, row={"name": "work", "parent_id": 999})

    with pytest.raises(InvalidItem) as refused:
        writer.put_item(state, Places(folder=home, items={}, accounts={}), lambda _: iter(()))

    assert (refused.value.code == "already_exists") is (kind is ItemKind.DOCUMENT)


def test_an_item_is_remembered_until_it_is_read_back_and_a_folder_for_good() -> None:
    mailbox = DryMailbox(None)
    folder, _ = mailbox.put_folder(folder_named("Work"), TOP)
    state = replace(folder_named("Hi"), kind=ItemKind.MESSAGE, size=7)
    item = mailbox.put_item(state, Places(folder=folder, items={}, accounts={}), lambda _: iter(()))

    shown = [set(mailbox.read_back([item, folder])) for _ in range(2)]

    assert shown == [{item, folder}, {folder}]
    assert (mailbox.coming, mailbox.coming_bytes) == ({folder: 1}, {folder: 7})
