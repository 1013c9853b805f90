"""Commands of the command line, run in this process: what they print and how they end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from console import connect, hosting, telling
from console.cli import program
from console.connect import SandboxRequest
from console.models import AuditEntry, QueuedOperation, Server
from tests.console.prototypes import Prototype
from tests.console.restoring import SOURCE


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    def envelope(self) -> dict[str, Any]:
        """Return the one line of JSON it printed."""
        assert self.out.count("\n") == 1
        found: dict[str, Any] = json.loads(self.out)
        return found

    def response(self, host: str = "mail1") -> dict[str, Any]:
        """Return what that host answered."""
        body = self.envelope()[host]
        assert body["ok"], body
        found: dict[str, Any] = body["response"]
        return found

    def error(self, host: str = "mail1") -> dict[str, Any]:
        """Return the error that host answered with."""
        body = self.envelope()[host]
        assert not body["ok"]
        found: dict[str, Any] = body["error"]
        return found


Run = Callable[..., Ended]


@pytest.fixture
def run(server: Server, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return a function that runs the words of one command line."""

    def command(*words: str) -> Ended:
        status = program.run(words)
        out, err = capfdbinary.readouterr()
        return Ended(status, out.decode(), err.decode())

    return command


@pytest.fixture
def second(server: Server) -> Server:
    """Return another server beside the first."""
    request = SandboxRequest(name="mail2", domain="example.org", accounts=0, items=0, seed=2)
    return connect.create_sandbox(request)


@pytest.fixture
def scanned(server: Server, scanned_prototype: Prototype, data: Path) -> Server:
    """Return the server with a first SmartScan done."""
    shutil.copytree(scanned_prototype.folder, data, dirs_exist_ok=True)
    return server


# Operations


def test_an_operation_is_queued_and_answered_with_its_block(run: Run) -> None:
    ended = run("backup", "doSmartScan")
    row = QueuedOperation.objects.get()
    assert (ended.status, row.state) == (0, "queued")
    assert ended.out == (
        "operation\n"
        f"        id                {row.pk}\n"
        "        name              SmartScan\n"
        "        state             Queued\n"
        "        position          1\n"
        "        host              mail1\n"
        f"        monitor command   backupng backup monitor {row.pk} operation_host mail1\n"
    )


def test_without_a_worker_standard_error_says_how_to_start_one(run: Run) -> None:
    assert "Start one: backupng run" in run("doSmartScan").err


def test_quiet_leaves_the_notes_out(run: Run) -> None:
    assert run("--quiet", "doSmartScan").err == ""


def test_a_queued_operation_is_answered_in_json(run: Run) -> None:
    run("doSmartScan")
    response = run("--json", "doSmartScan", "deep", "yes").response()
    row = QueuedOperation.objects.get(pk=response["operationId"])
    assert row.parameters == {"deep": "true"}
    assert (response["name"], response["state"], response["position"]) == ("SmartScan", "Queued", 2)


def test_what_is_asked_for_and_set_on_the_command_line_is_in_the_audit_log(
    run: Run, scanned: Server
) -> None:
    run("doRestoreOnNewAccount", "nobody", "new@example.com", "last")
    run("doRestoreOnNewAccount", "a1@example.com", "new@example.com", "last")
    run("setProperty", "ZxBackup_BlobCodec", "lead")
    run("setProperty", "ZxBackup_BlobCodec", "gzip")
    row = QueuedOperation.objects.order_by("-seq")[0]
    found = AuditEntry.objects.order_by("pk")
    assert {(entry.user, entry.client) for entry in found} == {(hosting.user_name(), "cli")}
    assert list(found.values_list("action", "subject", "result")) == [
        ("doRestoreOnNewAccount", "mail1", "refused"),
        ("doRestoreOnNewAccount", "mail1", "done"),
        ("setProperty", "ZxBackup_BlobCodec on mail1", "refused"),
        ("setProperty", "ZxBackup_BlobCodec on mail1", "done"),
    ]
    assert found[1].detail == f"queued as {row.pk}: a1@example.com → new@example.com"
    assert found[3].detail.endswith("→ gzip")


def test_an_account_that_is_asked_for_by_its_id_is_told_by_its_name_too(
    run: Run, scanned: Server
) -> None:
    run("doRestoreOnNewAccount", SOURCE, "new@example.com", "last")

    row = QueuedOperation.objects.get()
    assert row.parameters["source_account"] == SOURCE
    assert telling.subject(row) == f"a1@example.com (id {SOURCE}) → new@example.com"


def test_what_the_check_refuses_is_not_queued(run: Run, scanned: Server) -> None:
    ended = run("--json", "doRestoreOnNewAccount", "nobody", "new@example.com", "last")
    assert (ended.status, ended.error()["code"]) == (64, "no_such_account")
    assert not QueuedOperation.objects.exists()


