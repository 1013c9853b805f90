"""A sandbox with the usual mix of changes: 35 % new messages, the rest what happens to them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from backupng.engine.mailserver.sandbox import arrivals, edits, removal
from backupng.engine.mailserver.sandbox.arrivals import Look
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.content.correspondence import Correspondence
from backupng.engine.mailserver.sandbox.content.dice import Dice
from backupng.engine.mailserver.sandbox.content.mail import write
from backupng.engine.mailserver.sandbox.content.people import Person
from backupng.engine.mailserver.sandbox.content.words import LANGUAGES
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.model import DirectoryEntry, EntryKind

START_MS: Final = 1_790_000_000_000
SEED: Final = 1
_LETTERS: Final = 400
_NEW: Final = 0.35
_FOLDERS: Final = (SystemFolder.INBOX, SystemFolder.TRASH, SystemFolder.SENT)
_TAGS: Final = ("Red", "Later", "Tax")


def make_server(folder: Path, *, accounts: int) -> None:
    """Make a server with accounts and nothing in them."""
    with Sandbox.create(folder, name="mail", domain="example.com", seed=SEED) as sandbox:
        for number in range(accounts):
            sandbox.create_account(
                f"a{number}@example.com",
                f"{number:08d}-0000-4000-8000-000000000000",
                now_ms=START_MS,
                attributes={},
            )


@contextmanager
def opened(folder: Path) -> Iterator[Sandbox]:
    """Open a server whose changes need not survive a power cut."""
    with Sandbox.open(folder) as sandbox:
        sandbox.database.run("PRAGMA synchronous=OFF")
        yield sandbox


@dataclass
class Mix:
    """Makes one change after the other, of accounts at random; the same seed, the same changes."""

    sandbox: Sandbox
    seed: int = SEED
    _living: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)  # noqa: S311  # changes, no secrets
        self._accounts = list(self.sandbox.directory.entries(EntryKind.ACCOUNT))
        owner = Person(first="Ada", last="", address=self._accounts[0].name)
        letters = Correspondence(Dice("bench", self.seed), LANGUAGES[0], owner, seed=self.seed)
        # Written before anything is measured.
        self._letters = [
            write(letters.next(number, date_s=START_MS // 1000).letter)
            for number in range(_LETTERS)
        ]
        self._number = 0

    def step(self, now_ms: int) -> None:
        """Make the next change."""
        account = self._dice.choice(self._accounts)
        living = self._living.setdefault(account.name, [])
        self._number += 1
        if not living or self._dice.random() < _NEW:
            living.append(self._receive(account, now_ms))
        else:
            _One(self.sandbox, account, now_ms).act(self._dice, living)

    def _receive(self, account: DirectoryEntry, now_ms: int) -> int:
        letter = self._letters[self._number % _LETTERS]
        raw = b"X-Number: %d\r\n" % self._number + letter
        with self.sandbox.change(account, now_ms=now_ms) as change:
            look = Look(unread=True)
            return arrivals.deliver(
                change, raw, folder=SystemFolder.INBOX, date=change.date, look=look
            )


@dataclass(frozen=True)
class _One:
    """One account, and one moment; a `Series`."""

    sandbox: Sandbox
    account: DirectoryEntry
    now_ms: int

    def change(self) -> AbstractContextManager[Change]:
        """Make the next change of the mailbox."""
        return self.sandbox.change(self.account, now_ms=self.now_ms)

    def act(self, dice: random.Random, living: list[int]) -> None:
        """Do something with one of the living items: flag, move, tag or delete it."""
        item, what = dice.choice(living), dice.random()
        if what < 0.5:
            edits.flag(self, item, [dice.choice("+-") + dice.choice(("unread", "flagged"))])
        elif what < 0.7:
            with self.change() as change:
                edits.move(change, item, dice.choice(_FOLDERS))
        elif what < 0.85:
            with self.change() as change:
                edits.tag(change, item, dice.choice(_TAGS))
        else:
            living.remove(item)
            removal.delete(self, item)
