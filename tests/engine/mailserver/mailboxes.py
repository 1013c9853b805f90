"""A sandbox with one mailbox, for tests that change it step by step and look at its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from backupng.engine.mailserver.sandbox import arrivals
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.metadata import Value, decode_column
from backupng.engine.model import DirectoryEntry, ItemId
from backupng.engine.redolog.header import SIZE
from backupng.engine.redolog.reader import END, RedoLog
from backupng.engine.redolog.records import Record, Stop

NOW_MS = 1_790_000_000_000
ADDRESS = "alice@example.com"
EVENT: Final = """BEGIN:VCALENDAR\r
VERSION:2.0\r
BEGIN:{kind}\r
UID:{uid}\r
DTSTAMP:20260101T000000Z\r
DTSTART:20260102T090000Z\r
SUMMARY:Meeting\r
END:{kind}\r
END:VCALENDAR\r
"""
CARD: Final = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Zo\r\nN:Zo;;;;\r\nEND:VCARD\r\n"
_Result = TypeVar("_Result")


class _TakenBackError(Exception):
    """Only asked."""


@dataclass
class Box:
    """One account's mailbox; every step is a change of its own, a second after the one before."""

    sandbox: Sandbox
    account: DirectoryEntry
    now_ms: int = NOW_MS

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Make one change."""
        self.now_ms += 1000
        with self.sandbox.change(self.account, now_ms=self.now_ms) as change:
            yield change

    def do(self, step: Callable[..., _Result], *arguments: Any, **options: Any) -> _Result:
        """Take one step of `arrivals` or `edits`."""
        with self.change() as change:
            return step(change, *arguments, **options)

    def ask(self, step: Callable[..., _Result], *arguments: Any) -> _Result:
        """Return what a step answers, and take it back."""
        answers = []
        with suppress(_TakenBackError), self.change() as change:
            answers.append(step(change, *arguments))
            raise _TakenBackError
        return answers[0]

    def deliver(self, raw: bytes = b"", *, folder: int = 2, **options: Any) -> ItemId:
        """Deliver a message."""
        raw = raw or message("Hello")
        return self.do(arrivals.deliver, raw, folder=folder, date=self.now_ms // 1000, **options)

    def save(self, raw: bytes, name: str = "plan.txt") -> ItemId:
        """Save a document."""
        return self.do(
            arrivals.save_document,
            raw,
            name=name,
            content_type="text/plain",
            creator=self.account.name,
        )

    @property
    def mailbox(self) -> dict[str, Any]:
        """The row of the mailbox."""
        (row,) = self.select("zimbra", "mailbox", "account_id = ?", self.account.entry_id)
        return row

    def row(self, item: int) -> dict[str, Any]:
        """Return an item's row."""
        (row,) = self.rows("mail_item", "id = ?", item)
        return row

    def values(self, item: int) -> dict[str, Value]:
        """Return an item's metadata."""
        return decode_column(self.row(item)["metadata"])

    def rows(self, table: str, where: str = "1", *parameters: Any) -> list[dict[str, Any]]:
        """Return rows of a table of the mailbox's group."""
        return self.select(f"mboxgroup{self.mailbox['group_id']}", table, where, *parameters)

    def select(self, schema: str, table: str, where: str, *parameters: Any) -> list[dict[str, Any]]:
        """Return rows of any table."""
        database = self.sandbox.database
        name = database.table(schema, table)
        return list(database.rows(f"SELECT * FROM {name} WHERE {where}", *parameters))  # noqa: S608

    def set_row(self, item: int, **columns: Any) -> None:
        """Write columns of an item's row past the server, whatever they are."""
        database = self.sandbox.database
        table = database.table(f"mboxgroup{self.mailbox['group_id']}", "mail_item")
        database.update(table, columns, mailbox_id=self.mailbox["id"], id=item)

    def set_mailbox(self, **columns: Any) -> None:
        """Write columns of the mailbox's row past the server."""
        database = self.sandbox.database
        database.update(database.table("zimbra", "mailbox"), columns, id=self.mailbox["id"])

    def blob_files(self) -> set[str]:
        """Return the names of all blob files of the server."""
        return {path.name for path in self.sandbox.folder.rglob("*.msg")}


@contextmanager
def open_box(folder: Path) -> Iterator[Box]:
    """Make a server with one empty mailbox in `folder`."""
    with Sandbox.create(folder / "server", name="mail1", domain="example.com", seed=1) as sandbox:
        account = sandbox.create_account(
            ADDRESS, "a1b2c3d4-0000-4000-8000-000000000001", now_ms=NOW_MS, attributes={}
        )
        yield Box(sandbox, account)


def message(subject: str, *headers: str, body: str = "Hello.") -> bytes:
    """Return a message with more header lines on request."""
    lines = ["From: Eve <eve@example.org>", "To: alice@example.com", f"Subject: {subject}"]
    return "\r\n".join([*lines, *headers, "", body, ""]).encode()


def thread(subject: str, own_id: str, *answered: str) -> bytes:
    """Return a message that names itself and those it answers."""
    references = " ".join(f"<{each}@example.org>" for each in answered)
    more = [f"References: {references}"] if answered else []
    return message(subject, f"Message-ID: <{own_id}@example.org>", *more)


def records(path: Path, start: int = SIZE) -> list[Record]:
    """Return all records of a log that is whole to its end."""
    with RedoLog(path) as log:
        *found, stop = log.records(start)
    assert isinstance(stop, Stop)
    assert stop.reason == END
    assert all(isinstance(each, Record) for each in found)
    return [each for each in found if isinstance(each, Record)]
