"""Whatever happens to a catalog, its answers are those that the tree gives (P25).

Writers write, some of them without a report; the file is deleted, cut, swapped, replaced by an
older one, filled with rubbish; histories are damaged and taken away. Again and again everything is
asked, and compared with what reading the whole tree says.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.model import AccountId, Digest, ItemId, ItemKind, ItemState
from tests.engine.backuppath.samples import (
    NOON,
    OWNER,
    SCAN,
    deletion,
    entry,
    mailbox,
    message,
)
from tests.engine.catalog.fromtree import FromTree, asked, differences
from tests.proofs.told import tell

ACCOUNTS = tuple(AccountId(f"{n:08d}-15f8-4727-bb2d-1f7c7a5725b2") for n in range(3))
WORDS = ("ordine", "GRÜSSE", "half \ud83d", "ß", "")
NUMBERED = count(1)


class Play:
    """One tree, its catalog, and what may happen to the two."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311  # a play, no secrets
        self.root, self.file = folder / "tree", folder / "catalog" / "mail.sqlite3"
        self.folder = folder
        self.root.mkdir()
        self.path = BackupPath.open_or_create(self.root, OWNER, now=NOON)
        self.catalog = self._opened()
        self.mod = 0
        self.digests: list[Digest] = []
        self.older: list[Path] = []

    def close(self) -> None:
        self.catalog.close()
        self.path.close()

    def _opened(self) -> Catalog:
        return Catalog(self.path, self.file)

    def write(self, *, told: bool = True) -> None:
        """Commit a group of states, an entry, a mailbox; `told`: the catalog hears of it."""
        self.path.listener = self.catalog.take if told else None
        with self.path.writer(SCAN) as writer:
            for account in self.dice.sample(ACCOUNTS, self.dice.randrange(1, 3)):
                for _ in range(self.dice.randrange(8)):
                    digest, _, _ = writer.add_blob([b"%d" % self.dice.randrange(6)])
                    self.digests = sorted({*self.digests, digest})
                    writer.add_states(account, [self._state(digest)])
                if self.dice.random() < 0.3:
                    found = entry(entry_id=account, zimbraMailHost=b"mail")
                    writer.add_entry(replace(found, deleted=self.dice.random() < 0.3))
                if self.dice.random() < 0.3:
                    found_box = mailbox(self.mod)
                    box = replace(found_box.mailbox, account_id=account)
                    writer.add_mailbox(replace(found_box, mailbox=box))
            writer.commit()
            writer.refused.clear()

    def _state(self, digest: Digest) -> ItemState:
        self.mod += 1
        item = self.dice.randrange(1, 12) * 100 + self.dice.randrange(2)
        if self.dice.random() < 0.2:
            return deletion(item, self.mod)
        changes: dict[str, Any] = {
            "kind": self.dice.choice((ItemKind.MESSAGE, ItemKind.FOLDER, ItemKind.TAG)),
            # Clocks run backwards now and then: the order of the lines counts.
            "start": NOON + timedelta(seconds=self.mod + self.dice.choice((0, 0, -5))),
            "folder_id": ItemId(self.dice.randrange(1, 4)),
            "name": self.dice.choice((None, "half \ud83d", "Grüsse", "x" * 40)),
            "tags": tuple(self.dice.sample(WORDS, self.dice.randrange(3))),
            "size": self.dice.choice((None, 5, 70)),
            "digest": self.dice.choice((None, digest)),
        }
        if self.dice.random() < 0.2:
            changes["side_rows"] = {"revision": ({"version": 1, "blob_digest": digest},)}
        if self.dice.random() < 0.05:
            changes["name"] = "y" * (1 << 20)
        return message(item, self.mod, **changes)

    def untold(self) -> None:
        """Have a writer write that is killed before its report."""
        self.write(told=False)

    def deleted(self) -> None:
        """Take the catalog away; now and then with somebody having it open."""
        self._close_perhaps()
        self.file.unlink(missing_ok=True)

    def cut(self) -> None:
        self.catalog.close()
        if self.file.exists():
            with self.file.open("r+b") as file:
                file.truncate(self.dice.randrange(self.file.stat().st_size + 1))

    def rubbish(self) -> None:
        self.catalog.close()
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_bytes(self.dice.randbytes(self.dice.randrange(20_000)))

    def swapped(self) -> None:
        """Put the catalog of another tree in its place."""
        self._close_perhaps()
        other = self.folder / f"other {next(NUMBERED)}"
        other.mkdir()
        with (
            BackupPath.open_or_create(other, OWNER, now=NOON) as path,
            Catalog(path, other / "catalog") as catalog,
        ):
            catalog.unreferenced([])
        self.file.parent.mkdir(exist_ok=True)
        (other / "catalog").rename(self.file)

    def kept(self) -> None:
        """Copy the catalog as it is, for later."""
        self.catalog.close()
        if self.file.exists():
            copy = self.folder / f"older {next(NUMBERED)}"
            shutil.copy(self.file, copy)
            self.older.append(copy)

    def aged(self) -> None:
        """Put an older catalog in its place."""
        if self.older:
            if self.dice.random() < 0.5:
                self.catalog.close()
            else:
                self.file.unlink(missing_ok=True)
            shutil.copy(self.dice.choice(self.older), self.file)

    def damaged(self) -> None:
        """Change a byte of a history, or take it away."""
        files = sorted(self.root.glob("accounts/*/items/*/*"))
        if files:
            file = self.dice.choice(files)
            data = bytearray(file.read_bytes())
            account = AccountId(file.parts[-4])
            with self.path.tree.locked(layout.account_folder(account)):
                if self.dice.random() < 0.5 or not data:
                    file.unlink()
                else:
                    data[self.dice.randrange(len(data))] ^= 1
                    file.write_bytes(data)

    def _close_perhaps(self) -> None:
        if self.dice.random() < 0.7:
            self.catalog.close()

    def compare(self) -> None:
        before = self.dice.choice((None, NOON + timedelta(seconds=self.dice.randrange(90))))
        word = self.dice.choice(WORDS)
        truth = FromTree(self.path).answers(before, self.digests, word)
        assert differences(asked(self.catalog, self.path, before, self.digests, word), truth) == []

    def step(self) -> None:
        steps: tuple[Callable[[], None], ...] = (
            *(self.write, self.write, self.write, self.untold, self.deleted, self.cut),
            *(self.rubbish, self.swapped, self.kept, self.kept, self.aged, self.damaged),
        )
        chosen = self.dice.choice(steps)
        print(chosen.__name__)  # noqa: T201
        chosen()
        # A wrong answer may need several steps that nobody asks between.
        if self.dice.random() < 0.6:
            self.compare()


def play(folder: Path, seed: int, steps: int) -> None:
    print(f"seed {seed}, {steps} steps")  # noqa: T201  # a failure shows it, and can be repeated
    folder.mkdir()
    made = Play(folder, seed)
    try:
        for _ in range(steps):
            made.step()
        made.compare()
        tell("P25", 1, f"plays of {steps} steps", seed=seed)
    finally:
        made.close()


def test_the_answers_are_those_of_the_tree(in_memory: Path) -> None:
    play(in_memory / "play", random.SystemRandom().randrange(10**6), 15)


@pytest.mark.proofs
@pytest.mark.parametrize("number", range(300))
def test_the_answers_are_those_of_the_tree_again_and_again(in_memory: Path, number: int) -> None:
    seed = random.SystemRandom().randrange(10**6) + number
    play(in_memory / f"play {number}", seed, 60)
