"""What `manage.py run` keeps on a host, and when it takes a worker for one that hangs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from console import hosting
from console.management.commands import run
from console.management.commands.run import Seen
from console.models import QueuedOperation, Server, State
from tests.processes import open_port

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LONG_S = 3600.0


def seen(name: str = "mail1", *, is_sandbox: bool = True, ago_s: float | None = 10.0) -> Seen:
    heard_at = None if ago_s is None else NOW - timedelta(seconds=ago_s)
    return Seen(name=name, is_sandbox=is_sandbox, heard_at=heard_at)


def test_each_server_of_the_host_has_a_worker_beside_the_web_process(data: Path) -> None:
    found = run.services([seen("mail1"), seen("mail2")], web_port=8000, mail_port=0)

    assert [service.name for service in found] == ["web", "worker mail1", "worker mail2"]
    assert found[2].environment["BACKUPNG_SERVER"] == "mail2"
    assert {service.environment["BACKUPNG_DATA"] for service in found} == {str(data)}


def test_with_a_port_for_mail_all_hand_it_in_there(data: Path) -> None:
    found = run.services([seen()], web_port=8000, mail_port=2525)

    assert "sandboxmail" in [service.name for service in found]
    assert {service.environment["EMAIL_URL"] for service in found} == {"smtp://127.0.0.1:2525"}


def test_sandboxes_take_the_mail_where_nobody_said_where_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EMAIL_URL", raising=False)
    assert run.mail_port([seen()]) >= 2525
    assert run.mail_port([seen(), seen("zimbra1", is_sandbox=False)]) == 0

    monkeypatch.setenv("EMAIL_URL", "smtp://relay")
    assert run.mail_port([seen()]) == 0


@pytest.mark.parametrize(
    ("ago_s", "settled_s", "is_silent"),
    [
        (201, LONG_S, True),
        (None, LONG_S, True),
        (199, LONG_S, False),
        (LONG_S, 199, False),  # the worker is young, or the database is back only now
    ],
)
def test_a_worker_hangs_that_was_silent_though_it_could_speak(
    ago_s: float | None, settled_s: float, *, is_silent: bool
) -> None:
    assert run.hangs(seen(ago_s=ago_s), settled_s=settled_s, now=NOW) is is_silent


def test_a_running_operation_that_reports_is_a_sign_of_life(server: Server) -> None:
    Server.objects.update(worker_seen_at=NOW - timedelta(hours=1), identity=hosting.identity())
    QueuedOperation.objects.create(
        server=server, seq=1, command="doSmartScan", state=State.STARTED, progress_at=NOW
    )

    assert run.look() == [Seen(name="mail1", is_sandbox=True, heard_at=NOW)]


def test_a_server_of_another_host_is_none_of_ours(server: Server) -> None:
    Server.objects.update(identity="another host")

    assert run.look() == []


def test_a_port_in_use_is_refused_with_one_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_port() as taken:
        monkeypatch.setenv("BACKUPNG_PORT", str(taken))
        with pytest.raises(CommandError, match=rf"Port {taken} is in use; \d+ is free"):
            run.port()


@pytest.mark.parametrize("text", ["web", "0", "65536", "-1"])
def test_what_is_no_port_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BACKUPNG_PORT", text)

    with pytest.raises(CommandError, match="is no port"):
        run.port()


def test_a_second_supervisor_is_refused(data: Path) -> None:
    with (
        hosting.locked(run.LOCK),
        pytest.raises(CommandError, match="is running on the data folder"),
    ):
        call_command("run")
