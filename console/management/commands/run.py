"""`manage.py run`: web, worker and scanner of each server, mail for sandboxes; all kept alive."""

from __future__ import annotations

import http.client
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError, connection

from backupng.engine.errors import OperationError
from console import connect, database, hosting
from console.management.base import HostCommand, refusal
from console.management.commands import worker
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
_LONGEST_GAP_S = 5 * _LOOK_EVERY_S
"""After a longer one between two looks, nobody knows who was at work meanwhile."""
_BACKLOG = 512
_WORKER = "worker"
TRICKLE = "BACKUPNG_TRICKLE"
"""Set in the environment, users are at work on the sandboxes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A server of this host, and the last signs of life of its worker."""

    name: str
    is_sandbox: bool
    ticked_at: datetime | None
    reported_at: datetime | None
    """By the operation that runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """The sockets of this host's services.

    They listen here, so that the ports are ours before a service is there and while it restarts.
    """

    web: socket.socket
    mail: socket.socket | None = None
    """None where mail goes where the settings say."""


class Command(HostCommand):
    """Keeps everything of this host running, in the foreground."""

    help = "Run web, workers, scanners and sandbox mail of this host, and keep them running."

    def handle(self, **_options: Any) -> None:
        """Run until SIGTERM, SIGINT or SIGHUP."""
        with hosting.locked(LOCK) as lock:
            if lock is None:
                raise already_running()
            with web_listener() as web:
                serve(web)


def already_running() -> CommandError:
    """Return the refusal of a second supervisor."""
    return CommandError(
        f"Backup NG is running on the data folder {settings.DATA_DIR} already: one is enough."
    )


def web_listener() -> socket.socket:
    """Take the port of the web process, for good. Raises CommandError if it cannot be had."""
    text = os.environ.get("BACKUPNG_PORT") or str(_DEFAULT_PORT)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 16:
        raise CommandError(f"BACKUPNG_PORT: {text!r} is no port, which is a number up to 65535.")
    chosen = int(text)
    try:
        return listen(chosen)
    except PermissionError as error:
        raise CommandError(
            f"Port {chosen} is for root alone: choose one from 1024 upwards with BACKUPNG_PORT."
        ) from error
    except OSError as error:
        raise CommandError(
            f"Port {chosen} is in use; {free_port(chosen + 1)} is free: set BACKUPNG_PORT to it,"
            " or PORT for ./run demo."
        ) from error


def serve(web: socket.socket, greet: Callable[[], str] = lambda: "") -> None:
    """Run all services of this host, the web on that socket; the caller holds LOCK.

    `greet` is asked once, when the web answers, and what it returns is said after the address.
    """
    # Inherited by all: a service that is restarted is no new start of the backup.
    os.environ[hosting.START] = uuid.uuid4().hex
    stop = StopSignal()
    if not _wait_for_database(stop):
        return
    supervisor = Supervisor(stop, logs=hosting.state_folder() / "log", say=say)
    lookout = Lookout(supervisor, web=web, greet=greet)
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

    def __init__(
        self, supervisor: Supervisor, *, web: socket.socket, greet: Callable[[], str]
    ) -> None:
        super().__init__(name="lookout", daemon=True)
        self._supervisor = supervisor
        self._listeners = Listeners(web=web)
        self._knows_mail = False
        """Decided when there are servers."""
        self._web_port: int = web.getsockname()[1]
        self._greet: Callable[[], str] | None = greet
        self._ended = threading.Event()
        self._silence = Silence()

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
            worker.hasten_ticks(server.name for server in servers)
        except (DatabaseError, InterfaceError, OSError):
            self._silence = Silence()
            return
        finally:
            connection.close()
        if servers and not self._knows_mail:
            self._knows_mail = True
            self._listeners = replace(self._listeners, mail=mail_listener(servers))
        self._supervisor.want(services(servers, self._listeners))
        for name, silent_s in self._silence.measure(servers, now=time.monotonic()).items():
            kept = _worker(name)
            if min(silent_s, self._supervisor.age_s(kept)) >= settings.WORKER_SILENCE_S:
                self._supervisor.replace(kept)


class Silence:
    """Measures for how long workers give no sign of life while we look on.

    Signs are compared with one another, never with a clock: that may be set, and while the host
    is paused it goes on without the workers.
    """

    def __init__(self) -> None:
        self._since: dict[Seen, float] = {}
        self._looked = 0.0

    def measure(self, servers: Iterable[Seen], *, now: float) -> dict[str, float]:
        """Return the seconds since each server was first seen with the signs it has now."""
        if now - self._looked > _LONGEST_GAP_S:
            self._since = {}
        self._looked = now
        self._since = {server: self._since.get(server, now) for server in servers}
        return {server.name: now - since for server, since in self._since.items()}


def look() -> list[Seen]:
    """Return the servers whose operations run on this host."""
    running = QueuedOperation.objects.filter(state=State.STARTED).exclude(progress_at=None)
    progress = dict(running.values_list("server_id", "progress_at"))
    return [
        Seen(
            name=server.name,
            is_sandbox=server.kind == connect.SANDBOX,
            ticked_at=server.worker_seen_at,
            reported_at=progress.get(server.pk),
        )
        for server in Server.objects.filter(identity=hosting.identity()).order_by("name")
    ]


def services(servers: Iterable[Seen], listeners: Listeners) -> list[Service]:
    """Return what is to run on a host with these servers."""
    environment = dict(os.environ) | {
        "BACKUPNG_DATA": str(settings.DATA_DIR),
        "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE,
        "PYTHONUNBUFFERED": "1",
    }
    if listeners.mail:
        environment["EMAIL_URL"] = f"smtp://{LOOPBACK}:{listeners.mail.getsockname()[1]}"
    python, django = sys.executable, (sys.executable, "-m", "django")

    def service(name: str, *command: str, takes: tuple[int, ...] = (), **more: str) -> Service:
        return Service(
            name=name,
            command=command,
            environment=environment | more,
            folder=settings.BASE_DIR,
            descriptors=takes,
        )

    web = listeners.web.fileno()
    found = [service("web", python, "-m", "gunicorn", *_gunicorn(web), takes=(web,))]
    if listeners.mail:
        mail = listeners.mail.fileno()
        hand_over = ("--descriptor", str(mail))
        found.append(service("sandboxmail", *django, "sandboxmail", *hand_over, takes=(mail,)))
    if os.environ.get(TRICKLE):
        found.append(service("sandboxplay", *django, "sandboxplay"))
    found += [
        service(f"{kind} {name}", *django, kind, name, BACKUPNG_SERVER=name)
        for name in [server.name for server in servers]
        for kind in (_WORKER, "scanner")
    ]
    return found


def _gunicorn(descriptor: int) -> tuple[str, ...]:
    return (
        *("--bind", f"fd://{descriptor}", "--worker-class", "gthread", "--workers", "1"),
        *("--threads", "8", "--timeout", "60", "--graceful-timeout", "20"),
        # As long as proxies pass on: what is ticked on a history page stands in its address.
        *("--limit-request-line", "8190"),
        *("--no-control-socket", "backupng.wsgi"),
    )


def _worker(server: str) -> str:
    return f"{_WORKER} {server}"


def mail_listener(servers: Iterable[Seen]) -> socket.socket | None:
    """Return a socket on which sandboxes take the mail of the console, None if they do not.

    They do where nobody said where mail goes, and where there is nothing but sandboxes.
    """
    if os.environ.get("EMAIL_URL") or not all(server.is_sandbox for server in servers):
        return None
    return _first_listener(_FIRST_MAIL_PORT)


def free_port(first: int) -> int:
    """Return the first port from `first` upwards that nobody listens on; 0 if there is none."""
    listener = _first_listener(first)
    if listener is None:
        return 0
    with listener:
        number: int = listener.getsockname()[1]
        return number


def _first_listener(first: int) -> socket.socket | None:
    for number in range(first, 1 << 16):
        with suppress(OSError):
            return listen(number)
    return None


def listen(number: int) -> socket.socket:
    """Listen on a port of loopback. Raises OSError when somebody has it.

    Bound alone it would not be ours: two sockets may be, as long as neither listens.
    """
    return socket.create_server((LOOPBACK, number), backlog=_BACKLOG)


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
