"""Injection into a mailbox that is not empty: what is there is skipped, and nothing is doubled."""

from __future__ import annotations

from typing import Any

import pytest

from backupng.engine.errors import (
    InvalidItem,
    MailServerRefused,
    MailServerUnreachable,
    NoRoom,
    ServerFault,
)
from backupng.engine.mailserver.sandbox import arrivals
from backupng.engine.mailserver.sandbox.series import MailboxSeries
from backupng.engine.mailserver.zimbra.codes import three_bytes
from backupng.engine.model import ItemKind, to_ms
from backupng.engine.restore.dry_mailbox import DryMailbox
from tests.cast import ALICE, BOB, DAVE, Office, message
from tests.commandline import comparable
from tests.engine.restore.injecting import EVENT, Hostile, Killed, Map, inject, mortal

CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:%s\r\nEND:VCARD"
NAMES = (
    *("😀" * 60, "it's", "a\\b", "%s%d", "x" * 255, "\u202egnp", "ﷺ", "-- ; DROP TABLE x"),
    "  lead",
)
IMPOSSIBLE = ("a/b", 'say "so"', "a:b", "tab\there", "nul\0l", ".", "x" * 256)


def fill(mail: Office) -> None:
    """Give alice one of everything that an injection needs several changes for, and twins."""
    client = mail.client
    client.create_folder(ALICE, "/Work/2026")
    for subject in ("One", "Two", "Two"):
        item = client.deliver(ALICE, message(subject), folder="/Work/2026")
    client.flag(ALICE, item, ["+flagged"])
    for name in (b"Ann", b"Ben", b"Ann"):
        contact = client.add_contact(ALICE, CARD % name)
    client.tag(ALICE, contact, "Red")
    client.flag(ALICE, contact, ["+flagged"])
    for content in (b"one", b"two", b"three"):
        document = client.save_document(ALICE, content, name="plan.txt")
    client.tag(ALICE, document, "Red")
    client.add_calendar_item(ALICE, EVENT, kind=ItemKind.APPOINTMENT)
    mail.scan()


def test_what_the_map_knows_is_left_as_it_is(mail: Office) -> None:
    fill(mail)
    known = Map()
    first = inject(mail, ALICE, BOB, known)
    (one,) = (i for i in mail.client.list(ALICE)["items"] if i["subject"] == "One")
    moved = first.moved[one["id"]]
    mail.client.move(BOB, moved, "/Inbox")
    mail.client.flag(BOB, moved, ["-unread"])
    before = mail.client.list(BOB)

    again = inject(mail, ALICE, BOB, known)

    assert ids(mail, ALICE) <= known.pairs.keys()
    assert (again.restored, again.skipped) == (0, first.restored)
    assert mail.client.list(BOB) == before


def ids(mail: Office, address: str) -> set[int]:
    """Return the ids of all that somebody made, tags and folders too."""
    listed = mail.client.list(address)
    return {each["id"] for each in listed["items"] + listed["tags"] if each["id"] > 255}


def test_what_is_new_in_a_folder_comes_to_where_that_was_moved_there(mail: Office) -> None:
    folder = mail.client.create_folder(ALICE, "/Work")
    mail.scan()
    known = Map()
    moved = inject(mail, ALICE, BOB, known).moved[folder]
    mail.client.move(BOB, moved, "/Inbox")
    mail.client.deliver(ALICE, message("New"), folder="/Work")
    mail.scan()

    inject(mail, ALICE, BOB, known)

    assert [(i["folder"], i["name"] or i["subject"]) for i in seen(mail, BOB)] == [
        *(("/Inbox", "Work"), ("/Inbox/Work", "New"))
    ]


def seen(mail: Office, address: str) -> list[dict[str, Any]]:
    """Return what somebody made in a mailbox."""
    return [each for each in mail.client.list(address)["items"] if each["id"] > 255]


def test_what_came_another_way_is_left_as_its_owner_has_it(mail: Office) -> None:
    client, kind = mail.client, ItemKind.APPOINTMENT
    item = client.add_calendar_item(ALICE, EVENT, kind=kind)
    client.tag(ALICE, item, "Red")
    own = client.add_calendar_item(BOB, EVENT, kind=kind)
    client.create_folder(BOB, "/Mine")
    client.move(BOB, own, "/Mine")
    client.save_document(ALICE, b"hers", name="plan.txt")
    client.save_document(BOB, b"his", name="plan.txt")
    mail.scan()
    before = seen(mail, BOB)

    injection = inject(mail, ALICE, BOB, Map())

    assert [cause for _, cause in injection.unrestored] == ["invalid item"]
    assert seen(mail, BOB) == before


