"""History, Export Backup and Import Backup in a real browser, with and without JavaScript."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Console
from tests.browser.test_first_wizard import Reader, log_in, reader
from tests.commandline import comparable

__all__ = ["reader"]
pytestmark = [pytest.mark.services, pytest.mark.proofs]

CHOSEN = "a2@example.com"
OTHERS = {True: "mail2", False: "mail3"}
"""The empty server that is imported into with JavaScript, and the one without it."""


def other_server(console: Console, name: str) -> None:
    """Make an empty server, and have both scanned."""
    console.cli.json(
        *("sandbox", "createServer", name, "domain", f"{name}.example", "accounts", 0, "items", 0)
    )
    for server in ("mail1", name):
        console.cli.json("--sync", "--host", server, "backup", "doSmartScan")


def listing(console: Console, server: str, account: str) -> list[tuple[str, ...]]:
    return comparable(console.cli.json("sandbox", "list", server, account))


def restore_two_items(reader: Reader) -> None:
    """Tick two items of the Inbox, and have them put into another folder."""
    reader.open("/accounts/?q=" + CHOSEN)
    reader.page.get_by_role("link", name=CHOSEN).first.click()
    reader.page.get_by_label(f"Actions for {CHOSEN}").first.click()
    reader.click("Browse history")
    reader.click("Earlier change")
    reader.click("Last")
    boxes = reader.page.locator("input[name=item]")
    for number in (0, 1):
        boxes.nth(number).check()
    reader.click("Restore items…")
    reader.page.get_by_label("A folder", exact=True).check()
    reader.page.get_by_label("Folder", exact=True).fill(f"/Restored {reader.script}")
    reader.click("Next")
    expect(reader.page.get_by_role("heading", name="Operation Summary").first).to_be_visible()
    reader.click("Finish")
    reader.wait_for("Successful")


def export(reader: Reader, folder: Path) -> None:
    """Walk through Export Backup as the manual orders its steps."""
    reader.open("/servers/mail1/")
    reader.click("Export Backup")
    reader.page.get_by_label("Destination Path").fill(str(folder))
    reader.click("Next")
    reader.page.get_by_label("example.com").check()
    reader.click("Next")
    reader.click("Finish")
    reader.wait_for("Successful")


def bring_in(reader: Reader, server: str, folder: Path) -> None:
    """Walk through Import Backup as the manual orders its steps."""
    reader.open(f"/servers/{server}/")
    reader.click("Import Backup")
    reader.page.get_by_label("Path of the backup").fill(str(folder))
    reader.click("Forward")
    reader.click("Forward")
    reader.page.get_by_label("Search by address or id").fill("a3@")
    reader.click("Search")
    reader.click("Select none")
    expect(reader.page.get_by_text("3 of 4 accounts are ticked.")).to_be_visible()
    reader.click("Forward")
    reader.page.get_by_label("Skip aliases").check()
    reader.click("Count again")
    expect(reader.page.get_by_text("skip_aliases true")).to_be_visible()
    reader.click("Finish")
    reader.wait_for("Successful")


def test_items_and_servers_move(reader: Reader) -> None:
    console, other = reader.console, OTHERS[reader.script]
    folder = console.cli.data / "backup" / f"export-{other}"
    folder.mkdir()
    other_server(console, other)
    log_in(reader)

    restore_two_items(reader)
    restored = console.cli.json("sandbox", "list", "mail1", CHOSEN)["items"]
    assert sum(item["folder"] == f"/Restored {reader.script}" for item in restored) == 2

    export(reader, folder)
    bring_in(reader, other, folder)
    assert listing(console, other, CHOSEN) == listing(console, "mail1", CHOSEN)
    # What a page that refuses is answered with is no complaint of the browser's.
    assert [said for said in reader.complaints if "422" not in said] == []
