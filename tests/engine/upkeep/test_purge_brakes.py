"""What holds a purge back: damage, brakes, the clock; and the trash."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.errors import OperationError
from backupng.engine.model import Digest, ItemId, to_ms
from backupng.engine.upkeep.purge import GRACE
from backupng.engine.upkeep.purge_blobs import Survey
from backupng.engine.upkeep.purge_brakes import brakes
from backupng.engine.upkeep.purge_findings import Marked
from tests.engine.backuppath.samples import (
    ACCOUNT,
    ITEM,
    PLAIN,
    SCAN,
    blob_file,
    entry,
    files,
    item_file,
    message,
)
from tests.engine.upkeep.purging import (
    DAY,
    LONG_AGO,
    age,
    delete,
    has,
    items,
    keep,
    purge,
    run,
    trashed,
)

# --- damage


def test_damage_anywhere_keeps_every_blob_and_is_named(path: BackupPath) -> None:
    digest = keep(path, PLAIN[0], 257)
    keep(path, PLAIN[1], 258)
    delete(path, 257)
    broken = item_file(path, 258)
    broken.write_bytes(broken.read_bytes().replace(b"Ordine", b"ordine"))
    age(path.tree.root)

    result = run(path)

    assert (items(path), has(path, digest)) == ([258], True)
    assert (result.items_purged, result.blobs_removed, result.flaws) == (1, 0, 1)
    assert result.damage == [f"{broken} is damaged: line 1 fails its checksum."]


@pytest.mark.parametrize("is_link", [False, True])
def test_a_link_among_the_accounts_keeps_every_blob_and_a_stray_file_none(
    path: BackupPath,
    is_link: bool,  # noqa: FBT001 - of a table
) -> None:
    digest = keep(path, PLAIN[0])
    delete(path)
    age(path.tree.root)
    stray = path.tree.root / "accounts" / "README"
    stray.symlink_to(path.tree.root) if is_link else stray.write_bytes(b"Do not touch")

    result = run(path)

    assert (result.items_purged, has(path, digest), result.flaws) == (1, is_link, int(is_link))


def test_a_bulk_that_cannot_be_read_is_damage(path: BackupPath) -> None:
    digest = keep(path, PLAIN[0], 257)
    delete(path, 257)
    with path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, [message(258, 11, name="x" * 1_100_000)])
        writer.commit()
    (bulk,) = {each.name for each in path.tree.root.glob("items/*/*")} - {digest}
    blob_file(path, Digest(bulk)).unlink()
    age(path.tree.root)

    result = run(path)

    assert (has(path, digest), result.flaws) == (True, 1)


def test_an_account_that_is_due_and_damaged_stays_until_somebody_has_looked_at_it(
    path: BackupPath,
) -> None:
    keep(path, PLAIN[0], 257)
    keep(path, PLAIN[1], 258)
    with path.writer(SCAN) as writer:
        writer.add_entry(replace(entry(), start=LONG_AGO, deleted=True))
        writer.commit()
    broken = item_file(path, 258)
    broken.write_bytes(broken.read_bytes().replace(b"Ordine", b"ordine"))
    age(path.tree.root)

    result = run(path)

    assert (result.accounts, result.items_purged, result.flaws) == ({}, 0, 1)
    assert (path.accounts(), items(path)) == ([ACCOUNT], [257, 258])


# --- the trash


def test_the_trash_is_emptied_by_a_purge_after_the_grace(path: BackupPath) -> None:
    digest = keep(path, PLAIN[0])
    delete(path)
    age(path.tree.root)
    first = run(path)
    size = first.trashed

    assert run(path, after=40 * DAY + GRACE - timedelta(seconds=1)).freed == 0
    assert trashed(path) == [f"items/{digest}"]
    assert run(path, after=40 * DAY + GRACE).freed == size > 0
    assert list((path.tree.root / layout.TRASH).iterdir()) == []


def test_what_is_named_after_all_is_put_back_from_the_trash(path: BackupPath) -> None:
    digest = keep(path, PLAIN[0])
    trash = path.tree.root / ".trash" / str(to_ms(LONG_AGO)) / "items"
    trash.mkdir(parents=True)
    blob_file(path, digest).rename(trash / digest)
    age(path.tree.root)

    result = run(path)

    assert (has(path, digest), trashed(path), result.blobs_put_back) == (True, [], 1)
    # It is as young as what was saved just now.
    assert blob_file(path, digest).stat().st_mtime > (LONG_AGO + DAY).timestamp()


def test_a_writer_takes_what_it_names_out_of_the_trash(path: BackupPath) -> None:
    digest = keep(path, PLAIN[0])
    delete(path)
    age(path.tree.root)
    run(path)

    with path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, [message(300, 20, digest=digest)])
        writer.commit()

    assert (has(path, digest), trashed(path)) == (True, [])


# --- brakes


def test_a_purge_of_more_than_a_tenth_of_all_blobs_waits_for_a_person(path: BackupPath) -> None:
    for item in range(300, 318):
        keep(path, b"%d" % item, item)
    for item in range(300, 305):
        delete(path, item)
    age(path.tree.root)
    before = files(path.tree.root)

    with pytest.raises(OperationError, match="5 of 18 blobs, more than 10% of them") as refused:
        run(path, confirmed=False)
    assert refused.value.code == "brake"
    assert files(path.tree.root) == before

    keep(path, b"one", 400)
    keep(path, b"more", 401)
    age(path.tree.root)
    assert run(path, confirmed=False).blobs_removed == 5


@pytest.mark.parametrize(
    ("blobs", "most"), [(0, 0), (18, 4), (400, 100), (1_000, 100), (2_000, 200)]
)
def test_a_small_server_need_not_wait_for_a_person_so_soon(blobs: int, most: int) -> None:
    assert brakes(Marked(), Survey(blobs=blobs, dead=most), []) == []
    assert len(brakes(Marked(), Survey(blobs=blobs, dead=most + 1), [])) == 1


def test_an_account_written_down_as_deleted_just_now_waits_for_a_person(path: BackupPath) -> None:
    with path.writer(SCAN) as writer:
        writer.add_entry(replace(entry(), start=LONG_AGO, deleted=True))
        writer.commit()
    age(path.tree.root, LONG_AGO + 15 * DAY)

    with pytest.raises(
        OperationError, match=r"written down as deleted within .* alice@example\.com"
    ):
        run(path, confirmed=False)
    assert path.accounts() == [ACCOUNT]

    assert len(run(path).accounts) == 1


def test_an_item_written_down_as_deleted_just_now_stays_until_a_person_has_looked(
    path: BackupPath,
) -> None:
    digest = keep(path, PLAIN[0])
    delete(path)
    for item in range(300, 318):
        keep(path, b"%d" % item, item)
    age(path.tree.root, LONG_AGO + 38 * DAY)

    late = run(path, confirmed=False)
    assert (late.items_purged, late.items_late, has(path, digest)) == (0, 1, True)

    doubt = partial(str, "the clock shows 2036.")
    assert purge(path, confirmed=False, doubt=doubt).look().brakes[1].endswith("items: 1.")

    # Retention counts from then on; a person need not wait for that.
    assert purge(path, after=68 * DAY + timedelta(seconds=1), confirmed=False).look().items_purged
    assert run(path).items_purged == 1


def test_a_deletion_that_a_long_scan_found_is_purged_by_its_own_time(path: BackupPath) -> None:
    keep(path, PLAIN[0])
    delete(path)
    for item in range(300, 318):
        keep(path, b"%d" % item, item)
    age(path.tree.root, LONG_AGO + timedelta(hours=20))

    result = run(path, after=30 * DAY + timedelta(hours=1), confirmed=False)

    assert (result.items_purged, result.items_late) == (1, 0)


def test_a_purge_of_much_more_than_usual_waits_for_a_person() -> None:
    found = Survey(blobs=10_000, dead=121)

    assert brakes(Marked(), found, [1, 40, 90, 2, 50]) == [
        "It would remove 121 blobs, more than 3 times as many as the last 5 purges usually did."
    ]
    assert brakes(Marked(), found, [1, 41, 90, 2, 50]) == []
    assert brakes(Marked(), found, [1, 1, 1, 1]) == []
    assert brakes(Marked(), Survey(blobs=10_000, dead=100), [0] * 5) == []


def test_a_purge_remembers_the_last_five(path: BackupPath) -> None:
    for number in range(6):
        for item in range(1, number + 1):
            keep(path, b"%d %d" % (number, item), item + 1000 * number)
            delete(path, item + 1000 * number)
        age(path.tree.root)
        run(path)

    said = path.checkpoint()["purge"]
    assert (said["blobs"], said["started"]) == ([1, 2, 3, 4, 5], to_ms(LONG_AGO + 40 * DAY))


def test_a_clock_that_is_in_doubt_purges_nothing(path: BackupPath) -> None:
    keep(path, PLAIN[0])
    delete(path)
    age(path.tree.root)

    doubt = partial(str, "the clock shows 2036.")
    with pytest.raises(OperationError, match=r"Nothing was purged: The clock shows 2036\."):
        run(path, confirmed=False, doubt=doubt)
    assert items(path) == [257]
    assert purge(path, doubt=doubt).look().brakes[0] == "The clock shows 2036."

    run(path, doubt=doubt)
    assert items(path) == []


# --- what else


def test_a_dry_run_foretells_and_changes_nothing(path: BackupPath) -> None:
    keep(path, PLAIN[0], 257)
    keep(path, PLAIN[1], 258)
    delete(path, 257)
    age(path.tree.root)
    before = sorted(path.tree.root.rglob("*")), files(path.tree.root)

    foretold = purge(path).look()
    assert (sorted(path.tree.root.rglob("*")), files(path.tree.root)) == before
    done = run(path)

    assert foretold.counts() == done.counts()


def test_the_index_knows_what_is_purged(path: BackupPath, tmp_path: Path) -> None:
    keep(path, PLAIN[0])
    delete(path)
    age(path.tree.root)
    with Catalog(path, tmp_path / "index") as catalog:
        assert len(catalog.history(ACCOUNT, ItemId(257))) == 2

        run(path)

        assert catalog.history(ACCOUNT, ItemId(257)) == []


def test_the_index_knows_an_account_that_is_purged(path: BackupPath, tmp_path: Path) -> None:
    with path.writer(SCAN) as writer:
        writer.add_entry(replace(entry(), start=LONG_AGO, deleted=True))
        writer.commit()
    age(path.tree.root)
    with Catalog(path, tmp_path / "index") as catalog:
        assert len(catalog.entries(ACCOUNT)) == 1

        run(path)

        assert catalog.entries(ACCOUNT) == []


def test_a_writer_that_lives_through_it_reads_the_account_that_came_again(path: BackupPath) -> None:
    digest = keep(path, PLAIN[0])
    with path.writer(SCAN) as writer:
        writer.add_entry(replace(entry(), start=LONG_AGO, deleted=True))
        writer.commit()
    with path.writer("scanner") as living:
        assert living.last_state(ACCOUNT, ITEM)
        age(path.tree.root)
        with BackupPath.open(path.tree.root) as other:
            run(other)
            with other.writer(SCAN) as writer:
                writer.add_blob([PLAIN[0]])
                several = [message(257, mod, digest=digest) for mod in (20, 21)]
                writer.add_states(ACCOUNT, several)
                writer.commit()

        assert living.last_state(ACCOUNT, ITEM) == path.last_state(ACCOUNT, ITEM)
        living.add_states(ACCOUNT, [message(257, 22, digest=digest)])
        living.commit()

        assert [state.mod for state in path.history(ACCOUNT, ITEM)] == [20, 21, 22]
