"""Restore Deleted Account: date first, then the accounts as of that date, then the name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from django.contrib.auth.models import User
from django.urls import reverse

from console import connect, queue, roles
from console.forms import deleted
from console.models import Draft, Notification, QueuedOperation, Server
from tests.console.conftest import SCANNED
from tests.console.prototypes import Grow, Prototype, smart_scan
from tests.console.restoring import NOW, SOURCE, Page, Visitor, a_user

A1, A2 = "a1@example.com", "a2@example.com"
GONE = datetime(2026, 9, 28, 10, 15, 10, 400_000, tzinfo=UTC)
GONE_AGAIN = GONE + timedelta(days=30)
DESTINATION = {"destination_account": "again", "hide_in_gal": "on"}


def when(moment: datetime) -> dict[str, str]:
    """Return the fields of the date step for a moment."""
    return {
        "day": f"{moment:%d/%m/%Y}",
        "hour": f"{moment:%H}",
        "minute": f"{moment:%M}",
        "second": f"{moment:%S}",
    }


def scan(moment: datetime, *, deleted: str = "", made: str = "") -> str:
    """Let accounts go or come at a moment, and a SmartScan see it; returns the id of a new one."""
    with time_machine.travel(moment, tick=False):
        with connect.sandbox("mail1") as client:
            if deleted:
                client.delete_account(deleted)
            new = client.create_account(made) if made else ""
        smart_scan(Server.objects.get())
    return new


class Keeper(Visitor):
    """A user at the wizard of a server."""

    def __init__(self, user: User) -> None:
        super().__init__(user)
        self.door = reverse("wizard-begin", args=["mail1", "deleted"])

    def walk(self, moment: datetime = NOW, account: str = SOURCE, **words: str) -> Keeper:
        """Begin a run and fill in all steps."""
        self.begin()
        assert self.send("date", **when(moment)).status_code == 303
        answer = self.send("account", account_id=account)
        assert answer.status_code == 303, answer.content.decode()
        answer = self.send("destination", **(DESTINATION | words))
        assert answer.status_code == 303, answer.content.decode()
        return self


@pytest.fixture(scope="module")
def deserted(scanned_prototype: Prototype, grow: Grow) -> Prototype:
    """Return a sandbox from which a1@example.com was deleted at GONE, and its row."""
    return grow(scanned_prototype, "deserted", lambda _: scan(GONE, deleted=A1))


@pytest.fixture
def server_here(deserted: Prototype, data: Path, db: None) -> Server:
    """Return a copy of it, with a row of its own."""
    return deserted.copied(data)


@pytest.fixture
def anna(server_here: Server) -> Iterator[Keeper]:
    """Return an operator of that server."""
    with time_machine.travel(NOW, tick=False):
        yield Keeper(a_user())


def test_the_steps_are_those_of_the_manual(anna: Keeper) -> None:
    assert anna.begin()["Location"] == anna.url("date")
    date = Page(anna.see("date"))
    assert "1 Date 2 Account 3 Destination 4 Operation Summary" in date.text
    assert "Restore Deleted Account on mail1" in date.text
    assert "Cancel Next" in date.text
    assert anna.send("date", **when(NOW))["Location"] == anna.url("account")
    assert "Cancel Previous Next" in Page(anna.see("account")).text
    assert anna.send("account", account_id=SOURCE)["Location"] == anna.url("destination")
    destination = Page(anna.see("destination")).text
    for words in (
        "Destination account name",
        "Hide in GAL",
        "Obey HSM Policy",
        "one in example.com.",
    ):
        assert words in destination
    assert anna.send("destination", **DESTINATION)["Location"] == anna.url("summary")
    assert "Cancel Previous Finish" in Page(anna.see("summary")).text


def test_the_summary_says_every_choice_in_words(anna: Keeper) -> None:
    text = Page(anna.walk(apply_hsm="on").see("summary")).text
    for words in (
        "As of 25/11/2026 20:00:00 UTC",
        f"Source a1@example.com, deleted 28/09/2026 10:15:10 UTC ({SOURCE})",
        "Destination again@example.com (will be made)",
        "Hide in GAL Yes",
        "Obey HSM Policy Yes",
        "Server mail1",
        "Shares are not carried over",
        f"doRestoreOnNewAccount {SOURCE} again@example.com '25/11/2026 20:00:00'",
        "apply_hsm true",
    ):
        assert words in text
    assert "The source account stays unchanged." not in text


def test_finish_restores_the_account_by_its_id(anna: Keeper, server_here: Server) -> None:
    text = Page(anna.walk(destination_account="a1").see("summary")).text
    anna.finish()
    row = QueuedOperation.objects.get()
    assert "The backup knows a deleted account" not in text
    assert row.parameters == {
        "source_account": SOURCE,
        "destination_account": A1,
        "date": "25/11/2026 20:00:00",
        "hide_in_gal": "true",
    }
    queue.drain(server_here)
    row.refresh_from_db()
    with connect.sandbox("mail1") as sandbox:
        assert sandbox.list(A1)["account"]["id"] != SOURCE
    assert row.state == "successful"


def test_pages_and_mails_say_the_name_of_the_account_beside_its_id(
    anna: Keeper, server_here: Server
) -> None:
    anna.walk(destination_account="a1").finish()
    row, source = QueuedOperation.objects.get(), f"{A1} (id {SOURCE})"

    waiting = Page(anna.client.get(reverse("operations"))).text
    queue.drain(server_here)
    page = Page(anna.client.get(reverse("operation", args=[row.pk]))).text

    assert f"{source} → {A1}" in waiting
    assert f"{source} → {A1}" in page
    assert f"source_account {SOURCE}" in page
    assert {each.subject for each in Notification.objects.all()} == {
        f"[Backup NG] mail1: Restore on New Account {source} → {A1} – {event}"
        for event in ("started", "completed")
    }


# The date


def test_a_date_before_any_deleted_account_was_known_names_the_nearest_later_deletion(
    anna: Keeper,
) -> None:
    anna.begin()
    answer = anna.send("date", **when(SCANNED - timedelta(seconds=1)))
    page = Page(answer)
    assert answer.status_code == 422
    assert "No account had been deleted by that date." in page.text
    assert "that of a1@example.com at 28/09/2026 10:15:10 UTC." in page.text
    [link, _] = [each for each in page.links if "second=09" in each]
    taken = Page(anna.client.get(link))
    assert {each["name"]: each.get("value") for each in taken.inputs}["minute"] == "15"


def test_who_does_not_know_when_takes_the_second_before_from_a_list(anna: Keeper) -> None:
    anna.begin()
    page = Page(anna.see("date"))
    assert "I do not know when" in page.text
    [link] = [each for each in page.links if "second=09" in each]
    values = {each["name"]: each.get("value") for each in Page(anna.client.get(link)).inputs}
    assert (values["day"], values["minute"], values["second"]) == ("28/09/2026", "15", "09")
    assert "date" not in anna.row.words


def test_the_calendar_shows_the_days_of_deletions(anna: Keeper) -> None:
    anna.begin()
    query = {"field": "minical", "month": "2026-09"}
    part = anna.client.get(anna.url("date", "check"), query).content.decode()
    assert 'id="day-2026-09-28" class="changed"' in part
    Server.objects.update(zone="Pacific/Kiritimati")
    part = anna.client.get(anna.url("date", "check"), query).content.decode()
    assert 'id="day-2026-09-29" class="changed"' in part


def test_without_any_deleted_account_no_date_will_do(scanned: Server) -> None:
    keeper = Keeper(a_user())
    keeper.begin()
    answer = keeper.send("date", **when(SCANNED + timedelta(days=1)))
    assert answer.status_code == 422
    assert "No deleted account is in the backup." in Page(answer).text


# The list


def test_the_list_shows_what_was_deleted_by_the_date(anna: Keeper) -> None:
    anna.begin()
    anna.send("date", **when(GONE))
    text = Page(anna.see("account")).text
    assert A1 in text
    assert "28/09/2026" in text
    assert SOURCE in text
    assert "as it was when it was deleted" in text
    assert "No account had been deleted by that date" not in text
    assert A2 not in text


def test_an_account_that_was_still_there_comes_back_as_it_was_then(anna: Keeper) -> None:
    anna.begin()
    anna.send("date", **when(GONE - timedelta(seconds=1)))
    text = Page(anna.see("account")).text
    assert "No account had been deleted by that date." in text
    assert "The nearest later deletion is that of a1@example.com" in text
    assert "as it was at the chosen date" in text


def test_two_accounts_of_one_name_are_told_apart(
    anna: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = scan(GONE + timedelta(days=1), made=A1)
    scan(GONE_AGAIN, deleted=A1)
    anna.begin()
    date = anna.see("date").context["form"]
    assert [line.account_id for line, _ in date.shortcuts] == [other, SOURCE]
    assert "day=28%2F09%2F2026" in date.when.suggested_as_query
    early = Page(anna.send("date", **when(SCANNED - timedelta(seconds=1))))
    assert "that of a1@example.com at 28/09/2026 10:15:10 UTC." in early.text
    anna.send("date", **when(GONE + timedelta(days=2)))
    rows = anna.see("account").context["form"].rows
    assert {row.line.account_id: row.was_deleted for row in rows} == {SOURCE: True, other: False}
    anna.send("date", **when(NOW))
    page = Page(anna.see("account"))
    offered = {each["value"] for each in page.inputs if each["name"] == "account_id"}
    assert offered == {SOURCE, other}
    assert "28/09/2026 10:15:10" in page.text
    assert "28/10/2026 10:15:10" in page.text
    monkeypatch.setattr(deleted, "_PAGE_ROWS", 1)
    pages = [anna.see("account", page=number).context["form"].rows for number in "12"]
    assert {row.line.account_id for rows in pages for row in rows} == {SOURCE, other}
    anna.send("account", account_id=other)
    anna.send("destination", **DESTINATION)
    anna.finish()
    assert QueuedOperation.objects.get().parameters["source_account"] == other


def test_the_list_of_an_early_date_leaves_out_what_came_later(anna: Keeper) -> None:
    other = scan(GONE + timedelta(days=1), made="new@example.com")
    scan(GONE_AGAIN, deleted="new@example.com")
    anna.begin()
    anna.send("date", **when(GONE))
    assert other not in Page(anna.see("account")).text
    answer = anna.send("account", account_id=other)
    assert answer.status_code == 422
    assert "That account is not in the list as of this date." in Page(answer).text


def test_an_earlier_date_takes_back_the_choice_of_a_later_account(anna: Keeper) -> None:
    other = scan(GONE + timedelta(days=1), made="new@example.com")
    scan(GONE_AGAIN, deleted="new@example.com")
    anna.walk(account=other)
    anna.send("date", **when(GONE))
    assert anna.see("summary")["Location"] == anna.url("account")


@pytest.mark.parametrize("sought", ["A1@", SOURCE])
def test_the_list_is_searched_by_address_and_id(anna: Keeper, sought: str) -> None:
    anna.begin()
    anna.send("date", **when(NOW))
    assert SOURCE in Page(anna.see("account", q=sought)).text
    assert "No account of the list fits “nobody”." in Page(anna.see("account", q="nobody")).text
    part = anna.client.get(anna.url("account", "check"), {"field": "accounts", "q": sought})
    assert SOURCE in Page(part).text
    assert "Choose the account" not in Page(part).text  # nothing was sent
    assert "<html" not in part.content.decode()


def test_without_a_choice_the_list_is_shown_again(anna: Keeper) -> None:
    anna.begin()
    anna.send("date", **when(NOW))
    answer = anna.send("account")
    page = Page(answer)
    assert answer.status_code == 422
    assert page.text.count("Choose the account to restore.") == 2
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert page.described <= set(page.ids)


# Where it is begun


def test_it_is_begun_on_the_tab_of_the_server(anna: Keeper) -> None:
    tab = anna.client.get(reverse("server", args=["mail1"])).content.decode()
    offered = anna.client.get(reverse("wizard-begin", args=["mail1", "deleted"]))
    assert f'action="{reverse("wizard-begin", args=["mail1", "deleted"])}"' in tab
    assert "Restore Deleted Account on mail1" in Page(offered).text
    assert not Draft.objects.exists()


def test_begun_at_a_deleted_account_that_one_is_chosen_already(anna: Keeper) -> None:
    anna.begin(account_id=SOURCE)
    shown = {each["name"]: each.get("value") for each in Page(anna.see("date")).inputs}
    assert (shown["day"], shown["second"]) == ("28/09/2026", "09")
    anna.send("date", **when(NOW))
    searched = anna.see("account", account_id=SOURCE, q="somebody else")
    without_script = anna.see("account", q="somebody else")
    for answer in (anna.see("account"), searched, without_script):
        [radio] = [each for each in Page(answer).inputs if each["name"] == "account_id"]
        assert "checked" in radio


def test_cancel_leads_back_to_the_server(anna: Keeper) -> None:
    answer = anna.walk().send("destination", cancel="1")
    assert answer["Location"] == reverse("server", args=["mail1"])
    assert not Draft.objects.exists()


def test_an_expired_run_offers_to_begin_anew_on_the_server(anna: Keeper) -> None:
    anna.walk()
    Draft.objects.update(created_at=NOW - timedelta(hours=25))
    answer = anna.see("summary")
    assert answer.status_code == 410
    assert reverse("wizard-begin", args=["mail1", "deleted"]) in answer.content.decode()


def test_nothing_can_be_begun_before_a_smartscan_has_ended(server: Server) -> None:
    keeper = Keeper(a_user())
    address = reverse("wizard-begin", args=["mail1", "deleted"])
    assert keeper.client.post(address).status_code == 422
    tab = Page(keeper.client.get(reverse("server", args=["mail1"]))).text
    assert "Restore Deleted Account: No SmartScan has ended yet: nothing is in the backup." in tab
    assert not Draft.objects.exists()


def test_the_buttons_stand_in_the_order_of_the_manual(scanned: Server) -> None:
    boss = Keeper(a_user("boss", roles.ADMINISTRATOR))
    text = Page(boss.client.get(reverse("server", args=["mail1"]))).text
    order = (
        *("Run SmartScan", "Run Purge", "Restore Deleted Account"),
        *("Import/Export", "Export Backup", "Import Backup", "Stop all Operations"),
    )
    places = [text.index(title) for title in order]
    assert places == sorted(places)


def test_a_wizard_that_does_not_exist_is_not_found(anna: Keeper) -> None:
    for kind in ("restore", "other"):
        assert anna.client.post(f"/servers/mail1/wizards/{kind}/").status_code == 404


def test_who_may_not_restore_begins_and_sees_nothing(scanned: Server) -> None:
    viewer = Keeper(a_user("eve", roles.VIEWER))
    address = reverse("wizard-begin", args=["mail1", "deleted"])
    assert viewer.client.post(address).status_code == 403
    assert address not in viewer.client.get(reverse("server", args=["mail1"])).content.decode()


def test_a_page_is_well_made(anna: Keeper) -> None:
    anna.walk()
    for part in ("date", "account", "destination", "summary"):
        Page(anna.see(part)).require_well_made(part)
