"""Classes of service: the page, the switch with its confirmation, the command."""

from __future__ import annotations

import json
import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import EntryKind
from console import browse, connect, cosflags, roles
from console.cli import program
from console.models import AuditEntry, CosFlag, Notification, QueuedOperation, Server, State

MARKER = "${ZxBackup_Disabled}"


def as_role(client: Client, role: str) -> Client:
    user = User.objects.create_user("anna")
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    return client


@pytest.fixture
def admin(client: Client, server: Server) -> Client:
    """Return a browser of an administrator."""
    roles.keep()
    return as_role(client, roles.ADMINISTRATOR)


@pytest.fixture
def staff(server: Server) -> CosFlag:
    """Return the flag of a class with backup on, read from the directory."""
    with connect.sandbox(server.name) as client:
        client.set_cos_notes("staff", "our staff")
    browse.read_cos_flags(server)
    return CosFlag.objects.get(name="staff")


def notes(name: str = "staff") -> str:
    with connect.context(Server.objects.get()) as ctx:
        entry = ctx.destination.entry(EntryKind.COS, name)
    assert entry is not None
    return entry.first("zimbraNotes")


def address(flag: CosFlag) -> str:
    return f"/cos/mail1/{flag.cos_id}/"


def verdict(text: str) -> str:
    found = re.search(r'<p class="verdict">(.*?)</p>', text, re.DOTALL)
    assert found
    return " ".join(re.sub(r"<[^>]*>", "", found[1]).split())


def page(client: Client, where: str = "/cos/") -> str:
    response = client.get(where)
    assert response.status_code == 200
    text = response.content.decode()
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert text.count("<h1>") == 1
    assert len(ids) == len(set(ids))
    return text


# The page


def test_before_any_reading_the_page_offers_one(admin: Client, server: Server) -> None:
    text = page(admin)

    assert verdict(text) == "No class of service has been read yet."
    assert "Read them now" in text


def test_reading_again_shows_what_was_switched_in_the_mail_server_and_when(
    admin: Client, server: Server, staff: CosFlag
) -> None:
    assert verdict(page(admin)) == "Backup is on for all 2 classes of service."
    with connect.sandbox("mail1") as client:
        client.set_cos_notes("default", f"x {MARKER}")

    response = admin.post("/cos/")

    assert response.headers["Location"] == "/cos/"
    text = page(admin)
    changed = CosFlag.objects.get(name="default").changed_at
    assert verdict(text) == (
        "Backup is off for 1 of 2 classes of service: 2 accounts are not backed up."
    )
    assert f"{changed:%d/%m/%Y %H:%M:%S} UTC" in text


def test_without_the_mail_server_the_page_shows_the_last_reading(
    admin: Client, staff: CosFlag, data: Path
) -> None:
    shutil.rmtree(data / "servers" / "mail1")

    answer = admin.post("/cos/", follow=True).content.decode()

    assert "mail1: There is no sandbox server" in answer
    assert f'as of <time datetime="{staff.read_at.isoformat()}"' in page(admin).replace("\n", " ")


def test_a_get_never_reads_the_directory(admin: Client, staff: CosFlag) -> None:
    page(admin)

    assert CosFlag.objects.get(pk=staff.pk).read_at == staff.read_at


# The switch


def test_switching_off_asks_for_the_name(admin: Client, staff: CosFlag) -> None:
    text = page(admin, address(staff))

    assert "Switch backup off for staff" in text
    assert 'value="True"' in text

    response = admin.post(address(staff), {"disabled": "True", "name": "Staff", "reason": "why"})

    answer = response.content.decode()
    assert response.status_code == 422
    assert "Type the name of the class exactly: staff" in answer
    assert 'value="why"' in answer
    assert 'aria-invalid="true"' in answer
    assert notes() == "our staff"
    assert not AuditEntry.objects.filter(action__startswith="cos").exists()


def test_switching_off_writes_the_marker_the_cache_and_the_audit_log(
    admin: Client, staff: CosFlag
) -> None:
    form = {"disabled": "True", "name": "staff", "reason": "to save space"}

    answer = admin.post(address(staff), form, follow=True).content.decode()

    assert notes() == f"our staff\n{MARKER}"
    assert "Backup is off for the class of service staff." in answer
    assert verdict(answer).startswith("Backup is off for 1 of 2 classes")
    entry = AuditEntry.objects.get(action="cos_disable")
    assert (entry.user, entry.subject, entry.result, entry.detail) == (
        "anna",
        "staff on mail1",
        "done",
        "to save space",
    )


