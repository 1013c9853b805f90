"""A Real-Time Scanner that asks the catalog writes what one that reads all histories writes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from backupng.engine.backuppath.blobs import Packer
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import AccountId
from backupng.engine.scan.known import Index, Known
from backupng.engine.scan.realtime import RealTimeScanner
from tests.engine.scan.scanners import Scanner

ACCOUNT = AccountId("00000000-0000-4000-8000-000000000000")
START_MS = 1_790_000_000_000
ANEW = 0.1
"""So often it begins anew, and with it the first look at all that lives."""


class Asking(Scanner):
    """A scanner with a catalog beside its Backup Path."""

    @contextmanager
    def running(self) -> Iterator[RealTimeScanner]:
        with self.path() as path, self.catalog(path) as catalog:
            path.listener = catalog.take
            scanner = RealTimeScanner(
                self.source,
                path,
                packer=Packer(),
                clock=self.clock,
                log=self.said.append,
                gap=self.gaps.append,
                catalog=catalog,
            )
            with closing(scanner):
                yield scanner

    def catalog(self, path: BackupPath) -> Catalog:
        """Open the catalog."""
        return Catalog(path, self.root.with_name("catalog") / "mail.sqlite3")


def test_a_scanner_that_asks_the_catalog_writes_the_same(tmp_path: Path) -> None:
    run_play(tmp_path, seed=random.SystemRandom().randrange(10**6), steps=25)


@pytest.mark.proofs
@pytest.mark.parametrize("number", range(20))
def test_it_does_so_over_long_plays(tmp_path: Path, number: int) -> None:
    run_play(tmp_path, seed=random.SystemRandom().randrange(10**6) + number, steps=400)


def run_play(folder: Path, *, seed: int, steps: int) -> None:
    print(f"seed {seed}, {steps} steps")  # noqa: T201  # a failure shows it, and can be repeated
    dice = random.Random(seed)  # noqa: S311  # a play, no secrets
    now_ms = START_MS
    with Sandbox.create(folder / "server", name="mail", domain="example.com", seed=seed) as sandbox:
        sandbox.create_account("a@example.com", ACCOUNT, now_ms=START_MS, attributes={})
        play = Play(sandbox, seed=seed)
        reading = Scanner(sandbox.source(), folder / "reading")
        asking = Asking(sandbox.source(), folder / "asking")
        while steps > 0:
            with reading.running() as one, asking.running() as other:
                while steps > 0 and dice.random() > ANEW:
                    steps -= 1
                    now_ms += dice.randrange(1, 2_000)
                    play.step(now_ms=now_ms)
                    for scanner in (one, other):
                        while scanner.turn(0):
                            pass
        assert asking.histories() == reading.histories()
        assert_same_index(asking)


def assert_same_index(asking: Asking) -> None:
    with asking.path() as path, asking.catalog(path) as catalog, path.writer("test") as writer:
        found = Known(path, writer, ACCOUNT, catalog).index
        truth = Known(path, writer, ACCOUNT).index
    assert len(found.briefs) > 10
    assert shown(found) == shown(truth)


def shown(index: Index) -> object:
    folders = {brief.folder_id for brief in index.briefs.values()}
    parents = {brief.parent_id for brief in index.briefs.values()} - {None}
    return (
        index.briefs,
        index.tags,
        index.marked,
        {folder: set(index.inside(folder)) for folder in folders if folder},
        {parent: set(index.children(parent)) for parent in parents if parent},
        {tag: set(index.bearers(tag)) for tag in index.tag_names()},
    )
