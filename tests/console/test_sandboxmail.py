"""Mail by SMTP into sandboxes: a real client, a real process, two domains."""

from __future__ import annotations

import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.mailserver.sandbox.server import Sandbox
from tests.commandline import CommandLine, forking
from tests.processes import DEADLINE_S, own_port

SENDER = "backupng@localhost"
ALIAS = "hallo@example.com"


@dataclass(frozen=True)
class Post:
    """Two sandboxes that take mail on a port."""

    backupng: CommandLine
    port: int

    def send(self, *recipients: str, subject: str = "Report") -> dict[str, Any]:
        """Send a message as the console does; returns who was refused."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = SENDER, recipients[0], subject
        message.set_content("Planned 4, restored 4.\n")
        with self.client() as client:
            return dict(client.send_message(message, SENDER, recipients))

    def client(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.port, timeout=DEADLINE_S)

    def subjects(self, server: str, account: str) -> list[str]:
        items = self.backupng.json("sandbox", "list", server, account)["items"]
        return [item["subject"] for item in items if item["folder"] == "/Inbox"]


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    with forking(tmp_path_factory.mktemp("post")) as backupng:
        yield from served(backupng)


def served(backupng: CommandLine) -> Iterator[Post]:
    """Make the sandboxes, and have their mail taken."""
    for name, domain in (("mail1", "example.com"), ("mail2", "example.org")):
        create = ("sandbox", "createServer", name, "domain", domain, "accounts", "1", "items", "0")
        backupng.json(*create)
    with Sandbox.open(backupng.data / "servers" / "mail1") as sandbox, sandbox.locked():
        account = sandbox.account("a1@example.com")
        sandbox.directory.modify(account, {"zimbraMailAlias": (ALIAS.encode(),)})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with listening(backupng, f"smtp://127.0.0.1:{port}", listener.fileno()) as process:
            assert "listening" in said(process)
            yield Post(backupng, port)
            process.terminate()
            assert process.wait(timeout=DEADLINE_S) == 0


@contextmanager
def listening(
    backupng: CommandLine, url: str, *descriptors: int
) -> Iterator[subprocess.Popen[str]]:
    """Run the command; what it says goes to a pipe, and it ends with this at the latest."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "django", "sandboxmail"),
            *(f"--descriptor={descriptor}" for descriptor in descriptors),
        ],
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=descriptors,
        cwd=Path(__file__).resolve().parent.parent.parent,
        env={
            **backupng.environment,
            "EMAIL_URL": url,
            "DJANGO_SETTINGS_MODULE": "backupng.settings",
        },
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """Return the next line that it says; empty if it ends without one."""
    assert process.stderr
    return process.stderr.readline()


def test_a_message_lies_in_the_inbox_of_the_account_and_of_no_other(post: Post) -> None:
    assert post.send("a1@example.org", subject="Für Zwei") == {}

    assert post.subjects("mail2", "a1@example.org") == ["Für Zwei"]
    assert "Für Zwei" not in post.subjects("mail1", "a1@example.com")


def test_an_alias_in_any_case_leads_to_its_account(post: Post) -> None:
    post.send(ALIAS.title(), subject="By alias")

    assert "By alias" in post.subjects("mail1", "a1@example.com")


def test_an_unknown_account_is_refused_and_the_others_have_their_mail(post: Post) -> None:
    refused = post.send("a1@example.com", "nobody@example.com", "a1@example.net", subject="Some")

    assert {address: answer[0] for address, answer in refused.items()} == {
        "nobody@example.com": 550,
        "a1@example.net": 550,
    }
    assert "Some" in post.subjects("mail1", "a1@example.com")


def test_a_message_says_when_it_was_received(post: Post) -> None:
    post.send("a1@example.com", subject="Traced")
    items = post.backupng.json("sandbox", "list", "mail1", "a1@example.com")["items"]
    item = next(item["id"] for item in items if item["subject"] == "Traced")

    raw = post.backupng("sandbox", "getBlob", "mail1", "a1@example.com", item).out

    assert raw.startswith(f"Return-Path: <{SENDER}>\r\nReceived: from ".encode())


def test_what_is_too_large_is_refused_before_it_is_sent(post: Post) -> None:
    with post.client() as client:
        client.ehlo()
        fits = client.docmd("MAIL", f"FROM:<{SENDER}> SIZE={50 << 20}")
        client.rset()
        too_large = client.docmd("MAIL", f"FROM:<{SENDER}> SIZE={(50 << 20) + 1}")

    assert (fits[0], too_large[0]) == (250, 552)


def test_a_store_that_fails_asks_to_try_again(post: Post) -> None:
    store = post.backupng.data / "servers" / "mail2" / "mail.sqlite3"
    store.rename(store.with_suffix(".away"))
    try:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
            post.send("a1@example.org")
    finally:
        store.with_suffix(".away").rename(store)

    assert refusal.value.recipients["a1@example.org"][0] == 451
    assert post.send("a1@example.org") == {}


def test_without_a_socket_it_listens_on_a_port_of_its_own_and_refuses_one_in_use(
    post: Post,
) -> None:
    url = f"smtp://127.0.0.1:{own_port()}"

    with listening(post.backupng, url) as first:
        assert "listening" in said(first)
        with listening(post.backupng, url) as second:
            assert "cannot be listened on: " in said(second)
            assert second.wait(timeout=DEADLINE_S) == 1
        first.terminate()
        assert first.wait(timeout=DEADLINE_S) == 0


@pytest.mark.parametrize("url", ["smtp://192.0.2.1:2525"])
def test_only_a_loopback_port_that_needs_no_root_is_listened_on(post: Post, url: str) -> None:
    with listening(post.backupng, url) as process:
        assert "sandboxmail listens on loopback, on a port from 1024" in said(process)
        assert process.wait(timeout=DEADLINE_S) == 1