def test_switching_on_needs_no_name_and_says_that_a_scan_is_due_until_one_has_ended(
    admin: Client, staff: CosFlag, server: Server
) -> None:
    cosflags.switch(server, "staff", disabled=True, by="anna")
    assert "is due" not in page(admin)

    answer = admin.post(address(staff), {"disabled": "False"}, follow=True).content.decode()

    assert notes() == "our staff"
    assert "A SmartScan is queued." in answer
    assert "A SmartScan of mail1 is due" in page(admin)
    row = QueuedOperation.objects.create(
        server=server,
        seq=9,
        command="doSmartScan",
        state=State.SUCCESSFUL,
        started_at=timezone.now() - timedelta(hours=1),
    )
    assert "A SmartScan of mail1 is due" in page(admin)
    row.started_at = timezone.now()
    row.save()
    browse.read_cos_flags(server)
    assert "A SmartScan of mail1 is due" not in page(admin)


def test_a_switch_to_what_is_so_already_says_so(
    admin: Client, staff: CosFlag, server: Server
) -> None:
    text = f"by hand {MARKER}"
    with connect.sandbox("mail1") as client:
        client.set_cos_notes("staff", text)

    answer = admin.post(address(staff), {"disabled": "True", "name": "staff"}, follow=True)

    assert "Backup was off already for the class of service staff." in answer.content.decode()
    assert notes() == text
    assert AuditEntry.objects.get(action="cos_disable").result == "unchanged"


def test_a_switch_that_fails_says_why_and_is_in_the_audit_log(
    admin: Client, staff: CosFlag
) -> None:
    with connect.sandbox("mail1") as client:
        client.set_cos_notes("staff", "x" * 1024)

    response = admin.post(address(staff), {"disabled": "True", "name": "staff"})

    assert response.status_code == 503
    assert "more than 1024 characters" in response.content.decode()
    assert AuditEntry.objects.get(action="cos_disable").result == "failed"
    assert CosFlag.objects.get(name="staff").disabled is False


# Who may, and what is refused


@pytest.mark.parametrize("role", [roles.VIEWER, roles.OPERATOR])
def test_others_than_administrators_look_and_switch_nothing(
    client: Client, staff: CosFlag, role: str
) -> None:
    roles.keep()
    as_role(client, role)

    text = page(client)

    assert "Switch off" not in text
    assert "Read again" not in text
    assert client.post("/cos/").status_code == 403
    assert client.get(address(staff)).status_code == 403
    assert client.post(address(staff), {"disabled": "True", "name": "staff"}).status_code == 403
    assert notes() == "our staff"


def test_unknown_classes_and_servers_are_no_pages(admin: Client, staff: CosFlag) -> None:
    for where in ("/cos/mail1/nobody/", f"/cos/mail9/{staff.cos_id}/", "/cos/mail1/%22%3E%00/"):
        assert admin.get(where).status_code == 404
        assert admin.post(where, {"disabled": "True", "name": "staff"}).status_code == 404


def test_a_get_switches_nothing(admin: Client, staff: CosFlag) -> None:
    page(admin, f"{address(staff)}?disabled=True&name=staff")

    assert notes() == "our staff"


def test_hostile_names_are_shown_and_never_run(admin: Client, server: Server, data: Path) -> None:
    name = '"><script>alert(1)</script>{{ x }}'
    with Sandbox.open(data / "servers" / "mail1") as sandbox, sandbox.locked():
        sandbox.add_entry(EntryKind.COS, name, "'\"<b>")
        sandbox.add_entry(EntryKind.COS, "slash", "a/b")
    browse.read_cos_flags(server)

    texts = [page(admin), page(admin, "/cos/mail1/'%22%3Cb%3E/")]
    refused = admin.post("/cos/mail1/'%22%3Cb%3E/", {"disabled": "True", "name": "<i>"})
    texts.append(refused.content.decode())

    assert "&lt;script&gt;" in texts[0]
    for text in texts:
        assert "<script>alert" not in text
        assert "<b>" not in text
        assert "<i>" not in text
    admin.post("/cos/mail1/'%22%3Cb%3E/", {"disabled": "True", "name": name})
    assert notes(name) == MARKER


