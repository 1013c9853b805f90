"""The wizard Import Backup: path, domains, accounts, summary with its options; `Forward`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import AccountId, EntryKind
from backupng.engine.scan.beside import SCANNER_ROLE
from console import again, connect, queue
from console.connect import SandboxRequest
from console.forms import imports
from console.models import QueuedOperation, Server, State
from tests.console.prototypes import Grow, Prototype, smart_scan
from tests.console.restoring import Page, a_user
from tests.console.transferring import Mover, message

BOTH = ["example.com", "example.org"]
NEW, SYSTEM, GONE = "new@example.com", "spam.1@example.com", "gone@example.com"
OTHER = "other@example.org"
HERE = "a1@example.com"
"""An account of the backup whose address this server has as well."""

REFUSED = [
    ("", "Type the folder that the backup lies in."),
    ("old", "not an absolute path"),
    ("/etc", "is not allowed"),
    ("{backup}/gone", "does not exist"),
    ("{backup}/empty", "Name the folder of a Backup Path."),
    ("{backup}/mail1", "is the backup of this very server, mail1"),
    ("{backup}/newer", "has format 99.0; this version reads format"),
    ("{backup}/cut", "is damaged"),
]


@pytest.fixture(scope="module")
def source_prototype(scanned_prototype: Prototype, grow: Grow) -> Prototype:
    """Return a data folder with a server, and with the backup of another one.

    That has two domains, and accounts of each kind.
    """
    request = SandboxRequest(name="old", domain="example.com", accounts=1, items=0, seed=9)

    def happened(_here: Server) -> None:
        server = connect.create_sandbox(request)
        folder = django_settings.DATA_DIR / "servers" / "old"
        with Sandbox.open(folder) as sandbox, sandbox.locked():
            sandbox.add_domain("example.org", "c0ffee00-0000-4000-8000-000000000003")
            sandbox.add_account(
                OTHER, "c0ffee00-0000-4000-8000-000000000001", zimbraIsAdminAccount="TRUE"
            )
            sandbox.add_account(
                SYSTEM, "c0ffee00-0000-4000-8000-000000000002", zimbraIsSystemResource="TRUE"
            )
        with connect.sandbox("old") as client:
            for name in (NEW, GONE):
                client.create_account(name)
            client.deliver(NEW, b"Subject: One\r\n\r\nHello\r\n", folder="/Inbox")
        smart_scan(server)
        with connect.sandbox("old") as client:
            client.delete_account(GONE)
        smart_scan(server)
        server.delete()

    return grow(scanned_prototype, "source", happened)


@pytest.fixture
def source(source_prototype: Prototype, settings: Settings, db: None) -> Path:
    """Return the backup, which is only looked at."""
    source_prototype.shown(settings)
    return source_prototype.folder / "backup" / "old"


@pytest.fixture
def copied(source_prototype: Prototype, data: Path, db: None) -> Path:
    """Return a copy of the backup, with a server of its own."""
    source_prototype.copied(data)
    return data / "backup" / "old"


@pytest.fixture
def anna(source: Path) -> Mover:
    """Return an administrator who has begun a run."""
    return begun()


def begun() -> Mover:
    mover = Mover("import")
    mover.begin()
    return mover


def at_accounts(anna: Mover, source: Path) -> dict[str, str]:
    """Go as far as the accounts; returns their ids by their addresses."""
    anna.accept("path", {"source_path": str(source)})
    anna.accept("domains", {"domains": BOTH})
    form = anna.see("accounts").context["form"]
    return {account.name: account.account_id for account in form.known}


# The way through


def test_the_steps_are_those_of_the_manual_and_lead_forward(anna: Mover, source: Path) -> None:
    path = Page(anna.see("path"))
    assert "1 Path of the backup 2 Domains 3 Accounts 4 Operation Summary" in path.text
    assert "The Destination Path of the manual" in path.text
    assert "Cancel Forward" in path.text
    assert anna.accept("path", {"source_path": str(source)}) == anna.url("domains")
    domains = Page(anna.see("domains"))
    assert "Cancel Previous Forward" in domains.text
    assert "example.com 4 1" in domains.text
    assert "example.org 1 0" in domains.text
    assert anna.accept("domains", {"domains": ["example.com"]}) == anna.url("accounts")
    accounts = Page(anna.see("accounts"))
    assert "4 of 4 accounts are ticked." in accounts.text
    assert f"{HERE} ! exists here already" in accounts.text
    assert f"{SYSTEM} will be made system account" in accounts.text
    assert f"{GONE} will be made ✕ deleted" in accounts.text
    assert OTHER not in accounts.text
    typed = {"accounts": list(ids(anna)), "typed": "IMPORT"}
    assert anna.accept("accounts", typed) == anna.url("summary")
    assert "Cancel Previous Finish" in Page(anna.see("summary")).text


def ids(anna: Mover) -> list[str]:
    return [each.account_id for each in anna.see("accounts").context["form"].known]


def test_what_was_found_is_shown_when_the_path_is_typed(anna: Mover, source: Path) -> None:
    query = {"field": "source_path", "source_path": str(source)}
    part = Page(anna.client.get(anna.url("path", "check"), query))
    size = anna.client.get(anna.url("path", "check"), query | {"field": "size"})
    assert "The folder contains a valid backup, and it can be read." in part.text
    for words in (
        "Backup of old",
        "Format 1.0",
        "Accounts 5, 1 of them deleted there",
        "Size being counted",
    ):
        assert words in part.text
    assert size.content.decode().startswith('<span id="size">')


def test_what_finish_starts_imports_the_chosen_account(copied: Path) -> None:
    anna = begun()
    known = at_accounts(anna, copied)
    anna.accept("accounts", {"accounts": [known[NEW]]})
    text = Page(anna.see("summary")).text
    anna.finish(filter_deleted="on", skip_system_accounts="on")
    queue.drain(Server.objects.get())
    row = QueuedOperation.objects.get()
    assert f"Accounts {NEW}" in text
    assert "Expected 1 account, 1 item" in text
    assert f"Path of the backup {copied}, the backup of old" in text
    assert (row.state, row.parameters) == (
        State.SUCCESSFUL,
        {"source_path": str(copied), "accounts": NEW},
    )
    with connect.sandbox("mail1") as client:
        [item] = [each for each in client.list(NEW)["items"] if each["type"] == "message"]
    assert item["subject"] == "One"


def test_what_an_import_says_to_type_names_the_server(copied: Path) -> None:
    anna = begun()
    known = at_accounts(anna, copied)
    anna.accept("accounts", {"accounts": [known[NEW]]})
    anna.finish(filter_deleted="on", skip_system_accounts="on")
    with BackupPath.open(copied.parent / "mail1") as path, path.writer(SCANNER_ROLE):
        queue.drain(Server.objects.get())
    notes = QueuedOperation.objects.get().outcome["report"]["notes"]
    command = "backupng --host mail1 backup setProperty ZxBackup_RealTimeScanner FALSE"
    assert [each for each in notes if each.endswith(f": {command}")]


# Path


def test_what_is_no_backup_is_refused_in_one_sentence(anna: Mover, source: Path) -> None:
    backup = source.parent
    (backup / "empty").mkdir()
    for name, text in (("newer", b"backupng 99.0\n"), ("cut", b"backupng 1.0\ntree x\n")):
        (backup / name).mkdir()
        (backup / name / "format").write_bytes(text)
    texts = [
        (said, message(anna.send("path", source_path=typed.format(backup=backup))))
        for typed, said in REFUSED
    ]
    assert [said for said, text in texts if said not in text] == []
    assert "path" not in anna.row.words


def test_a_copy_of_the_servers_own_path_is_refused_with_the_way_to_go(
    anna: Mover, source: Path
) -> None:
    copy = source.parent / "copy"
    shutil.copytree(source.parent / "mail1", copy)
    text = message(anna.send("path", source_path=str(copy)))
    assert "run doRestoreOnNewAccount" in text
    command = f"backupng --host mail1 backup doExternalRestore {copy} force_as_external_restore"
    assert command in text


def test_without_script_the_summary_shows_what_was_found(copied: Path) -> None:
    anna = begun()
    known = at_accounts(anna, copied)
    anna.accept("accounts", {"accounts": [known[NEW]]})
    (copied / "accounts" / known[SYSTEM] / "account").write_bytes(b"x\n")
    with BackupPath.open(copied.parent / "mail1") as path, path.writer(SCANNER_ROLE):
        page, counted = Page(anna.see("summary")), Page(anna.see("summary", count="1"))
    assert "Backup of old Format 1.0" in page.text
    assert "Size This takes a while to count. Count it Own Backup Path no" in page.text
    assert "The backup is damaged: 1 account cannot be read and will be missing." in page.text
    assert page.text.count("The Real-Time Scanner is on") == 1
    assert {reverse(each, args=["mail1"]) for each in ("scanner", "coherency")} <= {*page.links}
    assert "takes a while" not in counted.text


# Accounts


def test_a_search_changes_what_is_shown_and_unticks_nothing(anna: Mover, source: Path) -> None:
    known = at_accounts(anna, source)
    every = list(known.values())
    found = Page(anna.post("accounts", {"accounts": every, "q": "new@", "look": "search"}))
    [others] = hidden(found_answer(anna, every))
    assert "5 of 5 accounts are ticked." in found.text
    assert SYSTEM not in found.text
    unticked = {"others": others, "q": "new@", "look": "none"}
    assert "4 of 5 accounts are ticked." in Page(anna.post("accounts", unticked)).text


def found_answer(anna: Mover, every: list[str]) -> Any:
    return anna.post("accounts", {"accounts": every, "q": "new@", "look": "search"})


def hidden(answer: Any) -> list[str]:
    return [str(answer.context["form"].hidden_text)]


def test_more_accounts_than_boxes_keep_their_ticks(
    anna: Mover, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_MOST_SHOWN", 2)
    at_accounts(anna, source)
    answer = anna.see("accounts")
    page = Page(answer)
    boxes = [str(each["value"]) for each in page.inputs if each["name"] == "accounts"]
    [others] = hidden(answer)
    sent = {"accounts": boxes[:1], "others": others, "typed": "IMPORT"}
    anna.accept("accounts", sent)
    assert "The first 2 of 5 are shown" in page.text
    assert len(boxes) == 2
    assert len(anna.row.words["accounts"]["accounts"]) == 4


def test_at_least_one_account_has_to_be_chosen(anna: Mover, source: Path) -> None:
    at_accounts(anna, source)
    assert "Choose at least one account." in message(anna.post("accounts", {}))
    wrong = anna.post("accounts", {"accounts": ["nobody"]})
    assert "There is no account nobody in these domains." in message(wrong)


def test_to_add_to_accounts_that_exist_a_word_is_typed(anna: Mover, source: Path) -> None:
    known = at_accounts(anna, source)
    sent = {"accounts": [known[HERE], known[NEW]]}
    refused = message(anna.post("accounts", sent | {"typed": "import"}))
    anna.accept("accounts", sent | {"typed": "IMPORT"})
    assert "1 of the chosen accounts exists here already. Type IMPORT" in refused
    assert "1 of these accounts exists here already: items are added to it, none is deleted" in (
        Page(anna.see("summary")).text
    )


def test_another_path_asks_for_its_domains_anew(anna: Mover, source: Path) -> None:
    known = at_accounts(anna, source)
    anna.accept("accounts", {"accounts": [known[OTHER]]})
    anna.accept("domains", {"domains": ["example.com"]})
    assert anna.see("summary")["Location"] == anna.url("accounts")


# Options


def parameters(anna: Mover) -> dict[str, str]:
    text = Page(anna.see("summary")).text
    words = text.partition("doExternalRestore ")[2].partition(" Copy")[0].split()
    return dict(zip(words[1::2], words[2::2], strict=True))


def test_all_accounts_are_no_list_and_options_count(anna: Mover, source: Path) -> None:
    known = at_accounts(anna, source)
    anna.accept("accounts", {"accounts": list(known.values()), "typed": "IMPORT"})
    assert "Expected 3 accounts" in Page(anna.see("summary")).text
    applied = {"apply": "1", "provisioning_only": "on", "skip_aliases": "on"}
    assert anna.post("summary", applied)["Location"] == anna.url("summary")
    assert "Expected 5 accounts, no items" in Page(anna.see("summary")).text
    assert parameters(anna) == {
        "filter_deleted": "false",
        "skip_system_accounts": "false",
        "skip_aliases": "true",
        "provisioning_only": "true",
    }


def test_a_system_account_that_is_skipped_is_not_named(anna: Mover, source: Path) -> None:
    known = at_accounts(anna, source)
    anna.accept("accounts", {"accounts": [known[NEW], known[SYSTEM]]})
    assert parameters(anna) == {"accounts": NEW}
    anna.post("summary", {"apply": "1", "filter_deleted": "on"})
    assert parameters(anna) == {"accounts": f"{NEW},{SYSTEM}"}
    anna.accept("accounts", {"accounts": [known[SYSTEM]]})
    anna.post("summary", {"apply": "1", "filter_deleted": "on", "skip_system_accounts": "on"})
    assert parameters(anna) == {"accounts": SYSTEM}


def test_an_account_whose_address_another_one_had_is_named_by_its_id(copied: Path) -> None:
    anna, again_id = begun(), AccountId("c0ffee00-0000-4000-8000-000000000004")
    known = at_accounts(anna, copied)
    with BackupPath.open(copied) as path, path.writer("scan") as writer:
        first = path.entry_history(EntryKind.ACCOUNT, AccountId(known[GONE]))[0]
        writer.add_entry(replace(first, entry=replace(first.entry, entry_id=again_id)))
        writer.commit()
    anna.accept("accounts", {"accounts": [known[NEW], again_id]})
    assert sorted(parameters(anna)["accounts"].split(",")) == sorted([NEW, again_id])


def test_rights_of_administrators_are_told_and_come_only_when_asked_for(
    anna: Mover, source: Path
) -> None:
    known = at_accounts(anna, source)
    anna.accept("accounts", {"accounts": [known[NEW], known[OTHER]]})
    before = Page(anna.see("summary")).text
    anna.post("summary", {"apply": "1", "restore_admin_rights": "on"})
    after = Page(anna.see("summary")).text
    assert "restore_admin_rights" not in before
    assert "1 account has rights of administrators in the backup and comes without" in before
    assert f"1 account gets the rights here that it has in the backup: {OTHER}." in after
    assert parameters(anna)["restore_admin_rights"] == "true"


def test_options_changed_beside_finish_are_shown_before_it_counts(
    anna: Mover, source: Path
) -> None:
    known = at_accounts(anna, source)
    anna.accept("accounts", {"accounts": [known[NEW]]})
    answer = anna.finish(provisioning_only="on", filter_deleted="on", skip_system_accounts="on")
    assert "This summary is not what was shown before." in message(answer)
    assert not QueuedOperation.objects.exists()


def test_an_import_asked_for_again_has_the_options_it_had(anna: Mover, source: Path) -> None:
    for seq, said in enumerate(({"filter_deleted": "false"}, dict[str, str]()), 1):
        given = {"accounts": NEW, "skip_aliases": "true"} | said
        row = QueuedOperation.objects.create(
            server=Server.objects.get(),
            seq=seq,
            command="doExternalRestore",
            parameters={"source_path": str(source), "skip_system_accounts": "true", **given},
            state=State.FAILED,
        )
        anna.draft = again.begin_wizard(User.objects.get(username="anna"), row).split("/")[2]
        assert parameters(anna) == given


def test_an_import_asked_for_again_refuses_nothing_that_nobody_typed_yet(
    anna: Mover, source: Path
) -> None:
    known = at_accounts(anna, source)
    texts = {"source_path": str(source), "accounts": f"{HERE},{NEW}"}
    row = QueuedOperation.objects.create(
        server=Server.objects.get(), seq=1, command="doExternalRestore", parameters=texts
    )
    anna.draft = again.begin_wizard(User.objects.get(username="anna"), row).split("/")[2]
    assert anna.see("summary")["Location"] == anna.url("accounts")
    page = Page(anna.see("accounts"))
    assert "2 of 5 accounts are ticked." in page.text
    assert "Nothing was started." not in page.text
    assert "Type IMPORT" in message(anna.post("accounts", {"accounts": [known[HERE]]}))


def test_only_an_administrator_imports(source: Path) -> None:
    client = Client()
    client.force_login(a_user())
    assert client.post(reverse("wizard-begin", args=["mail1", "import"])).status_code == 403
