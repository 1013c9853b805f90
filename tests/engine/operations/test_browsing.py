"""What the history page asks: a mailbox at a moment, and what became of its items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from backupng.engine.model import AccountId, EntryKind, ItemId, ItemKind
from backupng.engine.operations import browsing
from backupng.engine.operations.browsing import Inside, ItemLine, Sought, View
from backupng.engine.restore.select import ALL_TIME, end_of_second
from tests.cast import ALICE, NOON, Office, message, office

INBOX, TRASH = ItemId(2), ItemId(3)


@dataclass(frozen=True)
class Played:
    """A mailbox with a history of three hours; items by what happens to them."""

    mail: Office
    account: AccountId
    projects: ItemId
    kept: int
    moved: int
    deleted: int
    scanned: list[datetime]
    """When each of the three scans had ended."""

    def view(self, at: datetime | None, folder: ItemId = INBOX, *, gone: bool = False) -> View:
        """Return a folder at a moment; None is now."""
        before = browsing.ms_before(end_of_second(at) if at else ALL_TIME)
        inside = Inside(folder=folder, before=before, gone=gone)
        browsing.read_up(self.mail, self.account, seconds=60)
        return browsing.view(self.mail, self.account, inside, first=0, limit=50)

    def found(self, **wish: object) -> list[ItemLine]:
        """Search."""
        return browsing.found(self.mail, self.account, Sought(**wish), first=0, limit=9)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("played")
    with office(folder) as mail:
        mail.catalog_file = folder / "catalog" / "mail.sqlite3"
        scanned = []
        projects = mail.client.create_folder(ALICE, "/Projects")
        kept, moved, deleted = (
            mail.client.deliver(ALICE, message(subject), folder="/Inbox")
            for subject in ("Contract", "Report", "Lunch")
        )
        mail.scan()
        scanned.append(mail.now)
        mail.later(hours=1)
        mail.client.move(ALICE, moved, "/Trash")
        mail.client.delete(ALICE, deleted)
        mail.client.flag(ALICE, kept, ["+flagged"])
        mail.scan()
        scanned.append(mail.now)
        mail.later(hours=1)
        mail.client.delete(ALICE, projects)
        mail.scan()
        scanned.append(mail.now)
        entries = mail.source.entries(EntryKind.ACCOUNT)
        account = next(AccountId(each.entry_id) for each in entries if each.name == ALICE)
        yield Played(mail, account, projects, int(kept), int(moved), int(deleted), scanned)


def is_of_scan(played: Played, number: int, at: datetime | None) -> bool:
    """Say whether a moment lies in what a scan has found, and after the one before."""
    before = played.scanned[number - 1] if number else NOON - timedelta(hours=1)
    return at is not None and before < at <= played.scanned[number]


def titles(view: View) -> list[str]:
    return [line.title for line in view.items]


def test_a_folder_is_shown_as_it_was(played: Played) -> None:
    then, now = played.view(played.scanned[0]), played.view(None)

    assert sorted(titles(then)) == ["Contract", "Lunch", "Report"]
    assert (then.count, now.count) == (3, 1)
    assert titles(now) == ["Contract"]


def test_an_item_says_what_became_of_it_later(played: Played) -> None:
    lines = {line.item: line for line in played.view(played.scanned[0]).items}

    assert is_of_scan(played, 1, lines[ItemId(played.deleted)].deleted_at)
    assert not lines[ItemId(played.deleted)].is_gone
    assert lines[ItemId(played.kept)].deleted_at is None


def test_what_was_deleted_by_then_is_shown_if_it_is_asked_for(played: Played) -> None:
    view = played.view(None, gone=True)

    assert [line.title for line in view.items if line.is_gone] == ["Lunch"]
    assert view.count == len(view.items) == 2


def test_a_moved_item_says_where_it_came_from(played: Played) -> None:
    [line] = played.view(None, TRASH).items

    assert (line.title, line.moved_from) == ("Report", "/Inbox")
    assert is_of_scan(played, 1, line.moved_at)


def test_a_flag_is_no_move(played: Played) -> None:
    [line] = played.view(None).items

    assert (line.flags, line.moved_from, line.moved_at) == ("f", "", None)


def test_the_tree_counts_items_and_keeps_deleted_folders(played: Played) -> None:
    then = {line.path: line for line in played.view(played.scanned[0]).folders}
    now = {line.path: line for line in played.view(None).folders}

    assert (then["/Inbox"].items, then["/Trash"].items) == (3, 0)
    assert (now["/Inbox"].items, now["/Trash"].items) == (1, 1)
    assert then["/Projects"].deleted_at is None
    assert is_of_scan(played, 2, now["/Projects"].deleted_at)
    assert played.view(NOON - timedelta(hours=1)).folders == []


def test_an_empty_folder_says_when_something_was_in_it_last(played: Played) -> None:
    assert played.view(None, ItemId(5)).held is None
    assert played.view(played.scanned[0], TRASH).held is None
    assert played.view(None, played.projects).items == []


def test_the_changes_beside_a_moment_are_named(played: Played) -> None:
    view = played.view(played.scanned[1])

    assert is_of_scan(played, 1, view.earlier)
    assert is_of_scan(played, 2, view.later)
    assert view.earlier
    before = played.view(view.earlier).earlier
    assert before
    assert before < view.earlier
    assert is_of_scan(played, 2, played.view(None).earlier)


def test_a_search_finds_what_was_there_at_any_time(played: Played) -> None:
    [lunch] = played.found(text="LUNCH")

    assert (lunch.item, lunch.path, lunch.is_gone) == (played.deleted, "/Inbox", True)
    assert [line.item for line in played.found(item=ItemId(played.kept))] == [played.kept]
    assert played.found(text="contract", fields=("sender",)) == []
    assert played.found(text="report", folder=TRASH)[0].path == "/Trash"
    assert played.found(kinds=(ItemKind.CONTACT,)) == []
    assert len(played.found(since=0, until=1)) == 0


def test_days_count_their_changes_and_deletions(played: Played) -> None:
    limits = [*played.scanned, played.mail.now + timedelta(hours=1)]

    found = browsing.changes(played.mail, played.account, limits)

    assert [gone for _, gone in found] == [1, 1, 0]


def test_a_catalog_that_is_behind_is_read_in_pieces_and_says_how_far(played: Played) -> None:
    assert played.mail.catalog_file
    played.mail.catalog_file.unlink()

    known = browsing.read_up(played.mail, played.account, seconds=0)

    assert known is not None
    assert 0 < known.items <= known.total
    assert browsing.read_up(played.mail, played.account, seconds=60) is None
    assert sorted(titles(played.view(played.scanned[0]))) == ["Contract", "Lunch", "Report"]


def test_an_item_in_time_has_all_its_states_and_its_file(played: Played) -> None:
    found = browsing.item_in_time(played.mail, played.account, ItemId(played.moved))

    assert [state["folder"] for state in found.states] == ["/Inbox", "/Trash"]
    assert found.file.endswith(f"/items/{played.moved % 100:02}/{played.moved}")
    assert found.problem == ""


def test_ticked_items_are_shown_as_they_were_before_they_went(played: Played) -> None:
    items = [ItemId(played.deleted), ItemId(played.moved), ItemId(10**6)]

    found = browsing.items_at(played.mail, played.account, items, ALL_TIME)

    assert [(line.title, line.path) for line in found] == [
        ("Lunch", "/Inbox"),
        ("Report", "/Trash"),
    ]
