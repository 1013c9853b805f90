"""The sandbox as a server that is restored to: what goes in comes out, ids led to new places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.errors import BadRequest, InvalidItem, MailServerRefused, ReadError
from backupng.engine.mailserver.sandbox import arrivals, edits, tags
from backupng.engine.mailserver.sandbox.arrivals import Look
from backupng.engine.mailserver.sandbox.destination import SandboxDestination
from backupng.engine.mailserver.sandbox.load import load
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.mailserver.zimbra.metadata import decode_column, encode_column
from backupng.engine.model import (
    Digest,
    DirectoryEntry,
    EntryKind,
    ItemId,
    ItemKind,
    ItemState,
)
from backupng.engine.restore.rename import ROOTS
from tests.engine.mailserver.consistency import assert_consistent
from tests.engine.mailserver.copying import COPY, INBOX, NOW, Copying, copying
from tests.engine.mailserver.mailboxes import CARD, EVENT, Box, message, open_box, thread


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(tmp_path) as opened:
        yield opened


@pytest.fixture
def copy(box: Box) -> Iterator[Copying]:
    with copying(box.sandbox, box.account) as made:
        yield made


@pytest.fixture
def target(copy: Copying) -> Box:
    return Box(copy.sandbox, copy.target)


def state_of(copy: Copying, item: int) -> ItemState:
    return copy.states()[ItemId(item)]


def dressed(copy: Copying, item: int, **metadata: Any) -> ItemState:
    """Return an item's state with other metadata."""
    state = state_of(copy, item)
    return replace(state, row={**state.row, "metadata": encode_column(metadata)})


def fill_with_everything(box: Box) -> None:
    """Put an item of every kind into the mailbox."""
    folder = box.do(arrivals.make_folder, "/Büro/2026", color=3, flags="*")
    box.deliver(thread("Lunch", "1"), look=Look(unread=True, flags="f", tags=("Work", "Büro")))
    box.deliver(thread("Re: Lunch", "2", "1"), folder=folder)
    box.deliver(b"Hi", folder=14, kind=ItemKind.CHAT)
    box.do(arrivals.add_contact, CARD)
    for word, kind in (("VEVENT", ItemKind.APPOINTMENT), ("VTODO", ItemKind.TASK)):
        raw = EVENT.format(kind=word, uid=word).encode()
        box.do(arrivals.add_calendar_item, raw, address=box.account.name, kind=kind)
    box.save(b"first")
    document = box.save(b"second" * 2000)
    box.do(arrivals.add_comment, "Fine", document=document, creator_id=box.account.entry_id)
    box.do(arrivals.add_note, "Milk", folder=folder)
    box.do(arrivals.make_search, "Unread", "is:unread")


# --- equality


def test_a_mailbox_with_every_kind_of_item_comes_out_equal(box: Box, copy: Copying) -> None:
    fill_with_everything(box)

    copy.put_all()

    assert copy.listed(copy.target) == copy.listed(box.account)
    assert_consistent(box.sandbox)


@pytest.mark.parametrize("name", ["mario.rossi", "anna.bianchi", "luca.verdi"])
def test_genuine_mailboxes_come_out_equal(genuine: Path, tmp_path: Path, name: str) -> None:
    with load(tmp_path / "zimbra1", name="zimbra1", directory=genuine / "history") as sandbox:
        account = sandbox.account(f"{name}@example.com")
        with copying(sandbox, account) as copy:
            copy.put_all()

        assert copy.listed(copy.target) == copy.listed(account)
        assert copy.listed(account).total() > 30


def test_dates_and_threads_come_out_too(box: Box, copy: Copying, target: Box) -> None:
    fill_with_everything(box)

    copy.put_all()

    dates = {old: box.row(old)["date"] for old in copy.gone if old >= 256}
    assert {old: target.row(copy.gone[old])["date"] for old in dates} == dates
    (conversation,) = target.rows("mail_item", "type = 4")
    assert conversation["size"] == 2


