"""`manage.py run`: web, a worker per server of this host, mail for sandboxes; all kept alive."""

from __future__ import annotations

import http.client
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from backupng.engine.errors import OperationError
from console import connect, database, hosting
from console.management.base import HostCommand, refusal
from console.models import QueuedOperation, Server, State
from console.supervisor import Service, StopSignal, Supervisor

LOCK = "supervisor.running"
"""Held for life; no server's lock ends like that."""
LOOPBACK = "127.0.0.1"
_DEFAULT_PORT = 8000
_FIRST_MAIL_PORT = 2525
_LOOK_EVERY_S = 3.0
_PROBE_EVERY_S = 0.3
_WAIT_FOR_DATABASE_S = 5.0
_SILENCE = timedelta(seconds=200)
"""A worker that gave no sign of life for so long hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A server of this host, and the last sign of life of its worker."""

    name: str
    is_sandbox: bool
    heard_at: datetime | None


class Command(HostCommand):
    """Keeps everything of this host running, in the foreground."""

    help = "Run web, workers and sandbox mail of this host, and keep them running."

    def handle(self, **_options: Any) -> None:
        """Run until SIGTERM, SIGINT or SIGHUP."""
        with hosting.locked(LOCK) as lock:
            if lock is None:
                raise already_running()
            serve()


def already_running() -> CommandError:
    """Return the refusal of a second supervisor."""
    return CommandError(
        f"Backup NG is running on the data folder {settings.DATA_DIR} already: one is enough."
    )


def port() -> int:
    """Return the port of the web process. Raises CommandError if it cannot be had."""
    text = os.environ.get("BACKUPNG_PORT") or str(_DEFAULT_PORT)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 16:
        raise CommandError(f"BACKUPNG_PORT: {text!r} is no port, which is a number up to 65535.")
    chosen = int(text)
    try:
        bind(chosen)
    except PermissionError as error:
        raise CommandError(
            f"Port {chosen} is for root alone: choose one from 1024 upwards with BACKUPNG_PORT."
        ) from error
    except OSError as error:
        raise CommandError(
            f"Port {chosen} is in use; {free_port(chosen + 1)} is free: set BACKUPNG_PORT to it,"
            " or PORT for ./run demo."
        ) from error
    return chosen


def serve(greet: Callable[[], str] = lambda: "") -> None:
    """Run all services of this host; the caller holds LOCK.

    `greet` is asked once, when the web answers, and what it returns is said after the address.
    """
    stop = StopSignal()
    web_port = port()
    if not _wait_for_database(stop):
        return
    supervisor = Supervisor(stop, logs=hosting.state_folder() / "log", say=say)
    lookout = Lookout(supervisor, web_port=web_port, greet=greet)
    lookout.start()
    try:
        supervisor.run()
    finally:
        lookout.end()


def say(text: str) -> None:
    """Print a line for whoever watches, at once."""
    # Who watched may be gone; that is no reason to stop anything.
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _wait_for_database(stop: StopSignal) -> bool:
    """Wait until the database is there and migrated; False if a signal came first."""
    told = ""
    while not stop.count:
        try:
            database.prepare()
        except OperationError as error:
            why = str(refusal(error))
        except (DatabaseError, InterfaceError) as error:
            first_line, *_more = str(error).splitlines() or ["it gives no reason"]
            why = f"The database does not answer: {first_line}."
            connection.close()
        else:
            connection.close()
            return True
        if why != told:
            say(f"{why} Waiting for it.")
            told = why
        stop.wait(_WAIT_FOR_DATABASE_S)
    return False


class Lookout(threading.Thread):
    """Tells the supervisor what there is to keep and which worker hangs, by the database.

    While that is away, nothing is told, so everything goes on as it is.
    """

    def __init__(self, supervisor: Supervisor, *, web_port: int, greet: Callable[[], str]) -> None:
        super().__init__(name="lookout", daemon=True)
        self._supervisor = supervisor
        self._web_port = web_port
        self._greet: Callable[[], str] | None = greet
        self._ended = threading.Event()
        self._mail_port: int | None = None
        """0 for mail that goes where the settings say; decided when there are servers."""
        self._reachable_since: float | None = None

    def run(self) -> None:
        """Look until the end."""
        next_look = 0.0
        while not self._ended.is_set():
            if time.monotonic() >= next_look:
                self._look()
                next_look = time.monotonic() + _LOOK_EVERY_S
            if self._greet and _answers(self._web_port):
                self._say_address(self._greet)
            self._ended.wait(_PROBE_EVERY_S if self._greet else _LOOK_EVERY_S)

    def _say_address(self, greet: Callable[[], str]) -> None:
        try:
            greeting = greet()
        except (DatabaseError, InterfaceError):
            return
        finally:
            connection.close()
        self._greet = None
        say(f"{_address(self._web_port)}{greeting}")

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join(timeout=_LOOK_EVERY_S)

    def _look(self) -> None:
        try:
            servers = look()
        except (DatabaseError, InterfaceError, OSError):
            self._reachable_since = None
            return
        finally:
            connection.close()
        self._reachable_since = self._reachable_since or time.monotonic()
        if self._mail_port is None and servers:
            self._mail_port = mail_port(servers)
        self._supervisor.want(services(servers, web_port=self._web_port, mail_port=self._mail_port))
        reachable_s = time.monotonic() - self._reachable_since
        for server in servers:
            worker = _worker(server.name)
            settled_s = min(reachable_s, self._supervisor.age_s(worker))
            if hangs(server, settled_s=settled_s, now=timezone.now()):
                self._supervisor.replace(worker)