# The command


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = program.run(["backup", "doEnableDisableCOS", *words])
    out, err = capfd.readouterr()
    return status, out, err


def test_the_command_switches_and_says_what_is_due(
    staff: CosFlag, capfd: pytest.CaptureFixture[str]
) -> None:
    off = run(capfd, "staff", "disable")
    assert off == (0, "The backup of staff is disabled.\n", "")
    assert notes() == f"our staff\n{MARKER}"
    again = run(capfd, "staff", "disable")
    assert again == (0, "The backup of staff is disabled already; nothing was changed.\n", "")

    status, out, _ = run(capfd, "staff", "ENABLE")

    assert status == 0
    scan = QueuedOperation.objects.get()
    assert out.splitlines() == [
        "The backup of staff is enabled.",
        f"A SmartScan is queued; follow it: backupng backup monitor {scan.pk} operation_host mail1",
    ]
    assert notes() == "our staff"
    assert CosFlag.objects.get(name="staff").changed_at is not None
    entries = AuditEntry.objects.order_by("pk").values_list("client", "action", "result")
    assert list(entries) == [
        ("cli", "cos_disable", "done"),
        ("cli", "cos_disable", "unchanged"),
        ("cli", "cos_enable", "done"),
    ]


def test_the_command_answers_in_json(staff: CosFlag, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capfd, "staff", "disable", "--json")

    assert status == 0
    assert json.loads(out)["mail1"]["response"] == {
        "cos": "staff",
        "id": staff.cos_id,
        "backup": "disabled",
        "changed": True,
        "smartscan_due": False,
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nobody", "disable"), "There is no class of service nobody."),
        (("staff", "perhaps"), "action: 'perhaps' is not accepted."),
        (("staff",), "action"),
    ],
)
def test_the_command_refuses_what_cannot_be_met(
    staff: CosFlag, capfd: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    status, _, err = run(capfd, *words)

    assert status == 64
    assert sentence in err
    assert notes() == "our staff"


# What is told, and the list


def told() -> list[tuple[str, str]]:
    return list(Notification.objects.order_by("created_at").values_list("level", "subject"))


def test_a_switch_is_told_once_with_the_accounts_and_by_whom(
    admin: Client, staff: CosFlag, server: Server
) -> None:
    admin.post(address(staff), {"disabled": "True", "name": "staff"})
    cosflags.read(server)

    (found,) = Notification.objects.all()
    assert found.level == "warning"
    assert found.subject == "[Backup NG] mail1: backup switched off for the class of service staff"
    assert re.search(r"^accounts +0$", found.text, re.MULTILINE)
    assert re.search(r"^by +anna$", found.text, re.MULTILINE)


def test_a_marker_changed_in_the_notes_is_told_by_who_reads_it_first(
    staff: CosFlag, server: Server
) -> None:
    with connect.sandbox("mail1") as client:
        client.set_cos_notes("staff", MARKER)
    cosflags.read(server)
    with connect.sandbox("mail1") as client:
        client.set_cos_notes("staff", "")
    cosflags.read(server)

    off, on = told()
    assert off[1].endswith("backup switched off for the class of service staff")
    assert on[1].endswith("on for the class of service staff – a SmartScan is queued")
    assert "changed the marker in its Notes" in Notification.objects.earliest("created_at").text


def test_the_list_reads_the_markers_afresh(
    staff: CosFlag, capfd: pytest.CaptureFixture[str]
) -> None:
    with connect.sandbox("mail1") as client:
        client.set_cos_notes("staff", MARKER)

    status = program.run(["getCOSBackupStatus", "cos_name", "STAFF", "--json"])

    assert status == 0
    assert json.loads(capfd.readouterr().out)["mail1"]["response"] == {
        "classes": [{"name": "staff", "id": staff.cos_id, "backup": "disabled", "accounts": 0}]
    }


def test_the_list_has_every_class_and_refuses_an_unknown_one(
    staff: CosFlag, capfd: pytest.CaptureFixture[str]
) -> None:
    status = program.run(["getCOSBackupStatus"])
    out = capfd.readouterr().out
    refused = program.run(["getCOSBackupStatus", "cos_name", "nobody"])

    assert (status, refused) == (0, 64)
    assert out.count("enabled") == 2