def test_a_value_of_the_wrong_type_is_named(run: Run) -> None:
    ended = run("--json", "doSmartScan", "deep", "perhaps")
    assert (ended.status, ended.error()["code"]) == (64, "bad_value")
    assert ended.error()["details"] == {"parameter": "deep", "value": "perhaps"}


def test_the_first_moment_there_is_is_named_in_the_hint(run: Run, scanned: Server) -> None:
    ended = run("doRestoreOnNewAccount", "a1@example.com", "new@example.com", "01/01/2020 00:00:00")
    assert ended.status == 64
    assert "Hint: The first moment there is: " in ended.err


def test_an_operation_is_refused_while_the_mail_server_is_down(run: Run) -> None:
    ended = run("--offline", "doSmartScan")
    assert (ended.status, QueuedOperation.objects.count()) == (64, 0)


def test_what_needs_the_backup_path_alone_is_done_while_the_mail_server_is_down(
    run: Run, scanned: Server, data: Path
) -> None:
    Path(data, scanned.connection["folder"], "mail.sqlite3").unlink()
    path = str(scanned.path)

    compared = run("--offline", "doCoherencyCheck", path, "checkZimbra", "true")
    checked = run("--offline", "--yes", "doCoherencyCheck", path, "fixBackup", "true")
    purged = run("--offline", "--yes", "doPurge")

    assert [each.status for each in (compared, checked, purged)] == [64, 0, 0]
    assert QueuedOperation.objects.count() == 2


def test_a_server_of_another_host_is_out_of_reach(run: Run) -> None:
    Server.objects.update(identity="another host")
    ended = run("--json", "doSmartScan")
    assert (ended.status, ended.error()["code"]) == (69, "server_unreachable")


# Lookups


def test_accounts_are_listed_one_a_line(run: Run, scanned: Server) -> None:
    lines = run("getAvailableAccounts").out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", "a1@example.com", "a2@example.com"]


def test_a_lookup_answers_in_json_under_its_server(run: Run, scanned: Server) -> None:
    accounts = run("--json", "getAvailableAccounts").response()["accounts"]
    assert [account["name"] for account in accounts] == ["a1@example.com", "a2@example.com"]


def test_an_item_is_shown_as_a_tree_of_its_states(run: Run, scanned: Server) -> None:
    ended = run("getItem", "a1@example.com", "2")
    assert ended.status == 0
    assert ended.out.startswith("itemStates\n        start_date   ")
    assert "        type         folder\n" in ended.out


def test_a_lookup_works_offline(run: Run, scanned: Server, data: Path) -> None:
    Path(data, scanned.connection["folder"], "mail.sqlite3").unlink()
    assert run("--offline", "getBackupInfo").status == 0


def test_a_lookup_without_a_backup_path_says_which_check_failed(run: Run) -> None:
    Server.objects.update(backup_path="/nowhere/at/all")
    ended = run("--json", "getBackupInfo")
    assert (ended.status, ended.error()["code"]) == (64, "path_missing")


# Servers


def test_several_servers_need_a_host(run: Run, second: Server) -> None:
    ended = run("--json", "getProperty")
    assert (ended.status, ended.error("localhost")["code"]) == (64, "usage")
    assert ended.error("localhost")["hint"] == "Name one with --host: mail1, mail2."


def test_an_unknown_host_is_answered_with_the_names_there_are(run: Run, second: Server) -> None:
    ended = run("--json", "--host", "mail3", "getProperty")
    assert (ended.status, ended.error("localhost")["code"]) == (64, "bad_value")
    assert ended.error("localhost")["hint"] == "There are: mail1, mail2."


def test_a_host_is_known_in_any_case(run: Run, second: Server) -> None:
    assert "mail2" in run("--json", "--host", "MAIL2", "getProperty").envelope()


def test_all_servers_answer_under_their_names(run: Run, second: Server) -> None:
    ended = run("--host", "all_servers", "getProperty", "property_name", "exitCodes")
    assert ended.out == (
        "mail1\n        exitCodes   extended\nmail2\n        exitCodes   extended\n"
    )


def test_a_scan_of_all_servers_is_queued_on_each(run: Run, second: Server) -> None:
    ended = run("--json", "--hostname", "all_servers", "backup", "doSmartScan")
    assert list(ended.envelope()) == ["mail1", "mail2"]
    assert QueuedOperation.objects.count() == 2


def test_a_restore_on_all_servers_is_refused(run: Run, second: Server) -> None:
    ended = run("--host", "all_servers", "doRestoreOnNewAccount", "a", "b", "last")
    assert (ended.status, QueuedOperation.objects.count()) == (64, 0)


