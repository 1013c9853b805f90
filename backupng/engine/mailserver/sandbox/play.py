"""play: what users do in the mailboxes of a sandbox, at random and repeatable.

The same seed on the same server draws the same acts. What the server refuses is drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from backupng.engine.errors import ItemError
from backupng.engine.mailserver.sandbox.acts import Turn
from backupng.engine.mailserver.sandbox.content.correspondence import Correspondence
from backupng.engine.mailserver.sandbox.content.dice import Dice
from backupng.engine.mailserver.sandbox.content.people import Person
from backupng.engine.mailserver.sandbox.content.words import LANGUAGES
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.model import DirectoryEntry, EntryKind

_MOST_DRAWN: Final = 50
_NAMES: Final = 10_000
_INBOX, _TRASH, _JUNK = SystemFolder.INBOX, SystemFolder.TRASH, SystemFolder.JUNK
_LEAVES: Final = "id > 255 AND type NOT IN (1, 2, 4, 13)"
_COPIED: Final = "id > 255 AND type IN (5, 6, 8, 9, 16)"
_NAMED: Final = "id > 255 AND type IN (1, 8)"
_COLUMNS: Final = {"mail_item": "id, name, folder_id, tag_names", "tag": "id"}
_RIGHTS: Final = ("r", "rw", "rwidx")


@dataclass
class Play:
    """Random activity on all accounts of a sandbox; `changes` counts what it has changed."""

    sandbox: Sandbox
    seed: int
    changes: int = 0
    _letters: dict[str, Correspondence] = field(default_factory=dict)
    _drawn: int = 0

    def __post_init__(self) -> None:
        self._dice = Dice("play", self.seed)
        # What is made has numbers in its name: another seed makes others.
        self._drawn = self._dice.below(_NAMES)

    def step(self, *, now_ms: int) -> str:
        """Let one user do one thing, and return its name; "" if nothing that was drawn could be."""
        accounts = list(self.sandbox.directory.entries(EntryKind.ACCOUNT))
        for _ in range(_MOST_DRAWN if accounts else 0):
            turn = self._turn(self._dice.pick(accounts), accounts, now_ms)
            act = self._dice.pick(turn.acts())
            before = self.changes
            try:
                is_done = act() is not False
            except ItemError:
                is_done = False
            if is_done or self.changes > before:
                return act.__name__
        return ""

    def _turn(
        self, account: DirectoryEntry, accounts: Sequence[DirectoryEntry], now_ms: int
    ) -> Turn:
        self._drawn += 1
        if account.name not in self._letters:
            number = len(self._letters)
            owner = Person(first=account.first("cn"), last="", address=account.name)
            dice = Dice("play", self.seed, account.name)
            language = LANGUAGES[number % len(LANGUAGES)]
            self._letters[account.name] = Correspondence(dice, language, owner, seed=self.seed)
        return Turn(
            sandbox=self.sandbox,
            seed=self.seed,
            count=self._count,
            account=account,
            accounts=accounts,
            now_ms=now_ms,
            dice=self._dice,
            letters=self._letters[account.name],
            number=self._drawn,
            mailbox=self.sandbox.mailbox(account),
        )

    def _count(self) -> None:
        self.changes += 1