def test_what_was_put_is_read_back(box: Box, copy: Copying) -> None:
    item, note = box.deliver(), box.do(arrivals.add_note, "Milk", folder=INBOX)
    put = [copy.put(state_of(copy, each)) for each in (item, note)]

    found = copy.writer.read_back([*put, ItemId(9999)])

    assert {each: state.digest for each, state in found.items()} == {
        put[0]: state_of(copy, item).digest,
        put[1]: None,
    }


# --- folders and tags


def test_a_folder_keeps_retention_address_and_view(box: Box, copy: Copying, target: Box) -> None:
    folder = box.do(arrivals.make_folder, "/Calendar/Team")
    values = {"rp": {"keep": [{"lifetime": "30d"}]}, "url": "http://x/y.ics", "vt": 11, "c": 4}
    state = dressed(copy, folder, **values, sz=99, unxt=9999, mseq=9999, a=1, mdver=7)

    new, is_new = copy.writer.put_folder(state, ItemId(SystemFolder.CALENDAR))

    assert is_new
    kept = target.values(new)
    assert {key: kept[key] for key in values} == values
    assert kept["unxt"] == new + 1
    assert not kept.keys() & {"sz", "a", "mdver"}
    assert target.row(new)["date"] == box.row(folder)["date"]


def test_grants_are_not_carried_and_those_there_are_stay(
    box: Box, copy: Copying, target: Box
) -> None:
    folder = box.do(arrivals.make_folder, "/Work")
    box.do(edits.share, folder, "bob", "r")
    there = target.do(arrivals.make_folder, "/Work")
    target.do(edits.share, there, "carol", "rw")
    grants = target.values(there)["aclm"]

    new, is_new = copy.writer.put_folder(state_of(copy, folder), ROOTS[0])

    assert (new, is_new) == (there, False)
    assert target.values(there)["aclm"] == grants


def test_a_folder_of_the_same_name_takes_colour_and_flags(
    box: Box, copy: Copying, target: Box
) -> None:
    target.deliver(folder=target.do(arrivals.make_folder, "/work"))
    folder = box.do(arrivals.make_folder, "/WORK", color=6, flags="*")

    new, is_new = copy.writer.put_folder(state_of(copy, folder), ROOTS[0])

    assert not is_new
    assert (target.values(new)["c"], target.row(new)["size"]) == (6, 1)
    assert_consistent(box.sandbox)


def test_a_system_folder_is_dressed_only_under_its_own_name(copy: Copying) -> None:
    shared = state_of(copy, SystemFolder.SHARED_FILES)
    archive = replace(shared, name="Archive", row={**shared.row, "name": "Archive"})

    same, _ = copy.writer.put_folder(shared, ROOTS[0])
    other, is_new = copy.writer.put_folder(archive, ROOTS[0])

    assert same == shared.item_id
    assert is_new
    assert other >= 256


def test_a_name_that_something_else_has_there_is_an_invalid_item(
    box: Box, copy: Copying, target: Box
) -> None:
    target.do(arrivals.make_search, "Work", "is:unread")
    folder = box.do(arrivals.make_folder, "/Work")

    with pytest.raises(InvalidItem, match="something else"):
        copy.writer.put_folder(state_of(copy, folder), ROOTS[0])


def test_a_tag_keeps_colour_retention_and_whether_it_is_listed(
    box: Box, copy: Copying, target: Box
) -> None:
    box.deliver(look=Look(tags=("Hidden",)))
    with box.change() as change:
        change.update_tag(tags.make_tag(change, "Shown"), color=7, policy="d1:vi10ee")
    states = [state for state in copy.states().values() if state.kind is ItemKind.TAG]

    made = [copy.writer.put_tag(state)[1] for state in states]
    again = [copy.writer.put_tag(state)[1] for state in states]

    assert (made, again) == ([True, True], [False, False])
    kept = [
        (tag["name"], tag["color"], tag["policy"], tag["listed"])
        for tag in target.rows("tag", "id > 0")
    ]
    assert sorted(kept) == [("Hidden", None, None, 0), ("Shown", 7, "d1:vi10ee", 1)]


