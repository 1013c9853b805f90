"""The seeded content: repeatable, complete, and readable by what will take delivery of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import islice
from typing import TypeVar

import pytest

from backupng.engine.mailserver.sandbox.content.plan import (
    END_S,
    SPAN_S,
    AddAppointment,
    AddChat,
    AddComment,
    AddContact,
    AddNote,
    AddTask,
    Deliver,
    MakeFolder,
    MakeSearch,
    MakeShare,
    MakeTag,
    SaveDocument,
    Step,
    plan,
)
from backupng.engine.mailserver.zimbra.parsing.calendar import read_ics
from backupng.engine.mailserver.zimbra.parsing.contacts import read_vcard
from backupng.engine.mailserver.zimbra.parsing.mime import describe
from backupng.engine.model import ItemKind

DOMAIN = "demo.example"
ITEMS = (Deliver, AddContact, AddAppointment, AddTask, AddNote, AddChat, AddComment)
SYSTEM_FOLDERS = {
    *("/Inbox", "/Trash", "/Junk", "/Sent", "/Drafts", "/Contacts", "/Emailed Contacts"),
    *("/Calendar", "/Tasks", "/Briefcase"),
}
Kind = TypeVar("Kind", bound=Step)


def steps(*, seed: int = 7, accounts: int = 2, items: int = 60, number: int = 1) -> list[Step]:
    account = next(islice(plan(seed, DOMAIN, accounts, items), number - 1, None))
    return list(account.steps())


def only(kind: type[Kind], found: list[Step]) -> list[Kind]:
    return [step for step in found if isinstance(step, kind)]


def count_items(found: list[Step]) -> int:
    documents = {(step.folder, step.name) for step in only(SaveDocument, found)}
    return sum(isinstance(step, ITEMS) for step in found) + len(documents)


@pytest.fixture(scope="module")
def large() -> list[Step]:
    return steps(items=1000)


def test_the_same_seed_gives_the_same_bytes_everywhere() -> None:
    text = repr([list(account.steps()) for account in plan(7, DOMAIN, 3, 200)])

    assert hashlib.sha256(text.encode()).hexdigest() == (
        "6bfb607c1cb0061acc89903bcde108d6f7e4d55f5fa09361d599e9afe7082405"
    )


def test_a_plan_can_be_followed_twice() -> None:
    account = next(plan(7, DOMAIN, 1, 30))

    assert list(account.steps()) == list(account.steps())


def test_another_seed_gives_other_content() -> None:
    assert steps(seed=1) != steps(seed=2)


def test_an_account_does_not_depend_on_how_many_others_there_are() -> None:
    few, many = steps(accounts=2), steps(accounts=50)

    assert few == many


def test_accounts_are_numbered_and_have_names() -> None:
    accounts = list(plan(7, DOMAIN, 3, 10))

    assert [account.address for account in accounts] == [f"a{n}@{DOMAIN}" for n in (1, 2, 3)]
    assert all(account.display_name.strip() for account in accounts)


@pytest.mark.parametrize(("accounts", "items"), [(0, 0), (3, 0)])
def test_without_items_nothing_happens(accounts: int, items: int) -> None:
    assert [step for account in plan(7, DOMAIN, accounts, items) for step in account.steps()] == []


@pytest.mark.parametrize("items", [1, 5, 12, 13, 57, 300])
def test_as_many_items_as_asked_for_are_made(items: int) -> None:
    assert count_items(steps(items=items)) == items


@pytest.mark.parametrize("items", [12, 13, 40])
def test_twelve_items_hold_every_kind(items: int) -> None:
    kinds = {*ITEMS, SaveDocument, MakeFolder, MakeTag, MakeSearch, MakeShare}

    assert {type(step) for step in steps(items=items)} == kinds


def test_most_items_are_messages(large: list[Step]) -> None:
    assert len(only(Deliver, large)) > 700


def test_everything_is_readable_by_the_server(large: list[Step]) -> None:
    messages = [describe(step.raw) for step in only(Deliver, large)]
    cards = [read_vcard(step.vcard) for step in only(AddContact, large)]
    appointments = [kind_of(step.ics) for step in only(AddAppointment, large)]
    tasks = [kind_of(step.ics) for step in only(AddTask, large)]

    assert all(facts.sender and facts.to and facts.message_id for facts in messages)
    assert all(facts.fields for facts in cards)
    assert {*appointments} == {ItemKind.APPOINTMENT}
    assert {*tasks} == {ItemKind.TASK}


def kind_of(ics: bytes) -> ItemKind:
    return read_ics(ics, mailbox_address="a1@x", now_ms=END_S * 1000, first_invite_id=300).kind


def test_the_mail_has_all_that_real_mail_has(large: list[Step]) -> None:
    delivered = only(Deliver, large)
    facts = [describe(step.raw) for step in delivered]
    known = {each.message_id for each in facts}
    subjects = "".join(each.subject for each in facts)

    assert sum(known >= {*each.references} for each in facts if each.references) > 100
    assert sum(each.has_attachment for each in facts) > 50
    assert {each.priority for each in facts} == {-1, 0, 1}
    assert all(character in subjects for character in 'èßï"\\会פم😀')
    assert {step.unread for step in delivered} == {True, False}
    assert {letter for step in delivered for letter in step.flags} >= {*"sdfrw"}
    assert any(len(step.tags) > 1 for step in delivered)


def test_sizes_have_a_heavy_tail_and_a_limit(large: list[Step]) -> None:
    sizes = sorted(len(step.raw) for step in only(Deliver, large))

    assert 300 <= sizes[0] < 500
    assert sizes[len(sizes) // 2] < 3000
    assert 100_000 < sizes[-1] < 450_000
    assert sum(sizes) < 40_000_000


def test_dates_lie_in_the_two_years_before_a_fixed_moment(large: list[Step]) -> None:
    dates = [step.date_s for step in large if isinstance(step, Deliver | AddChat)]

    assert min(dates) >= END_S - SPAN_S
    assert max(dates) < END_S


def test_folders_are_nested_three_levels_deep_and_made_before_use(large: list[Step]) -> None:
    made = {step.path for step in only(MakeFolder, large)} | SYSTEM_FOLDERS
    used = {
        step.folder
        for step in large
        if isinstance(step, (*ITEMS, SaveDocument)) and hasattr(step, "folder")
    }

    assert max(path.count("/") for path in made) == 4
    assert {path.rpartition("/")[0] for path in made} <= made | {""}
    assert used <= made


def test_names_are_such_as_a_real_server_takes(large: list[Step]) -> None:
    folders = [step.path.replace("/", "") for step in only(MakeFolder, large)]
    tags = [step.name for step in only(MakeTag, large)]
    others = [step.name for step in only(SaveDocument, large) + only(MakeSearch, large)]
    texts = [step.text for step in only(AddNote, large) + only(AddComment, large)]

    assert max("".join(folders + tags + others + texts)) <= "\uffff"
    assert not {*':"'} & {*"".join(folders + others)}
    assert not {*":\\"} & {*"".join(tags)}
    assert Counter(name.casefold() for name in tags).most_common(1)[0][1] == 1


def test_tags_are_made_before_they_are_used(large: list[Step]) -> None:
    made = {step.name for step in only(MakeTag, large)}

    assert {tag for step in only(Deliver, large) for tag in step.tags} <= made


def test_comments_are_about_documents_saved_before() -> None:
    found = steps(items=12)
    saved = [step.name for step in only(SaveDocument, found)]

    assert [step.document_name for step in only(AddComment, found)] == saved[:1]


def test_some_documents_get_a_second_version(large: list[Step]) -> None:
    versions = Counter(step.name for step in only(SaveDocument, large))

    assert {*versions.values()} == {1, 2}


def test_accounts_share_messages_and_files() -> None:
    blobs = [{step.raw for step in only(Deliver, steps(number=n))} for n in (1, 2)]
    files = [{step.raw for step in only(SaveDocument, steps(items=500, number=n))} for n in (1, 2)]

    assert blobs[0] & blobs[1]
    assert files[0] & files[1]


def test_a_folder_is_shared_with_the_next_account() -> None:
    shares = only(MakeShare, steps(accounts=2, number=2))

    assert {share.grantee for share in shares} == {f"a1@{DOMAIN}"}
    assert only(MakeShare, steps(accounts=1)) == []


def test_steps_are_made_one_at_a_time() -> None:
    account = next(plan(7, DOMAIN, 1, 10**9))

    first = list(islice(account.steps(), 100))

    assert len(first) == 100
