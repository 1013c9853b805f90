"""`manage.py demo`: in a new data folder two sandboxes with some history; then all of it running.

Each step is done only if it has not been, so a first start that was cut off is continued by the
next one. A data folder in use is run as it is.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, NoReturn

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import CommandError
from django.utils import timezone

from backupng.engine.operations.smart_scan import SmartScan
from console import browse, connect, hosting, properties, queue
from console.management.base import INTERRUPTED, HostCommand
from console.management.commands import createuser, run
from console.models import OPEN_STATES, QueuedOperation, Server, Setting, State

if TYPE_CHECKING:
    from backupng.engine.mailserver.sandbox.client import SandboxClient

_ADMIN = "admin"
_MAKING = "demo.making"
"""In the state folder from the first step to the last."""
_NO_BACKUP = "no-backup"
_EVERY = 7
"""Of so many messages each kind of work touches one."""
_NEWS = ("Minutes of the meeting", "New phone numbers", "Another room on Thursday")
_PYTHON = ".venv/bin/python"
_SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """One sandbox of the demo."""

    name: str
    domain: str
    seed: int


_PLANS = (
    _Plan(name="mail1", domain="example.com", seed=_SEED),
    _Plan(name="mail2", domain="example.org", seed=_SEED + 1),
)


class Command(HostCommand):
    """Makes the demo where there is none yet, and runs everything in the foreground."""

    help = "Make a demo in a new data folder, and run everything."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare how much there is to be."""
        parser.add_argument("--accounts", type=int, default=6, help="accounts of each server")
        parser.add_argument("--items", type=int, default=220, help="items of each account")

    def handle(self, *, accounts: int, items: int, **_options: Any) -> None:
        """Refuse what would fail in the end, make the demo, run."""
        with hosting.locked(run.LOCK) as lock:
            if lock is None:
                raise run.already_running()
            with run.web_listener() as web:
                run.say(f"demo: data folder {settings.DATA_DIR}")
                self.prepare()
                if _is_wanted():
                    signal.signal(signal.SIGINT, _leave)
                    _make(accounts=accounts, items=items)
                os.environ[run.TRICKLE] = "1"
                run.serve(web, _greeting)


def _leave(_signal: int, _frame: object) -> NoReturn:
    """End at once, wherever the making stands: it goes on after any kill."""
    os.write(sys.stderr.fileno(), b"Interrupted: the next start goes on from here.\n")
    os._exit(INTERRUPTED)


def _is_wanted() -> bool:
    """Say whether the data folder is new, or its first start was cut off."""
    mark = hosting.state_folder() / _MAKING
    if not (Server.objects.exists() or User.objects.exists()):
        mark.touch()
    return mark.exists()


def _make(*, accounts: int, items: int) -> None:
    for plan in _PLANS:
        if not Server.objects.filter(name=plan.name).exists():
            run.say(f"demo: making the mail server {plan.name} for {plan.domain}")
            request = connect.SandboxRequest(
                name=plan.name, domain=plan.domain, accounts=accounts, items=items, seed=plan.seed
            )
            connect.create_sandbox(request)
    address = f"{_ADMIN}@{_PLANS[0].domain}"
    _add_administrator(address)
    _switch_backup_off(_PLANS[1], number=accounts)
    for plan in _PLANS:
        _give_history(Server.objects.get(name=plan.name))
    (hosting.state_folder() / _MAKING).unlink()


def _add_administrator(address: str) -> None:
    """Make the administrator, their mailbox, and have all notifications sent there."""
    with connect.sandbox(_PLANS[0].name) as client:
        if client.addressee(address) is None:
            client.create_account(address)
    if not User.objects.filter(username=_ADMIN).exists():
        createuser.create(_ADMIN, address)
    Setting.objects.get_or_create(
        server=None, name=properties.NOTIFICATION_RECIPIENTS, defaults={"value": address}
    )


def _switch_backup_off(plan: _Plan, *, number: int) -> None:
    """Put the last account into a class of service that is not backed up."""
    with connect.sandbox(plan.name) as client:
        client.set_cos_notes(_NO_BACKUP, "Scratch mailboxes.\n${ZxBackup_Disabled}")
        client.set_cos(f"a{number}@{plan.domain}", _NO_BACKUP)


def _give_history(server: Server) -> None:
    """Have the server scanned, let a day's work happen, and queue a second scan for the worker."""
    second = f"demo: second scan of {server.name}"
    if QueuedOperation.objects.filter(dedupe=second).exists():
        return
    _scan(server)
    run.say(f"demo: some changes on {server.name}")
    with connect.sandbox(server.name) as client:
        for entry in connect.outline(server)["accounts"]:
            _change(client, entry)
    browse.read_cos_flags(server)
    queue.submit(server, SmartScan(), dedupe=second)


def _scan(server: Server) -> None:
    """Run a first SmartScan; one that was cut off is closed, and another one takes its place."""
    scans = QueuedOperation.objects.filter(server=server, command=SmartScan.command)
    if scans.filter(state__in=OPEN_STATES).exists():
        queue.drain(server)
    if scans.filter(state=State.SUCCESSFUL).exists():
        return
    run.say(f"demo: first SmartScan of {server.name}")
    row = queue.submit(server, SmartScan())
    queue.drain(server, until=row.pk)
    row.refresh_from_db()
    if row.state != State.SUCCESSFUL:
        raise CommandError(f"The SmartScan of {server.name} ended as {row.state}: {row.outcome}")


def _change(client: SandboxClient, address: str) -> None:
    """Let some messages be deleted, moved, flagged, and new ones come."""
    items = client.list(address)["items"]
    messages = [item["id"] for item in items if item["type"] == "message"]
    steps = _EVERY * len(_WORK)
    for number, work in enumerate(_WORK):
        for item in messages[number * _EVERY :: steps]:
            work(client, address, item)
    for subject in _NEWS:
        client.deliver(address, _news(address, subject), folder="/Inbox")


_WORK: tuple[Callable[[SandboxClient, str, int], object], ...] = (
    lambda client, address, item: client.delete(address, item),
    lambda client, address, item: client.move(address, item, "/Trash"),
    lambda client, address, item: client.flag(address, item, ["+flagged", "-unread"]),
)


def _news(address: str, subject: str) -> bytes:
    message = EmailMessage()
    message["From"] = f"everyone@{address.partition('@')[2]}"
    message["To"] = address
    message["Subject"] = subject
    message["Date"] = format_datetime(timezone.localtime())
    message.set_content(f"{subject}: the details follow this afternoon.\n")
    return message.as_bytes()


def _greeting() -> str:
    """Return how to log in; the password is made now, and this is the one time it is shown."""
    user = User.objects.filter(username=_ADMIN).first()
    if user is None:
        return ""
    again = f"BACKUPNG_DATA={shlex.quote(str(settings.DATA_DIR))} {_PYTHON} manage.py"
    hint = f"  A new password: {again} createuser {_ADMIN} --reset"
    if user.has_usable_password():
        return f"\n  Log in as {_ADMIN}.\n{hint}"
    password = createuser.give_password(user)
    return f"\n  Log in as {_ADMIN} with the password {password} (shown this once).\n{hint}"