def test_what_its_owner_deleted_there_stays_deleted_unless_asked_for(mail: Office) -> None:
    fill(mail)
    known = Map()
    inject(mail, ALICE, BOB, known)
    gone = next(i for i in mail.client.list(BOB)["items"] if i["subject"] == "One")
    mail.client.delete(BOB, gone["id"])

    respected = inject(mail, ALICE, BOB, known)
    asked = inject(mail, ALICE, BOB, known, again=True)

    assert (respected.restored, respected.deleted_there, asked.restored) == (0, 1, 1)
    assert comparable(mail.client.list(BOB)) == comparable(mail.client.list(ALICE))


def test_a_folder_deleted_there_is_made_again_for_what_is_new_in_it(mail: Office) -> None:
    fill(mail)
    known = Map()
    inject(mail, ALICE, BOB, known)
    folder = next(i for i in mail.client.list(BOB)["items"] if i["name"] == "2026")
    mail.client.delete(BOB, folder["id"])
    mail.client.deliver(ALICE, message("New"), folder="/Work/2026")
    mail.scan()

    again = inject(mail, ALICE, BOB, known)

    assert (again.restored, again.deleted_there) == (1, 4)
    new = [i for i in mail.client.list(BOB)["items"] if i["folder"] == "/Work/2026"]
    assert [i["subject"] for i in new] == ["New"]
    (made,) = (i for i in mail.client.list(BOB)["items"] if i["name"] == "2026")
    assert made["id"] in known.pairs.values()


@pytest.mark.parametrize("name", ["2026", "One"])
def test_a_kill_before_the_map_is_written_doubles_nothing(mail: Office, name: str) -> None:
    fill(mail)
    listed = mail.client.list(ALICE)
    (item,) = (i for i in listed["items"] + listed["tags"] if name in (i["name"], i.get("subject")))
    known = Map(mortal=item["id"])
    with pytest.raises(Killed):
        inject(mail, ALICE, BOB, known)
    known.mortal = 0

    inject(mail, ALICE, BOB, known)
    third = inject(mail, ALICE, BOB, known)

    assert ids(mail, ALICE) <= known.pairs.keys()
    assert comparable(mail.client.list(BOB)) == comparable(mail.client.list(ALICE))
    assert (third.restored, third.deleted_there) == (0, 0)


def test_a_kill_between_any_two_changes_leaves_nothing_half_made(mail: Office) -> None:
    known, client = Map(), mail.client
    mail.scan()
    inject(mail, ALICE, BOB, known)
    contact = client.add_contact(ALICE, CARD % b"Ann")
    client.flag(ALICE, contact, ["+flagged"])
    for content in (b"one", b"two", b"three"):
        document = client.save_document(ALICE, content, name="plan.txt")
    client.tag(ALICE, document, "Red")
    mail.later(days=1)
    mail.scan()
    kills = 0

    while kills < 20:
        try:
            inject(mail, ALICE, BOB, known, destination=mortal(mail, 1))
            break
        except Killed:
            kills += 1

    assert kills > 5
    assert comparable(client.list(BOB)) == comparable(client.list(ALICE))
    assert dates(mail, BOB) == dates(mail, ALICE)


def dates(mail: Office, address: str) -> list[int]:
    return sorted(i["date"] for i in mail.client.list(address)["items"] if i["id"] > 255)


def test_an_item_that_came_although_the_server_failed_is_restored_once(mail: Office) -> None:
    fill(mail)
    hostile = Hostile(mail, answers={2: ServerFault("timed out"), 5: ServerFault("x")}, after=True)

    injection = inject(mail, ALICE, BOB, destination=hostile)

    assert injection.unrestored == []
    assert comparable(mail.client.list(BOB)) == comparable(mail.client.list(ALICE))


def test_every_refusal_is_told_by_its_cause(mail: Office) -> None:
    fill(mail)
    answers = {
        1: InvalidItem("no"),
        2: NoRoom("full"),
        3: ServerFault("crashed"),
        4: MailServerRefused("never"),
    }

    injection = inject(mail, ALICE, BOB, destination=Hostile(mail, answers=answers))

    causes = ["invalid item", "quota or size limit", "server error", "server error"]
    assert [cause for _, cause in injection.unrestored] == causes
    assert len(injection.errors) == 4


