"""What pages ask of the engine, asked with the console's own rows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from backupng.engine.errors import BadRequest, MailServerError, MailServerUnreachable
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import EntryKind
from backupng.engine.operations.words import LAST, Moment
from console import browse, connect
from console.connect import SandboxRequest
from console.models import CosFlag, Server
from tests.console.prototypes import smart_scan

A1, A2 = "a1@example.com", "a2@example.com"
MARKER = "${ZxBackup_Disabled}"


def set_notes(server: Server, cos: str, notes: str) -> None:
    with connect.sandbox(server.name) as client:
        client.set_cos_notes(cos, notes)


def id_of(server: Server, address: str) -> str:
    return next(line.account_id for line in browse.accounts(server).lines if line.name == address)


@pytest.fixture
def second(server: Server) -> Server:
    request = SandboxRequest(name="mail2", domain="example.org", accounts=1, items=0, seed=2)
    return connect.create_sandbox(request)


def test_lines_name_their_server_as_the_console_does(server: Server) -> None:
    smart_scan(server)

    found = browse.accounts(server)

    assert [(line.name, line.server_name) for line in found.lines] == [(A1, "mail1"), (A2, "mail1")]
    assert [line.items for line in found.lines] == [None, None]
    assert all(line.items for line in browse.detailed(server, found.lines))


def test_an_account_is_found_on_whichever_server_has_it(server: Server, second: Server) -> None:
    theirs = id_of(second, "a1@example.org")

    found, line = browse.find_account(theirs)

    assert (found, line.name, line.server_name) == (second, "a1@example.org", "mail2")


def test_an_account_that_is_on_a_server_is_preferred_to_a_deleted_one(
    server: Server, second: Server, data: Path
) -> None:
    smart_scan(server)
    account = id_of(server, A1)
    with connect.sandbox(server.name) as client:
        client.delete_account(A1)
    assert browse.find_account(account)[1].exists is False
    with Sandbox.open(data / "servers" / "mail2") as sandbox, sandbox.locked():
        sandbox.add_account("moved@example.org", account)

    found, line = browse.find_account(account)

    assert (found, line.exists, line.name) == (second, True, "moved@example.org")


def test_an_unknown_account_is_a_request_that_cannot_be_met(server: Server) -> None:
    with pytest.raises(BadRequest) as refusal:
        browse.find_account("nobody")

    assert refusal.value.code == "no_such_account"


def test_without_the_mail_server_the_backup_answers(server: Server, data: Path) -> None:
    smart_scan(server)
    account = id_of(server, A1)
    shutil.rmtree(data / "servers" / "mail1")

    found = browse.accounts(server)

    assert found.directory_error
    assert [line.name for line in found.lines] == [A1, A2]
    assert browse.find_account(account)[1].protected_since is not None
    assert browse.first_moment(server, account) is not None
    assert browse.expected(server, account, LAST).unreadable == 0
    assert browse.item_count(server, account) > 0


def test_days_and_moments_are_those_of_the_account(server: Server) -> None:
    smart_scan(server)
    account = id_of(server, A1)
    first = browse.first_moment(server, account)
    assert first is not None
    local = first.astimezone(server.zone_info)

    days = browse.changed_days(
        server, account, year=local.year, month=local.month, zone=server.zone_info
    )

    assert days == {local.date()}
    with pytest.raises(BadRequest):
        browse.expected(server, account, Moment(at=first.replace(year=first.year + 1)))


def test_a_server_of_another_host_is_unreachable_and_its_accounts_unknown(server: Server) -> None:
    account = id_of(server, A1)
    Server.objects.filter(pk=server.pk).update(identity="another")
    server.refresh_from_db()

    with pytest.raises(MailServerUnreachable):
        browse.accounts(server)
    with pytest.raises(BadRequest):
        browse.find_account(account)


def flags(server: Server) -> dict[str, tuple[bool, int, bool]]:
    return {
        flag.name: (flag.disabled, flag.accounts, flag.changed_at is not None)
        for flag in CosFlag.objects.filter(server=server)
    }


def test_the_first_reading_of_a_class_is_no_switch(server: Server) -> None:
    set_notes(server, "staff", MARKER)

    assert browse.read_cos_flags(server) == []
    assert flags(server) == {"default": (False, 2, False), "staff": (True, 0, False)}


def test_a_reading_finds_what_was_switched_by_hand_once(server: Server) -> None:
    before = timezone.now()
    browse.read_cos_flags(server)
    set_notes(server, "default", f"text {MARKER}")

    switched = browse.read_cos_flags(server)

    assert [(flag.name, flag.disabled) for flag in switched] == [("default", True)]
    assert flags(server) == {"default": (True, 2, True)}
    assert switched[0].changed_at is not None
    assert switched[0].changed_at >= before
    assert browse.read_cos_flags(server) == []
    assert CosFlag.objects.get().changed_at == switched[0].changed_at


def test_a_class_that_is_gone_leaves_the_cache(server: Server) -> None:
    CosFlag.objects.create(server=server, cos_id="gone", name="gone")

    browse.read_cos_flags(server)

    assert list(flags(server)) == ["default"]


def test_a_reading_of_one_server_leaves_the_others(server: Server, second: Server) -> None:
    browse.read_cos_flags(server)
    browse.read_cos_flags(second)

    assert (list(flags(server)), list(flags(second))) == (["default"], ["default"])


def test_without_the_mail_server_the_flags_stay(server: Server, data: Path) -> None:
    browse.read_cos_flags(server)
    shutil.rmtree(data / "servers" / "mail1")

    with pytest.raises(MailServerError):
        browse.read_cos_flags(server)

    assert flags(server) == {"default": (False, 2, False)}


def test_a_switch_is_in_the_notes_and_in_the_cache(server: Server) -> None:
    browse.read_cos_flags(server)
    set_notes(server, "default", "our text")

    first: Any = browse.switch_cos(server, "default", disabled=True)
    again: Any = browse.switch_cos(server, "default", disabled=True)
    browse.read_cos_flags(server)

    assert (first.changed, again.changed) == (True, False)
    assert flags(server) == {"default": (True, 2, True)}
    with connect.context(server) as ctx:
        (entry,) = ctx.source.entries(EntryKind.COS)
    assert entry.first("zimbraNotes") == f"our text\n{MARKER}"
