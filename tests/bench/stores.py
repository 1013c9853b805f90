"""A mail server for the comparison: a sandbox that holds a corpus, and what happens to it later."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backupng.engine.mailserver.sandbox import arrivals, removal
from backupng.engine.mailserver.sandbox.arrivals import Look
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, Mailbox
from tests.bench.corpus import Corpus
from tests.bench.figures import MEMORY
from tests.bench.mailserver import START_MS, opened

_FOLDERS = (SystemFolder.INBOX, SystemFolder.SENT, SystemFolder.TRASH, SystemFolder.JUNK)


@dataclass(frozen=True)
class _Acts:
    """The changes of one mailbox; a `Series`."""

    sandbox: Sandbox
    account: DirectoryEntry

    def change(self) -> AbstractContextManager[Change]:
        """Make the next change of the mailbox."""
        return self.sandbox.change(self.account, now_ms=START_MS)


def load(corpus: Corpus, server: Path, *, every: int = 1) -> None:
    """Make a server in the folder `server` with every so-many-th message of a corpus."""
    # Made in memory: it syncs every message.
    with tempfile.TemporaryDirectory(prefix="backupng-bench-", dir=MEMORY) as memory:
        made = Path(memory) / "server"
        with Sandbox.create(made, name="mail", domain="example.com", seed=1) as sandbox:
            for each in corpus.accounts():
                sandbox.create_account(each["name"], each["id"], now_ms=START_MS, attributes={})
        deliver(corpus, made, corpus.entries()[::every])
        shutil.copytree(made, server)


def deliver(corpus: Corpus, server: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Deliver messages of a corpus; a mailbox's number there is that of the account here."""
    with opened(server) as sandbox, sandbox.writing.making():
        names = {f"user{number}": number for number in range(1, 10_000)}
        accounts = {
            names[each.name.partition("@")[0]]: each
            for each in sandbox.directory.entries(EntryKind.ACCOUNT)
        }
        for entry in entries:
            with sandbox.change(accounts[entry["mailbox"]], now_ms=START_MS) as change:
                _deliver(change, entry, corpus.raw(entry))


def deliver_one(server: Path, raw: bytes) -> None:
    """Deliver one message to the first account."""
    with opened(server) as sandbox:
        account = next(sandbox.directory.entries(EntryKind.ACCOUNT))
        with sandbox.change(account, now_ms=START_MS) as change:
            arrivals.deliver(change, raw, folder=SystemFolder.INBOX, date=change.date)


def delete(server: Path, share: float, *, seed: int) -> None:
    """Delete a share of all messages for good."""
    dice = random.Random(seed)  # noqa: S311  # a choice, no secret
    with opened(server) as sandbox:
        for account in list(sandbox.directory.entries(EntryKind.ACCOUNT)):
            ids = sorted(_messages(sandbox, sandbox.mailbox(account)))
            for item in dice.sample(ids, round(len(ids) * share)):
                removal.delete(_Acts(sandbox, account), item)


def sizes(server: Path) -> list[tuple[int, AccountId, Path]]:
    """Return how many messages each account has, its id and its folder in the store, least first.

    The folder is Zimbra's: `store/<number >> 12>/<number>`.
    """
    with Sandbox.open(server) as sandbox:
        found = []
        for account in sandbox.directory.entries(EntryKind.ACCOUNT):
            mailbox = sandbox.mailbox(account)
            number = mailbox.mailbox_id
            folder = server / "store" / str(number >> 12) / str(number)
            count = sum(1 for _ in _messages(sandbox, mailbox))
            found.append((count, AccountId(account.entry_id), folder))
        return sorted(found)


def _messages(sandbox: Sandbox, mailbox: Mailbox) -> Iterator[int]:
    table = sandbox.database.table(f"mboxgroup{mailbox.group_id}", "mail_item")
    sql = f"SELECT id FROM {table} WHERE mailbox_id = ? AND type = 5"  # noqa: S608  # a number
    for row in sandbox.database.rows(sql, mailbox.mailbox_id):
        yield row["id"]


def _deliver(change: Change, entry: dict[str, Any], raw: bytes) -> None:
    flags = entry["flags"]
    look = Look(unread="u" in flags, flags="".join(sorted(set(flags) & {"f", "r"})))
    folder = _FOLDERS[entry["folder"] % len(_FOLDERS)]
    arrivals.deliver(change, raw, folder=folder, date=entry["date"], look=look)