def test_with_all_servers_the_highest_status_counts(run: Run, second: Server) -> None:
    Server.objects.filter(name="mail1").update(identity="another host")
    ended = run("--json", "--host", "all_servers", "doSmartScan")
    assert (ended.status, ended.envelope()["mail2"]["ok"]) == (69, True)


def test_a_worker_serves_one_and_the_servers_are_named(run: Run, second: Server) -> None:
    refused = run("worker")
    assert refused.status == 64
    assert "There are several servers, and a worker serves one." in refused.err
    assert "Name one with --host: mail1, mail2. `backupng run` serves all." in refused.err


def test_all_are_served_and_none_of_them_named(run: Run, second: Server) -> None:
    refused = run("--host", "mail1", "run")
    assert refused.status == 64
    assert "run serves all servers of this host" in refused.err


def test_without_any_server_the_way_to_one_is_shown(run: Run, server: Server) -> None:
    server.delete()
    ended = run("getProperty")
    assert (ended.status, ended.out) == (64, "")
    assert ended.err.endswith("Hint: Make one: backupng sandbox createServer NAME.\n")


# Properties


def test_a_property_is_set_at_once(run: Run) -> None:
    ended = run("setProperty", "zxbackup_blobcodec", "GZIP")
    assert (ended.status, ended.out) == (0, "ok\n")
    found = run("--json", "getProperty", "property_name", "ZxBackup_BlobCodec").response()
    assert found == {"properties": {"ZxBackup_BlobCodec": "gzip"}}


def test_properties_are_shown_one_a_line(run: Run) -> None:
    out = run("getProperty").out
    assert "ZxBackup_BlobCodec              zstd\n" in out
    assert "backup_initialized" not in out


def test_verbose_adds_type_default_source_and_meaning(run: Run) -> None:
    run("setProperty", "backupCompressionLevel", "7")
    details = run("--json", "getProperty", "verbose", "true").response()["details"]
    assert details["backupCompressionLevel"] == {
        "value": 7,
        "type": "Integer",
        "default": 3,
        "source": "server",
        "meaning": "How hard new blobs are compressed: 1 to 19 for zstd, 1 to 9 for gzip.",
    }


def test_a_measured_property_is_shown_when_it_is_named(run: Run, scanned: Server) -> None:
    found = run("--json", "getProperty", "property_name", "backup_initialized").response()
    assert found == {"properties": {"backup_initialized": True}}


def test_the_backup_path_is_an_absolute_path_without_trailing_slash(run: Run, data: Path) -> None:
    (data / "elsewhere").mkdir()
    run("setProperty", "ZxBackup_DestPath", f"{data}/elsewhere/")
    found = run("--json", "getProperty", "property_name", "ZxBackup_DestPath").response()
    assert found == {"properties": {"ZxBackup_DestPath": f"{data}/elsewhere"}}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("missing", "path_missing"),
        ("servers", "path_not_allowed"),
        ("filled", "path_not_empty"),
        ("backup/mail2", "path_in_use"),
        ("backup", "path_in_use"),
        ("backup/mail1/accounts", "path_in_use"),
    ],
)
def test_a_folder_that_cannot_be_the_backup_path_is_refused(
    run: Run, second: Server, data: Path, path: str, code: str
) -> None:
    (data / "filled" / "with something").mkdir(parents=True)
    words = ("setProperty", "ZxBackup_DestPath", str(data / path))
    assert run("--json", "--host", "mail1", *words).error()["code"] == code


def test_the_tree_of_another_server_is_refused(run: Run, second: Server, data: Path) -> None:
    with connect.context(second) as ctx:
        ctx.owned_path()
    second.path.rename(data / "copied")
    words = ("setProperty", "ZxBackup_DestPath", str(data / "copied"))
    error = run("--json", "--host", "mail1", *words).error()
    assert (error["code"], "server mail2" in error["message"]) == ("path_in_use", True)


# The line itself


def test_too_few_values_print_the_help_page_and_exit_with_64(run: Run) -> None:
    ended = run("backup", "getItem", "a1@example.com")
    assert (ended.status, ended.out) == (64, "")
    assert ended.err.startswith("Error: command getItem requires more parameters: item missing.\n")
    assert "PARAMETER LIST" in ended.err


def test_json_answers_a_wrong_line_too(run: Run) -> None:
    ended = run("--json", "backup", "getItem")
    assert (ended.status, ended.error("localhost")["code"]) == (64, "usage")
    assert ended.err == ""


def test_help_prints_a_page(run: Run) -> None:
    ended = run("help", "backup", "dosmartscan")
    assert (ended.status, ended.err) == (0, "")
    assert "backupng backup doSmartScan [attr1 value1" in ended.out


def test_the_version_is_told(run: Run) -> None:
    assert "version" in run("--version", "--json").response("localhost")
