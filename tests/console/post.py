"""Real SMTP servers for tests: one that takes everything, and ones that do not."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Office:
    """Takes mails and keeps them; `refused` answers by recipient, `lost` are hung up on."""

    def __init__(self) -> None:
        self.received: list[tuple[str, EmailMessage]] = []
        self.tried: list[str] = []
        self.sessions: set[int] = set()
        self.refused: dict[str, str] = {}
        self.lost: set[str] = set()
        self.meanwhile: list[Callable[[], object]] = []
        """What is done, once, while a mail is being handed in."""

    @property
    def addresses(self) -> list[str]:
        """The recipients in the order of arrival."""
        return [address for address, _ in self.received]

    async def handle_RCPT(  # noqa: N802 - the name is aiosmtpd's
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Take a recipient, refuse it, or hang up."""
        self.sessions.add(id(session))
        self.tried.append(address)
        if address in self.lost:
            transport: Any = server.transport
            transport.abort()
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the name is aiosmtpd's
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Keep a mail, once per recipient."""
        if self.meanwhile:
            await asyncio.get_running_loop().run_in_executor(None, self.meanwhile.pop())
        content: Any = envelope.content
        read = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(read, EmailMessage)
        self.received += [(address, read) for address in envelope.rcpt_tos]
        return "250 OK"


class _Counter(Controller):
    """Serves on a port that is its own from the start, so that no other test can take it."""

    def __init__(self, office: Office) -> None:
        self._bound = socket.create_server(("127.0.0.1", 0))
        super().__init__(office, hostname="127.0.0.1", port=self._bound.getsockname()[1])

    def _create_server(self) -> Any:
        return self.loop.create_server(self._factory_invoker, sock=self._bound)


@contextmanager
def open_office(office: Office) -> Iterator[int]:
    """Serve SMTP on a free port and yield it."""
    counter = _Counter(office)
    counter.start()
    try:
        yield counter.port
    finally:
        counter.stop()


@contextmanager
def mute_office() -> Iterator[int]:
    """Yield the port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@contextmanager
def no_office() -> Iterator[int]:
    """Yield a port that is taken and where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