def test_a_server_that_dies_ends_it_and_it_goes_on_from_there(mail: Office) -> None:
    fill(mail)
    known = Map()
    dying = Hostile(mail, answers={4: MailServerUnreachable("gone")})

    with pytest.raises(MailServerUnreachable):
        inject(mail, ALICE, BOB, known, destination=dying)
    inject(mail, ALICE, BOB, known)

    assert comparable(mail.client.list(BOB)) == comparable(mail.client.list(ALICE))


def test_a_line_that_delivery_refuses_is_foreseen_where_that_rule_holds(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Long", body="x" * 20_000), folder="/Inbox")
    mail.client.deliver(ALICE, message("Short", body="x" * 10_240), folder="/Inbox")
    mail.client.save_document(ALICE, b"x" * 20_000, name="no mail")
    mail.scan()

    refused = inject(mail, ALICE, BOB, destination=Hostile(mail, longest_line=10_240))
    taken = inject(mail, ALICE, DAVE)
    with Hostile(mail, longest_line=10_240).open(mail.sandbox.account(BOB)) as writer:
        dry = DryMailbox(writer)

    assert refused.unrestored == [(item, "invalid item")]
    assert (dry.longest_line, DryMailbox(None).longest_line) == (10_240, None)
    assert (taken.unrestored, taken.long_lines) == ([], 1)


def test_a_comment_is_left_out_with_a_document_that_is_too_large(mail: Office) -> None:
    document = mail.client.save_document(ALICE, b"x" * 20_000, name="big")
    account = mail.sandbox.account(ALICE)
    with MailboxSeries(mail.sandbox, account, lambda: to_ms(mail.now)).change() as change:
        arrivals.add_comment(change, "Fine", document=document, creator_id=account.entry_id)
    mail.scan()

    told: list[tuple[int, int]] = []

    injection = inject(
        mail, ALICE, BOB, largest_bytes=1000, tick=lambda *numbers: told.append(numbers)
    )

    assert (injection.unrestored, len(injection.too_large)) == ([], 2)
    assert told == [(1, 2), (2, 2), (2, 2)]


def test_what_is_too_large_is_skipped_and_counted(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Big", body="x" * 20_000), folder="/Inbox")
    small = mail.client.deliver(ALICE, message("Small"), folder="/Inbox")
    mail.scan()

    injection = inject(mail, ALICE, BOB, largest_bytes=mail.history(ALICE, small)[0].size)

    assert (injection.restored, injection.skipped, len(injection.too_large)) == (1, 1, 1)


def test_folders_and_documents_of_any_name_come_whole(mail: Office) -> None:
    for number, name in enumerate(NAMES):
        mail.client.create_folder(ALICE, f"/{name}")
        mail.client.deliver(ALICE, message(f"In {number}"), folder=f"/{three_bytes(name)}")
        mail.client.save_document(ALICE, b"x", name=name)
    mail.scan()

    injection = inject(mail, ALICE, BOB)

    assert injection.restored == 3 * len(NAMES)
    assert comparable(mail.client.list(BOB)) == comparable(mail.client.list(ALICE))


def test_a_name_that_no_server_takes_loses_the_folder_and_nothing_in_it(mail: Office) -> None:
    folders = [mail.client.create_folder(ALICE, f"/Fine {n}") for n in range(len(IMPOSSIBLE))]
    for number, folder in enumerate(folders):
        mail.client.deliver(ALICE, message(f"In {folder}"), folder=f"/Fine {number}")
        mail.set_column(ALICE, folder, name=IMPOSSIBLE[number])
    mail.scan()

    injection = inject(mail, ALICE, BOB)

    assert injection.unrestored == [(folder, "invalid item") for folder in folders]
    found = {i["subject"]: i["folder"] for i in mail.client.list(BOB)["items"] if i["subject"]}
    assert found == {f"In {folder}": f"/unknown_{folder}" for folder in folders}


def test_folders_that_lie_within_each_other_come_with_what_is_in_them(mail: Office) -> None:
    outer, inner = (mail.client.create_folder(ALICE, each) for each in ("/A", "/A/B"))
    mail.client.deliver(ALICE, message("Deep"), folder="/A/B")
    mail.set_column(ALICE, outer, folder_id=inner, parent_id=inner)
    mail.scan()

    injection = inject(mail, ALICE, BOB)

    assert injection.unrestored == []
    found = {i["subject"]: i["folder"] for i in mail.client.list(BOB)["items"]}
    assert found["Deep"].endswith("/B")
