"""A dry run foretells what becomes of names that the server takes for one."""

from __future__ import annotations

import pytest

from backupng.engine.mailserver.sandbox import arrivals, tags
from backupng.engine.mailserver.sandbox.series import MailboxSeries
from backupng.engine.model import ItemKind, to_ms
from tests.cast import ALICE, DAVE, Office, message
from tests.engine.restore.migrating import mount, mounted_in
from tests.engine.restore.test_dry_run import foretold_and_run, item_restore, undelete
from tests.engine.restore.test_undelete import TODAY


def series(mail: Office) -> MailboxSeries:
    return MailboxSeries(mail.sandbox, mail.sandbox.account(ALICE), lambda: to_ms(mail.now))


def let_go(mail: Office, *items: int) -> None:
    mail.scan()
    mail.later(minutes=1)
    for item in items:
        mail.client.delete(ALICE, item)
    mail.scan()
    mail.later(minutes=1)


@pytest.mark.parametrize("original", [True, False])
@pytest.mark.parametrize("names", [("/Projekt", "/projekt"), ("/Cafe", "/Café")])
def test_folders_of_one_name_but_for_case_or_accents_come_as_one(
    mail: Office, names: tuple[str, str], *, original: bool
) -> None:
    for name in names:
        folders = [mail.client.create_folder(ALICE, name + deep) for deep in ("", "/Deep")]
        item = mail.client.deliver(ALICE, message(f"in {name}"), folder=f"{name}/Deep")
        let_go(mail, item, *reversed(folders))

    foretold, done = foretold_and_run(mail, undelete(target_original_folder=original))

    assert foretold == done
    assert (done["restored"], done["skipped"], done["folders"]) == (4, 0, 2)


def test_a_folder_that_an_undelete_brought_is_the_one_of_its_name_but_for_case(
    mail: Office,
) -> None:
    top = mail.client.create_folder(ALICE, f"/{TODAY}")
    inner = mail.client.create_folder(ALICE, f"/{TODAY}/projekt")
    let_go(mail, mail.client.create_folder(ALICE, "/Projekt"), inner, top)

    report = mail.run(undelete())

    assert report.counters["restored"] == 1
    assert not any("the path of another" in note for note in report.notes)


def test_tags_of_one_name_but_for_case_are_one_and_no_item_differs_by_that(mail: Office) -> None:
    for name in ("Red", "red"):
        item = mail.client.deliver(ALICE, message(f"in {name}"), folder="/Inbox")
        mail.client.tag(ALICE, item, name)
        let_go(mail, item)
        with series(mail).change() as change:
            tags.delete_tag(change, change.tag_id(name))
        let_go(mail)

    foretold, done = foretold_and_run(mail, undelete())

    assert foretold == done
    assert (done["restored"], done["skipped"], done["unrestored"]) == (3, 1, 0)
    assert {tuple(each["tags"]) for each in mail.client.list(ALICE)["items"]} >= {("Red",)}


@pytest.mark.parametrize("original", [True, False])
@pytest.mark.parametrize("kind", [ItemKind.SEARCH, ItemKind.MOUNTPOINT])
def test_searches_and_mountpoints_of_one_name_come_beside_each_other_and_only_once(
    mail: Office, kind: ItemKind, *, original: bool
) -> None:
    for word in ("alpha", "beta"):
        let_go(mail, search(mail, word) if kind is ItemKind.SEARCH else mountpoint(mail, word))

    foretold, done = foretold_and_run(mail, undelete(target_original_folder=original))
    again = [
        foretold_and_run(mail, undelete(target_original_folder=words))
        for words in (original, False)
    ]

    assert foretold == done
    assert (done["restored"], done["unrestored"]) == (2, 0)
    found = [each for each in mail.client.list(ALICE)["items"] if each["type"] == kind]
    assert sorted(each["name"] for each in found) == ["Theirs", "Theirs (2)"]
    for dry, wet in again:
        assert dry == wet
        assert (wet["restored"], wet["skipped"]) == (0, 2)


def test_a_folder_comes_beside_what_has_its_name_now_with_all_that_was_in_it(
    mail: Office,
) -> None:
    folder = mail.client.create_folder(ALICE, "/Theirs")
    items = [mail.client.deliver(ALICE, message("in it"), folder="/Theirs") for _ in range(2)]
    let_go(mail, items.pop(), folder)
    search(mail, "in:inbox")
    for item in (folder, *items):
        foretold, done = foretold_and_run(mail, item_restore(item))
        again, _ = foretold_and_run(mail, item_restore(item))

        assert foretold == done
        assert (done["restored"], again["restored"]) == (1, 0)
    everything, _ = foretold_and_run(mail, undelete(target_original_folder=True))

    assert (everything["restored"], everything["skipped"]) == (1, 2)
    places = [i["folder"] for i in mail.client.list(ALICE)["items"] if i["subject"] == "in it"]
    assert places == ["/Theirs (2)"] * 2


def search(mail: Office, query: str) -> int:
    with series(mail).change() as change:
        return arrivals.make_search(change, "Theirs", query)


def mountpoint(mail: Office, folder: str) -> int:
    mail.client.create_folder(DAVE, f"/{folder}")
    mount(mail, ALICE, DAVE, f"/{folder}")
    return mounted_in(mail, ALICE)[0].item_id
