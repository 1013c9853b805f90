"""The wizard Export Backup: the manual's steps, every message about a folder, one operation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from backupng.engine.backuppath import unfinished
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import BACKUP_DISABLED
from console import again, connect, queue
from console.models import AuditEntry, Draft, QueuedOperation, Server, State
from tests.console.restoring import Page, a_user
from tests.console.transferring import Mover, message

DOMAIN = "example.com"

REFUSED = [
    ("", "Type the folder that the export is to be written into."),
    ("export", "not an absolute path"),
    ("/mnt/../etc", "not a path without `..`"),
    ("/etc/backupng", "is not allowed"),
    ("/opt/elsewhere", "is not allowed"),
    ("{backup}/gone", "does not exist. Make it: mkdir -p"),
    ("{backup}/file", "is not a folder"),
    ("{backup}/link", "is a link"),
    ("{backup}/full", "is not empty: it holds 'a', 'b', 'c' and 1 more"),
    ("{backup}/mail1", "is the active Backup Path"),
    ("{backup}/mail1/accounts", "lies inside a Backup Path"),
    ("{backup}", "contains the active Backup Path"),
    ("a\0b", "Null characters are not allowed."),
    ("/mnt/\u202eevil", "with control characters"),
    ("/mnt/" + "x" * 300, "a name of more than 255 bytes"),
    ("/" + "y/" * 1000, "1100 characters"),
]


@pytest.fixture
def folder(data: Path, scanned: Server) -> Path:
    """Return an empty folder beside the Backup Path."""
    made = data / "backup" / "export"
    made.mkdir()
    return made


@pytest.fixture
def anna(folder: Path) -> Mover:
    """Return an administrator who has begun a run."""
    mover = Mover("export")
    mover.begin()
    return mover


def test_the_steps_are_those_of_the_manual(anna: Mover, folder: Path) -> None:
    path = Page(anna.see("path"))
    assert "Export Backup on mail1" in path.text
    assert "1 Destination Path 2 Domains 3 Operation Summary" in path.text
    assert "Cancel Next" in path.text
    assert anna.accept("path", {"destination_path": str(folder)}) == anna.url("domains")
    domains = Page(anna.see("domains"))
    assert "Cancel Previous Next" in domains.text
    assert f"{DOMAIN} 2 0" in domains.text
    assert anna.accept("domains", {"domains": [DOMAIN]}) == anna.url("summary")
    assert "Cancel Previous Finish" in Page(anna.see("summary")).text


def test_what_finish_starts_exports_the_server(anna: Mover, folder: Path, scanned: Server) -> None:
    boxes = dict.fromkeys(("permissions_fixed", "reindexed", "blobs_checked"), "on")
    anna.accept("path", {"destination_path": str(folder), **boxes})
    anna.accept("domains", {"domains": [DOMAIN]})
    text = Page(anna.see("summary")).text
    anna.finish(notifications="b@example.com")
    queue.drain(scanned)
    row = QueuedOperation.objects.get()
    assert "Before the export Permissions were fixed, All mailboxes were reindexed, Blobs" in text
    assert f"Domains all: {DOMAIN}" in text
    assert "The folder lies on the disk of the Backup Path" in text
    assert f"doExport {folder}" in text
    assert (row.state, row.parameters) == (
        State.SUCCESSFUL,
        {"destination_path": str(folder), "notifications": "b@example.com"},
    )
    assert (folder / "format").exists()
    assert AuditEntry.objects.get(action="doExport").subject == "mail1"


def test_a_folder_that_cannot_be_is_refused_in_one_sentence(anna: Mover, folder: Path) -> None:
    backup = folder.parent
    (backup / "file").touch()
    (backup / "link").symlink_to(folder)
    (backup / "full").mkdir()
    for name in "abcd":
        (backup / "full" / name).touch()
    texts = [
        (said, message(anna.send("path", destination_path=typed.format(backup=backup))))
        for typed, said in REFUSED
    ]
    assert [said for said, text in texts if said not in text] == []
    assert [said for said, text in texts if "Go on with" in text or "resume" in text] == []
    assert "path" not in anna.row.words


def test_an_export_that_was_cut_off_can_go_on(anna: Mover, folder: Path, scanned: Server) -> None:
    with BackupPath.open(scanned.path) as own:
        unfinished.begin(folder, own.form)
        complete = Page(anna.send("path", destination_path=str(folder)))
        unfinished.begin(folder, replace(own.form, incomplete="all"))
    refused = Page(anna.send("path", destination_path=str(folder)))
    anna.accept("path", {"destination_path": str(folder), "resume": "on"})
    anna.accept("domains", {"domains": [DOMAIN]})
    summary = Page(anna.see("summary"))
    assert "Go on with the export that was begun there" not in complete.text
    assert "Go on with the export that was begun there" in refused.text
    assert "Resume the export that was begun there goes on" in summary.text
    assert f"doExport {folder} resume true" in summary.text
    assert "Go on with the export that was begun there" in Page(anna.see("path")).text


def test_one_folder_can_be_checked_alone(anna: Mover, folder: Path) -> None:
    inputs = Page(anna.see("path")).inputs
    [check] = [each["hx-get"] for each in inputs if each["name"] == "destination_path"]
    part = anna.client.get(f"{check}&destination_path={folder}").content.decode()
    assert "The folder is empty and can be written;" in part
    assert "<html" not in part


def test_the_last_five_folders_are_a_click_away(anna: Mover, scanned: Server) -> None:
    other = Server.objects.create(name="mail2", kind="sandbox")
    rows = [(scanned, "doExport", f"/mnt/export {number}") for number in (*range(7), 6)]
    rows += [(scanned, "doPurge", "/mnt/no export"), (other, "doExport", "/mnt/elsewhere")]
    for seq, (server, command, path) in enumerate(rows):
        QueuedOperation.objects.create(
            server=server,
            seq=seq,
            command=command,
            parameters={"destination_path": path},
            state=State.SUCCESSFUL,
        )
    page = Page(anna.see("path"))
    [field] = [each for each in page.inputs if each["name"] == "destination_path"]
    links = [link for link in page.links if "destination_path=" in link]
    taken = Page(anna.client.get(links[0]))
    [filled] = [each for each in taken.inputs if each["name"] == "destination_path"]
    assert field.get("value") is None
    assert [link[-1] for link in links] == [*"65432"]
    assert "/mnt/export 6 not there" in page.text
    assert filled["value"] == "/mnt/export 6"


def test_at_least_one_domain_has_to_be_chosen(anna: Mover, folder: Path) -> None:
    anna.accept("path", {"destination_path": str(folder)})
    assert "Choose at least one domain." in message(anna.post("domains", {}))
    wrong = anna.post("domains", {"domains": ["elsewhere.org"]})
    assert "There is no domain elsewhere.org here any more." in message(wrong)


def test_all_domains_can_be_ticked_and_unticked(anna: Mover, folder: Path) -> None:
    anna.accept("path", {"destination_path": str(folder)})
    answers = [anna.post("domains", {"look": look}) for look in ("none", "all")]
    pages = map(Page, (anna.see("domains"), *answers))
    boxes = [each for page in pages for each in page.inputs if each["name"] == "domains"]
    assert ["checked" in each for each in boxes] == [True, False, True]


def test_accounts_without_backup_are_counted_as_left_out(anna: Mover, folder: Path) -> None:
    with connect.sandbox("mail1") as client:
        client.set_cos("a2@example.com", "scratch")
        client.set_cos_notes("scratch", BACKUP_DISABLED)
        client.deliver("a1@example.com", b"Subject: One\r\n\r\n", folder="/Inbox")
    anna.accept("path", {"destination_path": str(folder)})
    assert f"{DOMAIN} 1 1 16 B" in Page(anna.see("domains")).text
    anna.accept("domains", {"domains": [DOMAIN]})
    text = Page(anna.see("summary")).text
    assert "Left out 1 account: backup is off for its class of service" in text


def test_a_folder_filled_before_finish_is_an_error_of_its_step(anna: Mover, folder: Path) -> None:
    anna.accept("path", {"destination_path": str(folder)})
    anna.accept("domains", {"domains": [DOMAIN]})
    shown = anna.see("summary").context["summary"].digest
    (folder / "a").touch()
    answer = anna.client.get(anna.send("summary", shown=shown)["Location"])
    assert "is not empty: it holds 'a'" in Page(answer).text
    assert not QueuedOperation.objects.exists()


def test_an_export_asked_for_again_goes_on_with_the_words_it_had(
    anna: Mover, folder: Path, scanned: Server
) -> None:
    (folder / "format").touch()
    with Sandbox.open(folder.parents[1] / "servers" / "mail1") as sandbox, sandbox.locked():
        for number, domain in enumerate(("example.net", "example.org")):
            sandbox.add_domain(domain, f"c0ffee00-0000-4000-8000-00000000000{number}")
        sandbox.add_account("x@example.net", "c0ffee00-0000-4000-8000-000000000003")
    domains = f"{DOMAIN.upper()},example.org"
    texts = {"destination_path": str(folder), "domains": domains}
    row = QueuedOperation.objects.create(
        server=scanned, seq=1, command="doExport", parameters=texts, state=State.FAILED
    )
    anna.draft = again.begin_wizard(User.objects.get(), row).split("/")[2]
    text = Page(anna.see("summary")).text
    assert f"doExport {folder} domains {DOMAIN},example.org resume true" in text
    assert f"Domains {DOMAIN}, example.org" in text
    assert "Expected 2 accounts" in text


def test_only_an_administrator_exports(folder: Path) -> None:
    client = Client()
    client.force_login(a_user())
    assert client.post(reverse("wizard-begin", args=["mail1", "export"])).status_code == 403
    assert "Export Backup" not in client.get(reverse("server", args=["mail1"])).content.decode()
    assert not Draft.objects.exists()
