"""The corpus of the comparison: messages as files, and an index of them.

`../shared/bench/make_corpus.py` makes it where it is there, `letters` a like one where it is not. A
corpus is made once and kept. `accounts.jsonl` has one account a line, `index.jsonl` one message.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench import letters
from tests.bench.engine import ROOT
from tests.bench.peers import PLACE

_MAKER: Final = ROOT.parent / "shared" / "bench" / "make_corpus.py"


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus in its folder."""

    folder: Path

    def accounts(self) -> Iterator[dict[str, Any]]:
        """Yield the accounts: id, name, mailbox (its number, from 1)."""
        return _lines(self.folder / "accounts.jsonl")

    def entries(self) -> Sequence[dict[str, Any]]:
        """Return the messages: mailbox, path, date, flags, folder."""
        return list(_lines(self.folder / "index.jsonl"))

    def raw(self, entry: dict[str, Any]) -> bytes:
        """Return the bytes of a message."""
        return Path(self.folder, entry["path"]).read_bytes()


def corpus(*, accounts: int, items: int, seed: int = 1) -> Corpus:
    """Return a corpus, made if it is not there yet; the same numbers, the same bytes."""
    folder = PLACE / f"corpus-{accounts}-{items}-{seed}"
    if not (folder / "corpus.json").exists():
        making = folder.with_name(f"{folder.name}.making")
        shutil.rmtree(making, ignore_errors=True)
        if _MAKER.exists():
            numbers = ("--accounts", accounts, "--messages", items, "--seed", seed)
            command = [sys.executable, _MAKER, "--out", making, *numbers]
            subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
        else:
            letters.make(making, accounts=accounts, items=items, seed=seed)
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    return Corpus(folder)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