def hangs(server: Seen, *, settled_s: float, now: datetime) -> bool:
    """Say whether a server's worker is silent, though it had time to speak.

    `settled_s` says for how long it has been there and so has the database.
    """
    if settled_s < _SILENCE.total_seconds():
        return False
    return server.heard_at is None or now - server.heard_at > _SILENCE


def look() -> list[Seen]:
    """Return the servers whose operations run on this host."""
    running = QueuedOperation.objects.filter(state=State.STARTED).exclude(progress_at=None)
    progress = dict(running.values_list("server_id", "progress_at"))
    return [
        Seen(
            name=server.name,
            is_sandbox=server.kind == connect.SANDBOX,
            heard_at=max(
                filter(None, (server.worker_seen_at, progress.get(server.pk))), default=None
            ),
        )
        for server in Server.objects.filter(identity=hosting.identity()).order_by("name")
    ]


def services(servers: Iterable[Seen], *, web_port: int, mail_port: int | None) -> list[Service]:
    """Return what is to run on a host with these servers."""
    environment = dict(os.environ) | {
        "BACKUPNG_DATA": str(settings.DATA_DIR),
        "DJANGO_SETTINGS_MODULE": "backupng.settings",
        "PYTHONUNBUFFERED": "1",
    }
    if mail_port:
        environment["EMAIL_URL"] = f"smtp://{LOOPBACK}:{mail_port}"
    python, django = sys.executable, (sys.executable, "-m", "django")

    def service(name: str, *command: str, **more: str) -> Service:
        return Service(
            name=name, command=command, environment=environment | more, folder=settings.BASE_DIR
        )

    found = [service("web", python, "-m", "gunicorn", *_gunicorn(web_port))]
    if mail_port:
        found.append(service("sandboxmail", *django, "sandboxmail"))
    found += [
        service(_worker(server.name), *django, "worker", server.name, BACKUPNG_SERVER=server.name)
        for server in servers
    ]
    return found


def _gunicorn(web_port: int) -> tuple[str, ...]:
    return (
        *("--bind", f"{LOOPBACK}:{web_port}", "--worker-class", "gthread", "--workers", "1"),
        *("--threads", "8", "--timeout", "60", "--graceful-timeout", "20"),
        *("--no-control-socket", "backupng.wsgi"),
    )


def _worker(server: str) -> str:
    return f"worker {server}"


def mail_port(servers: Iterable[Seen]) -> int:
    """Return the port on which sandboxes take the mail of the console, 0 if they do not.

    They do where nobody said where mail goes, and where there is nothing but sandboxes.
    """
    if os.environ.get("EMAIL_URL") or not all(server.is_sandbox for server in servers):
        return 0
    return free_port(_FIRST_MAIL_PORT)


def free_port(first: int) -> int:
    """Return the first port from `first` upwards that nobody listens on."""
    for number in range(first, 1 << 16):
        try:
            bind(number)
        except OSError:
            continue
        return number
    return 0


def bind(number: int) -> None:
    """Take a port and give it back. Raises OSError when somebody has it."""
    with socket.socket() as probe:
        # As servers do: a connection that has just ended takes no port away.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, number))


def _answers(web_port: int) -> bool:
    probe = http.client.HTTPConnection(LOOPBACK, web_port, timeout=2)
    try:
        probe.request("GET", "/healthz")
        probe.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        probe.close()
    return True


def _address(web_port: int) -> str:
    if settings.TLS:
        return f"web: answers on {LOOPBACK}:{web_port}, for the proxy that speaks TLS"
    return f"web: answers, the console is at http://{LOOPBACK}:{web_port}/"
