"""What a Coherency Check finds: flaws, each with its file and its class, and what it counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from backupng.engine.backuppath.layout import Place
from backupng.engine.model import AccountId, ItemId

MOST_LISTED: Final = 50_000
"""Findings that are kept one by one; more are counted, and told to the log."""
MOST_FOREIGN: Final = 10
"""Foreign names that are kept one by one."""
NO_ITEM: Final = ItemId(0)
"""Stands for the directory entry or the mailbox of an account as a whole."""


class Flaw(StrEnum):
    """The classes of findings, in the words of the report."""

    BROKEN_METADATA = "broken metadata"
    MISSING_STATES = "missing states"
    MISSING_BLOB = "missing blob"
    WRONG_DIGEST = "wrong digest"
    WRONG_SIZE = "wrong size"
    COMPRESSED_TWICE = "compressed twice"
    ORPHAN = "orphan"
    READ_ERROR = "read error"
    WRONG_TYPE = "no regular file"


@dataclass(frozen=True, slots=True)
class Finding:
    """One flaw: of which class, in which file of the tree, why; whose, if it is an account's.

    The file of a missing or wrong blob is the blob's; `account` and `item` say who refers to it.
    """

    flaw: Flaw
    path: Place
    why: str
    account: AccountId | None = None
    item: ItemId = NO_ITEM
    is_current: bool = False
    """True of a blob that the item's last living state refers to: the mail server may have it."""

    def __str__(self) -> str:
        return f"{self.flaw}: {self.path}: {self.why}"


@dataclass(slots=True)
class Findings:
    """All that was found, in the order it was; `tell` hears of each at once."""

    tell: Callable[[Finding], None] = lambda _: None
    found: list[Finding] = field(default_factory=list)
    flaws: Counter[Flaw] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    """accounts, metadata_files, states, blobs, bytes_read, torn_tails, pending, foreign_names;
    of blobs that nobody refers to, on_their_way and unjudged."""

    foreign: list[Place] = field(default_factory=list)
    """The first few of what lies in the tree and is not the tree's."""
    is_blind: bool = False
    """Metadata is gone, and nobody knows what it referred to: nothing can be called an orphan."""

    def leave(self, path: Place) -> None:
        """Count what is not the tree's, and is left alone."""
        self.counts["foreign_names"] += 1
        if len(self.foreign) < MOST_FOREIGN:
            self.foreign.append(path)

    def add(self, finding: Finding) -> None:
        """Take a finding in."""
        self.flaws[finding.flaw] += 1
        self.tell(finding)
        if len(self.found) < MOST_LISTED:
            self.found.append(finding)

    @property
    def total(self) -> int:
        """How many findings there are."""
        return self.flaws.total()

    @property
    def unread(self) -> int:
        """How much there is that nobody can look into."""
        return self.flaws[Flaw.READ_ERROR] + self.flaws[Flaw.WRONG_TYPE]

    @property
    def hides_references(self) -> bool:
        """Whether something may refer to what nothing seems to refer to."""
        return self.is_blind or self.unread > 0

    @property
    def left_out(self) -> int:
        """How many are counted only."""
        return self.total - len(self.found)