def test_an_item_takes_the_tag_that_is_there_in_its_spelling(
    box: Box, copy: Copying, target: Box
) -> None:
    target.do(edits.tag, target.deliver(), "büro")
    item = box.deliver(look=Look(tags=("BÜRO",)))

    new = copy.put(state_of(copy, item))

    assert target.row(new)["tag_names"] == "\0büro\0"
    assert_consistent(box.sandbox)


# --- ids that lead elsewhere


def test_a_draft_leads_to_the_copy_of_what_it_answers(box: Box, copy: Copying, target: Box) -> None:
    origin = box.deliver()
    owner = box.account.entry_id
    draft = {"do": str(origin), "dt": "r", "aid": owner, "idnt": owner, "ast": 5}
    new_origin = copy.put(state_of(copy, origin))

    new = copy.put(dressed(copy, box.deliver(folder=6, look=Look(flags="d")), d=draft))

    moved = {"aid": copy.target.entry_id, "idnt": copy.target.entry_id}
    assert target.values(new)["d"] == {**draft, **moved, "do": str(new_origin)}


@pytest.mark.parametrize(("origin", "kept"), [("9999", {}), ("other:7", {"do": "other:7"})])
def test_a_draft_whose_origin_is_not_there_leads_nowhere(
    box: Box, copy: Copying, target: Box, origin: str, kept: dict[str, str]
) -> None:
    new = copy.put(dressed(copy, box.deliver(), d={"do": origin, "dt": "w"}))

    assert target.values(new)["d"] == {"dt": "w", **kept}


def test_a_calendar_link_leads_to_the_copy_or_nowhere(box: Box, copy: Copying, target: Box) -> None:
    raw = EVENT.format(kind="VEVENT", uid="lunch").encode()
    options = {"address": box.account.name, "kind": ItemKind.APPOINTMENT}
    event = box.do(arrivals.add_calendar_item, raw, **options)
    new_event = copy.put(state_of(copy, event))
    links = [{"a": int(event), "c": 0}, {"a": 9999}, {"c": 1}, "odd"]

    new = copy.put(dressed(copy, box.deliver(), ais=links))

    assert target.values(new)["ais"] == [{"a": int(new_event), "c": 0}, {"a": 0}, {"c": 1}, "odd"]


@pytest.mark.parametrize("mine", [True, False])
def test_the_creator_of_a_comment_follows_the_account(
    box: Box, copy: Copying, target: Box, *, mine: bool
) -> None:
    document = box.save(b"x")
    creator = box.account.entry_id if mine else "bob"
    comment = box.do(arrivals.add_comment, "Fine", document=document, creator_id=creator)
    new_document = copy.put(state_of(copy, document))

    new = copy.put(state_of(copy, comment))

    assert target.row(new)["parent_id"] == new_document
    assert target.values(new)["cr"] == (copy.target.entry_id if mine else "bob")


def test_a_comment_without_its_document_is_an_invalid_item(box: Box, copy: Copying) -> None:
    comment = box.do(arrivals.add_comment, "Fine", document=box.save(b"x"), creator_id="bob")

    with pytest.raises(InvalidItem, match="document"):
        copy.put(state_of(copy, comment))


# --- documents


def test_older_versions_come_with_their_blobs(box: Box, copy: Copying, target: Box) -> None:
    box.save(b"first")
    box.save(b"second")
    document = box.save(b"third")

    new = copy.put(state_of(copy, document))

    source, mailbox = copy.sandbox.source(), copy.sandbox.mailbox(copy.target)
    ((_, state),) = source.states(mailbox, [new])
    assert isinstance(state, ItemState)
    bodies = [b"".join(source.blob(mailbox, each)) for each in source.blobs_of(state)]
    assert bodies == [b"third", b"first", b"second"]
    assert [row["version"] for row in target.rows("revision")] == [1, 2]
    assert_consistent(box.sandbox)


