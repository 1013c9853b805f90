"""The wizards of restores in a real browser, with and without JavaScript."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.browser.conftest import ADDRESS, ADMINISTRATOR, Console
from tests.commandline import comparable
from tests.processes import until

pytestmark = pytest.mark.services

SOURCES = {True: "a1@example.com", False: "a3@example.com"}
"""Whose mailbox is restored with JavaScript, and whose without it."""
ZONE = ZoneInfo("Europe/Rome")
PATIENCE_MS = 100_000
_RELOAD_EVERY_MS = 1000


class Reader:
    """An administrator in front of one page; whatever the browser complains of is kept."""

    def __init__(self, page: Page, console: Console, *, script: bool) -> None:
        self.page = page
        self.console = console
        self.script = script
        self.source = SOURCES[script]
        self.copy = self.source.replace("@", "-then@")
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", self._failed)

    def _failed(self, request: Request) -> None:
        # A page that is left while it loads has asked for more than it gets.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.url}: {request.failure}")

    def open(self, path: str) -> None:
        self.page.goto(self.console.address + path)

    def click(self, name: str) -> None:
        """Click the link or button of that name."""
        either = self.page.get_by_role("button", name=name, exact=True).or_(
            self.page.get_by_role("link", name=name, exact=True)
        )
        either.first.click()

    def wait_for(self, text: str) -> None:
        """Wait for a text; with JavaScript the page changes by itself, without it is reloaded."""
        give_up = time.monotonic() + PATIENCE_MS / 1000
        shown = self.page.get_by_text(text)
        while not self.script and not shown.count() and time.monotonic() < give_up:
            self.page.wait_for_timeout(_RELOAD_EVERY_MS)
            self.page.reload()
        expect(shown.first).to_be_visible(timeout=PATIENCE_MS)


@pytest.fixture(
    params=(
        pytest.param(True, id="with JavaScript"),
        # What the forms do without it, the tests of the wizards prove by Django's client.
        pytest.param(False, id="without JavaScript", marks=pytest.mark.proofs),
    )
)
def reader(request: pytest.FixtureRequest, browser: Browser, console: Console) -> Iterator[Reader]:
    context = browser.new_context(
        java_script_enabled=request.param, reduced_motion="reduce", timezone_id="America/Lima"
    )
    yield Reader(context.new_page(), console, script=request.param)
    context.close()


def log_in(reader: Reader) -> None:
    reader.open("/")
    reader.page.get_by_label("User name").fill(ADMINISTRATOR)
    reader.page.get_by_label("Password").fill(reader.console.password)
    reader.click("Log in")
    expect(reader.page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def run_smartscan(reader: Reader) -> None:
    reader.open("/servers/mail1/")
    reader.click("Run SmartScan")
    reader.click("Run SmartScan")
    reader.wait_for("Successful")


def next_second() -> datetime:
    """Return the present second once it is over: what changes from now on is not in it."""
    second = datetime.now(ZONE).replace(microsecond=0)
    while datetime.now(ZONE) < second + timedelta(seconds=1):
        time.sleep(0.01)
    return second


def begin_restore(reader: Reader) -> None:
    """Press Restore in the wheel of the source."""
    reader.open("/accounts/?q=" + reader.source)
    reader.page.get_by_role("link", name=reader.source).first.click()
    reader.page.get_by_label(f"Actions for {reader.source}").first.click()
    reader.click("Restore")


def restore(reader: Reader, moment: datetime) -> None:
    """Walk through the wizard as the manual orders its steps."""
    begin_restore(reader)
    reader.page.get_by_label("Restore on New Account").check()
    reader.page.get_by_label("Destination account").fill(reader.copy.partition("@")[0])
    reader.page.get_by_label("Hide in GAL").check()
    reader.click("Next")
    reader.page.get_by_label("Day").fill(f"{moment:%d/%m/%Y}")
    reader.page.get_by_label("Hour").select_option(f"{moment:%H}")
    reader.page.get_by_label("Minute").fill(f"{moment:%M}")
    reader.page.get_by_label("Second").fill(f"{moment:%S}")
    reader.click("Next")
    expect(reader.page.get_by_role("heading", name="Operation Summary").first).to_be_visible()
    expect(reader.page.get_by_text(f"{moment:%d/%m/%Y %H:%M:%S} Europe/Rome").first).to_be_visible()
    reader.page.get_by_label("Notify also").fill("a2@example.com")
    reader.click("Finish")
    reader.wait_for("Successful")


def listing(console: Console, account: str) -> dict[str, object]:
    return console.cli.json("sandbox", "list", "mail1", account)


def subjects(console: Console, account: str) -> list[str]:
    return [str(item["subject"]) for item in listing(console, account)["items"]]  # type: ignore[attr-defined]


def wait_for_mail(console: Console, account: str, subject: str) -> None:
    """Return once a mail with that subject is in the mailbox."""
    until(
        lambda: subject in subjects(console, account),
        lambda: f"no mail {subject!r}: {subjects(console, account)}",
    )


def test_a_restore_from_the_login_to_the_mail(reader: Reader) -> None:
    cli = reader.console.cli
    log_in(reader)
    run_smartscan(reader)
    then, moment = listing(reader.console, reader.source), next_second()
    cli.json("sandbox", "emptyFolder", "mail1", reader.source, "/Inbox")
    run_smartscan(reader)
    assert len(listing(reader.console, reader.source)["items"]) < len(then["items"])  # type: ignore[arg-type]

    restore(reader, moment)

    assert comparable(listing(reader.console, reader.copy)) == comparable(then)
    told = f"Restore on New Account {reader.source} → {reader.copy} – "
    for recipient in (ADDRESS, "a2@example.com"):
        for event in ("started", "completed"):
            wait_for_mail(reader.console, recipient, f"[Backup NG] mail1: {told}{event}")
    reader.open("/notifications/")
    reader.page.get_by_role("link", name=f"{told}completed").first.click()
    expect(reader.page.get_by_text("- stats -")).to_be_visible()
    assert reader.complaints == []


@pytest.mark.proofs
def test_an_undelete_from_the_wheel(reader: Reader, tmp_path: Path) -> None:
    cli, subject = reader.console.cli, f"Deleted by mistake, {reader.script}"
    letter = tmp_path / "letter.eml"
    letter.write_text(f"Subject: {subject}\r\n\r\nHello\r\n")
    item = cli.json("sandbox", "deliver", "mail1", reader.source, letter)["id"]
    cli.json("doSmartScan", "--sync")
    cli.json("sandbox", "delete", "mail1", reader.source, item)
    cli.json("doSmartScan", "--sync")

    log_in(reader)
    begin_restore(reader)
    reader.page.get_by_label("Undelete").check()
    reader.click("Next")
    expect(reader.page.get_by_text("in this period")).to_be_visible()
    today = reader.page.locator("#start-minical button[aria-current=date]")
    today.click()
    expect(reader.page.locator("#id_start-day")).to_have_value(f"{datetime.now(ZONE):%d/%m/%Y}")
    reader.click("Next")
    expect(reader.page.get_by_text("Deleted until")).to_be_visible()
    reader.click("Finish")
    reader.wait_for("Successful")

    items = listing(reader.console, reader.source)["items"]
    folders = [each["folder"] for each in items if each["subject"] == subject]  # type: ignore[attr-defined]
    assert [folder.startswith("/undelete_") for folder in folders] == [True]
    assert reader.complaints == []


@pytest.mark.proofs
def test_a_deleted_account_comes_back_by_its_date(reader: Reader) -> None:
    cli, name = reader.console.cli, f"left-{reader.script}".lower() + "@example.com"
    cli.json("sandbox", "createAccount", "mail1", name)
    cli.json("doSmartScan", "--sync")
    before = listing(reader.console, name)
    cli.json("sandbox", "deleteAccount", "mail1", name)
    cli.json("doSmartScan", "--sync")

    log_in(reader)
    reader.open("/servers/mail1/")
    reader.click("Restore Deleted Account")
    reader.page.get_by_text("I do not know when").click()
    reader.click(name)
    reader.click("Next")
    reader.page.get_by_label("Search").fill(name)
    reader.click("Filter")
    reader.page.get_by_label(name).check()
    reader.click("Next")
    reader.page.get_by_label("Destination account").fill(name)
    reader.page.get_by_label("Obey HSM Policy").check()
    reader.click("Next")
    expect(reader.page.get_by_role("heading", name="Operation Summary").first).to_be_visible()
    reader.click("Finish")
    reader.wait_for("Successful")

    assert comparable(listing(reader.console, name)) == comparable(before)
    assert reader.complaints == []
