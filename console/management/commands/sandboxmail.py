"""`manage.py sandboxmail`: takes mail by SMTP for the accounts of this host's sandboxes.

It listens where EMAIL_URL says that mail is handed in, on loopback only, with the socket of who
started it if there is one. To the sandboxes it is their mail transfer agent: mail for anybody else
is refused.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
import threading
from argparse import ArgumentParser
from collections.abc import Awaitable, Sequence
from email.utils import format_datetime
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from django.conf import settings
from django.core.management.base import CommandError
from django.db import connections
from django.utils import timezone

from backupng.engine.errors import BackupError, InvalidItem
from console import connect, hosting
from console.management.base import HostCommand
from console.models import Server

logger = logging.getLogger(__name__)

LARGEST_BYTES = 50 << 20
_LOWEST_PORT = 1024
_NO_SUCH_ACCOUNT = "550 5.1.1 No such account here"
_NOT_NOW = "451 4.3.0 The mailbox cannot be written now, try again later"


class Command(HostCommand):
    """Listens until a signal comes."""

    help = "Take mail by SMTP for the sandboxes of this host, where EMAIL_URL says."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the socket of who starts it, and keeps the port while it starts again."""
        parser.add_argument("--descriptor", type=int, help="of a socket that listens already")

    def handle(self, *, descriptor: int | None, **_options: Any) -> None:
        """Listen on the loopback address and port of EMAIL_URL."""
        self.prepare()
        host, port = settings.EMAIL_HOST, settings.EMAIL_PORT
        if not _is_loopback(host) or port < _LOWEST_PORT:
            raise CommandError(
                f"EMAIL_URL leads to {host}:{port}; sandboxmail listens on loopback, on a port"
                f" from {_LOWEST_PORT} upwards: EMAIL_URL=smtp://127.0.0.1:2525."
            )
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _signal, _frame: ended.set())
        try:
            listener = _listener(host, port, descriptor)
        except OSError as error:
            raise CommandError(f"{host}:{port} cannot be listened on: {error.strerror}.") from error
        controller = Reception(
            Postman(),
            listener=listener,
            hostname=host,
            port=port,
            server_hostname=socket.gethostname(),
            data_size_limit=LARGEST_BYTES,
            ident="Backup NG sandbox",
        )
        controller.start()
        self.stderr.write(f"sandboxmail: listening on {host}:{port}")
        ended.wait()
        controller.stop()


class Reception(Controller):
    """An SMTP server on a socket that listens already."""

    def __init__(self, postman: Postman, *, listener: socket.socket, **options: Any) -> None:
        super().__init__(postman, **options)
        self._listener = listener

    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        return self.loop.create_server(self._factory_invoker, sock=self._listener)


class Postman:
    """What the SMTP server asks: is that an account of ours, and take this message."""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Accept an address of an account or an alias."""
        try:
            found = await asyncio.to_thread(_account, address)
        except Exception:
            logger.exception("%s could not be looked up", address)
            return _NOT_NOW
        if found is None:
            return f"{_NO_SUCH_ACCOUNT}: {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Deliver to each server's recipients in turn; what fails first is the answer."""
        raw = _trace(server, session, envelope) + bytes(envelope.original_content or b"")
        addresses = ", ".join(envelope.rcpt_tos)
        try:
            await asyncio.to_thread(_deliver, tuple(envelope.rcpt_tos), raw)
        except InvalidItem as error:
            logger.warning("%s: %s", addresses, error)
            return f"554 5.6.0 The mailbox does not take it: {error}"
        except Exception:
            logger.exception("a message to %s could not be delivered", addresses)
            return _NOT_NOW
        return "250 OK"


def _account(address: str) -> tuple[str, str] | None:
    """Return the server and name of the account that has the address; None if none has."""
    try:
        for server in Server.objects.filter(
            kind=connect.SANDBOX, identity__in=("", hosting.identity())
        ):
            with connect.sandbox(server.name) as client:
                if name := client.addressee(address):
                    return server.name, name
    finally:
        connections.close_all()
    return None


def _deliver(addresses: Sequence[str], raw: bytes) -> None:
    """Put a message into the Inboxes, server by server. Raises BackupError."""
    accounts: dict[str, list[str]] = {}
    for address in addresses:
        found = _account(address)
        if found is None:
            raise BackupError(f"The account {address} is gone.")
        server, account = found
        accounts.setdefault(server, []).append(account)
    try:
        for server, names in accounts.items():
            with connect.sandbox(server) as client:
                client.deliver_to_all(names, raw)
    finally:
        connections.close_all()


def _trace(server: SMTP, session: Session, envelope: Envelope) -> bytes:
    """Return the lines a mail server puts on top: where it goes back to, when it was received."""
    now = format_datetime(timezone.localtime())
    lines = (
        f"Return-Path: <{envelope.mail_from}>",
        f"Received: from {session.host_name or 'unknown'} by {server.hostname}; {now}",
    )
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")


def _listener(host: str, port: int, descriptor: int | None) -> socket.socket:
    """Return the socket that was handed over, or a new one. Raises OSError."""
    if descriptor is not None:
        return socket.socket(fileno=descriptor)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