# --- refusals


def test_an_item_whose_blob_is_lost_leaves_nothing_behind(
    box: Box, copy: Copying, target: Box
) -> None:
    state = state_of(copy, box.deliver())
    before = (target.rows("mail_item"), target.mailbox, target.blob_files())

    with pytest.raises(ReadError):
        copy.put(replace(state, digest=Digest("A" * 43 + "=")))

    assert (target.rows("mail_item"), target.mailbox, target.blob_files()) == before


@pytest.mark.parametrize("kind", [ItemKind.FOLDER, ItemKind.CONVERSATION, ItemKind.MOUNTPOINT])
def test_some_kinds_are_not_put_as_items(box: Box, copy: Copying, kind: ItemKind) -> None:
    state = state_of(copy, box.deliver())

    with pytest.raises(InvalidItem, match=kind):
        copy.put(replace(state, kind=kind))


def test_the_quota_does_not_count_for_what_is_put(box: Box) -> None:
    box.deliver()
    full = {"zimbraMailQuota": (b"1",)}

    with copying(box.sandbox, box.account, full) as copy:
        copy.put_all()

    with pytest.raises(InvalidItem, match="quota"):
        Box(box.sandbox, copy.target).deliver()
    assert copy.listed(copy.target) == copy.listed(box.account)


# --- accounts


def test_a_new_account_has_the_given_attributes_and_an_id_of_its_own(box: Box) -> None:
    destination = SandboxDestination(box.sandbox, lambda: NOW)

    made = destination.create_account("Bob@Example.com", {"zimbraPrefLocale": (b"it",)})

    assert (made.name, made.first("zimbraPrefLocale")) == ("bob@example.com", "it")
    assert destination.entry(EntryKind.ACCOUNT, made.entry_id) == made
    assert made.entry_id != box.account.entry_id
    assert_consistent(box.sandbox)


def test_what_the_directory_does_not_take_is_refused_by_the_server(box: Box) -> None:
    destination = SandboxDestination(box.sandbox, lambda: NOW)

    with pytest.raises(MailServerRefused, match="zimbraHideInGal"):
        destination.create_account(COPY, {"zimbraHideInGal": (b"maybe",)})
    with pytest.raises(BadRequest, match="in use"):
        destination.create_account(box.account.name, {})

    assert_consistent(box.sandbox)


def test_identities_and_signatures_get_new_ids(box: Box) -> None:
    destination = SandboxDestination(box.sandbox, lambda: NOW)
    name, old_id = (b"Work, at home",), (b"old",)
    child = DirectoryEntry(
        kind=EntryKind.SIGNATURE,
        entry_id="old",
        name="Work, at home",
        dn="x",
        attributes={"zimbraSignatureName": name, "zimbraSignatureId": old_id},
    )

    destination.add_child(box.account, child)

    (found,) = box.sandbox.account(box.account.name).children
    assert found.attributes["zimbraSignatureName"] == name
    assert found.attributes["zimbraSignatureId"] == (found.entry_id.encode(),) != old_id
    with pytest.raises(InvalidItem):
        destination.add_child(box.account, child)


def test_metadata_that_was_not_touched_is_carried_as_it_was(
    box: Box, copy: Copying, target: Box
) -> None:
    item = box.deliver(message("Größe 🍕"))

    new = copy.put(state_of(copy, item))

    assert target.row(new)["metadata"] == box.row(item)["metadata"]
    assert decode_column(target.row(new)["metadata"])


def test_grants_on_an_item_are_not_carried(box: Box, copy: Copying, target: Box) -> None:
    state = dressed(copy, box.save(b"x"), ct="text/plain", aclm={"g": []}, acl=[], mdver=3)

    new = copy.put(state)

    assert target.values(new) == {"ct": "text/plain"}
