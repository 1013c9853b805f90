"""Old archives of the configuration: gone once replaced longer ago than items are kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from backupng.engine.backuppath import customizations
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.upkeep.purge import Purge, Result, Retention
from tests.engine.upkeep.purging import DAY, LONG_AGO

ROME = ZoneInfo("Europe/Rome")
NOW = LONG_AGO + 40 * DAY


@pytest.fixture
def made(path: BackupPath) -> list[datetime]:
    """Return when four archives were made: the second was replaced 30 days and a second ago."""
    moments = [NOW - 39 * DAY, NOW - 35 * DAY, NOW - 30 * DAY - timedelta(seconds=1), NOW - DAY]
    folder = path.tree.root / "server"
    folder.mkdir(exist_ok=True)
    for moment in moments:
        (folder / customizations.name_of(moment.astimezone(ROME))).write_bytes(b"archive")
    (folder / "customizations.tar.gz").touch()
    return moments


def purge(path: BackupPath, *, days: int | None = 30, removes: bool = True) -> Purge:
    return Purge(
        path=path,
        retention=Retention(items_days=days, accounts_days=None),
        now=lambda: NOW,
        tick=lambda *_, **__: None,
        customizations_zone=ROME if removes else None,
    )


def left(path: BackupPath) -> list[str]:
    return [each.name for each in customizations.archives(path.tree)]


def names(moments: list[datetime]) -> list[str]:
    return [customizations.name_of(each.astimezone(ROME)) for each in moments]


def test_an_archive_goes_when_it_was_replaced_longer_ago_than_items_are_kept(
    path: BackupPath, made: list[datetime]
) -> None:
    foretold = purge(path).look()
    untouched = left(path)
    done = purge(path).run()

    assert untouched == names(made)
    assert left(path) == names(made[2:])
    assert told(foretold) == told(done) == (2, 14)
    assert (path.tree.root / "server" / "customizations.tar.gz").exists()


def told(result: Result) -> tuple[int, int]:
    return result.counts()["customizations_removed"], result.freed


def test_the_newest_stays_however_old(path: BackupPath, made: list[datetime]) -> None:
    purge(path, days=0).run()

    assert left(path) == names(made[3:])


def test_none_goes_with_the_property_off(path: BackupPath, made: list[datetime]) -> None:
    purge(path, removes=False).run()

    assert left(path) == names(made)


def test_none_goes_when_only_orphans_are_looked_for(path: BackupPath, made: list[datetime]) -> None:
    purge(path, days=None).run()

    assert left(path) == names(made)


def test_what_only_bears_the_name_of_an_archive_stays_and_is_none(
    path: BackupPath, made: list[datetime]
) -> None:
    folder, link = names([NOW - 38 * DAY, NOW - 37 * DAY])
    (path.tree.root / "server" / folder).mkdir()
    (path.tree.root / "server" / folder / "mine").write_bytes(b"mine")
    (path.tree.root / "server" / link).symlink_to(folder)

    foretold = purge(path).look()
    done = purge(path).run()

    assert told(foretold) == told(done) == (2, 14)
    assert left(path) == names(made[2:])
    assert (path.tree.root / "server" / link / "mine").read_bytes() == b"mine"
