"""What `manage.py run` keeps on a host, and when it takes a worker for one that hangs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django_q.models import Schedule

from console import bells, hosting
from console.management.commands import run
from console.management.commands.run import Listeners, Seen, Silence
from console.management.commands.worker import hasten_ticks, plan_tick
from console.models import QueuedOperation, Server, State
from tests.processes import open_port, own_port

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
EVERY_S = 3.0


@pytest.fixture
def web() -> Iterator[socket.socket]:
    with run.listen(0) as listener:
        yield listener


def seen(
    name: str = "mail1",
    *,
    is_sandbox: bool = True,
    ticked_at: datetime | None = NOW,
    reported_at: datetime | None = None,
) -> Seen:
    return Seen(name=name, is_sandbox=is_sandbox, ticked_at=ticked_at, reported_at=reported_at)


def silent_s(*signs: Seen, every_s: float = EVERY_S) -> float:
    """Return what is measured in the end, one sign at each look."""
    silence, found = Silence(), {}
    for now, sign in zip(count(1000.0, every_s), signs, strict=False):
        found = silence.measure([sign], now=now)
    return found["mail1"]


def test_each_server_of_the_host_has_a_worker_beside_the_web_process(
    data: Path, web: socket.socket
) -> None:
    found = run.services([seen("mail1"), seen("mail2")], Listeners(web=web))

    assert [service.name for service in found] == [
        *("web", "worker mail1", "scanner mail1", "worker mail2", "scanner mail2")
    ]
    assert found[3].environment["BACKUPNG_SERVER"] == "mail2"
    assert {service.environment["BACKUPNG_DATA"] for service in found} == {str(data)}


def test_with_a_port_for_mail_all_hand_it_in_there(data: Path, web: socket.socket) -> None:
    with run.listen(0) as mail:
        found = run.services([seen()], Listeners(web=web, mail=mail))
        url = f"smtp://127.0.0.1:{mail.getsockname()[1]}"

    assert "sandboxmail" in [service.name for service in found]
    assert {service.environment["EMAIL_URL"] for service in found} == {url}


def test_sandboxes_take_the_mail_where_nobody_said_where_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EMAIL_URL", raising=False)
    assert run.mail_listener([seen(), seen("zimbra1", is_sandbox=False)]) is None

    monkeypatch.setenv("EMAIL_URL", "smtp://relay")
    assert run.mail_listener([seen()]) is None


def test_consoles_that_start_at_once_never_share_the_port_of_their_mail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EMAIL_URL", raising=False)
    found = [run.mail_listener([seen()]) for _ in range(2)]

    ports = {each.getsockname()[1] for each in found if each}
    for each in filter(None, found):
        each.close()
    assert len(ports) == 2
    assert min(ports) >= 2525


# Who hangs


def test_a_worker_without_a_new_sign_is_silent_for_as_long_as_was_looked_on() -> None:
    assert silent_s(*[seen()] * 70) == 69 * EVERY_S
    assert silent_s(*[seen(ticked_at=None)] * 70) == 69 * EVERY_S


def test_a_tick_and_a_report_of_the_operation_are_signs_of_life() -> None:
    later = NOW + timedelta(seconds=1)
    assert silent_s(*[seen()] * 60, seen(ticked_at=later)) == 0
    assert silent_s(*[seen()] * 60, seen(reported_at=later), seen(reported_at=later)) == EVERY_S


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_that_is_set_neither_makes_a_worker_silent_nor_hides_that_it_is(
    step: timedelta,
) -> None:
    reports = [seen(reported_at=NOW + step + timedelta(seconds=n)) for n in range(60)]

    assert silent_s(*[seen()] * 5, *reports) == 0
    assert silent_s(*[seen(ticked_at=NOW + step)] * 70) == 69 * EVERY_S


def test_while_nobody_looked_on_no_worker_was_silent() -> None:
    assert silent_s(*[seen()] * 5, every_s=205) == 0


def test_the_ticks_that_a_clock_set_back_puts_off_come_now(server: Server) -> None:
    plan_tick(server)
    Schedule.objects.update(next_run=NOW + timedelta(days=3650))

    hasten_ticks(["another"])
    assert Schedule.objects.get().next_run == NOW + timedelta(days=3650)
    hasten_ticks([server.name])

    tick = Schedule.objects.get()
    assert (tick.func, tick.cluster) == (bells.TICK, bells.cluster(server.name))
    assert tick.next_run < NOW + timedelta(days=3650)


def test_a_running_operation_that_reports_is_a_sign_of_life(server: Server) -> None:
    Server.objects.update(worker_seen_at=NOW - timedelta(hours=1), identity=hosting.identity())
    QueuedOperation.objects.create(
        server=server, seq=1, command="doSmartScan", state=State.STARTED, progress_at=NOW
    )

    assert run.look() == [seen(ticked_at=NOW - timedelta(hours=1), reported_at=NOW)]


def test_a_server_of_another_host_is_none_of_ours(server: Server) -> None:
    Server.objects.update(identity="another host")

    assert run.look() == []


def test_a_port_in_use_is_refused_with_one_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_port() as taken:
        monkeypatch.setenv("BACKUPNG_PORT", str(taken))
        with pytest.raises(CommandError, match=rf"Port {taken} is in use; \d+ is free"):
            run.web_listener()


def test_the_port_of_the_web_is_taken_before_the_web_process_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BACKUPNG_PORT", str(own_port()))

    with run.web_listener(), pytest.raises(CommandError, match="is in use"):
        run.web_listener()


@pytest.mark.parametrize("text", ["web", "0", "65536", "-1"])
def test_what_is_no_port_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BACKUPNG_PORT", text)

    with pytest.raises(CommandError, match="is no port"):
        run.web_listener()


def test_a_second_supervisor_is_refused(data: Path) -> None:
    with (
        hosting.locked(run.LOCK),
        pytest.raises(CommandError, match="is running on the data folder"),
    ):
        call_command("run")
