"""Purge: what goes, what stays, and in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import AccountId, EntryKind, ItemId, ItemState
from backupng.engine.upkeep.purge import Retention
from tests.engine.backuppath.samples import (
    ACCOUNT,
    PLAIN,
    SCAN,
    deletion,
    entry,
    files,
    mailbox,
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
    old,
    run,
    trashed,
)


def test_an_item_deleted_longer_ago_than_the_retention_goes_with_its_blobs(
    path: BackupPath,
) -> None:
    digest = keep(path, PLAIN[0])
    delete(path)
    age(path.tree.root)

    result = run(path)

    assert items(path) == []
    assert not has(path, digest)
    assert trashed(path) == [f"items/{digest}"]
    assert (result.items_examined, result.items_purged, result.blobs_removed) == (1, 1, 1)


def test_an_item_deleted_within_the_retention_stays_to_the_second(path: BackupPath) -> None:
    digest = keep(path, PLAIN[0])
    delete(path)
    age(path.tree.root)

    result = run(path, after=30 * DAY)
    assert (result.items_purged, has(path, digest)) == (0, True)

    result = run(path, after=30 * DAY + timedelta(milliseconds=1))
    assert (result.items_purged, has(path, digest)) == (1, False)


def test_an_item_that_exists_keeps_every_state_it_ever_had(path: BackupPath) -> None:
    with path.writer(SCAN) as writer:
        contents = [writer.add_blob([b"version %d" % number])[0] for number in range(5)]
        states = [message(257, 11 + at, digest=each) for at, each in enumerate(contents)]
        writer.add_states(ACCOUNT, [old(state) for state in states])
        writer.commit()
    age(path.tree.root)
    before = files(path.tree.root)

    run(path, after=4_000 * DAY)

    assert {name: before[name] for name in before if "checkpoint" not in name} == {
        name: data for name, data in files(path.tree.root).items() if "checkpoint" not in name
    }


def test_blobs_of_all_states_of_a_purged_item_go(path: BackupPath) -> None:
    with path.writer(SCAN) as writer:
        contents = [writer.add_blob([b"version %d" % number])[0] for number in range(3)]
        revision = {"side_rows": {"revision": ({"version": 1, "blob_digest": contents[1]},)}}
        row = {"blob_digest": "qUiQTy8PR5uPgZdpSzAYSw0u0cg="}
        sha1 = {"kept_as": {row["blob_digest"]: contents[2]}, "row": row}
        states = [message(257, 11, digest=contents[0]), message(257, 12, **revision)]
        states += [message(257, 13, **sha1), deletion(257, 14)]
        writer.add_states(ACCOUNT, [old(state) for state in states])
        writer.commit()
    age(path.tree.root)

    result = run(path)

    assert [has(path, each) for each in contents] == [False] * 3
    assert result.blobs_removed == 3


def test_a_blob_that_another_item_names_stays(path: BackupPath) -> None:
    digest = keep(path, PLAIN[0], 257)
    keep(path, PLAIN[0], 258, account=AccountId("another"))
    delete(path, 257)
    age(path.tree.root)

    result = run(path)

    assert has(path, digest)
    assert (result.items_purged, result.blobs_removed, result.blobs_still_named) == (1, 0, 1)


@pytest.mark.parametrize(
    "state",
    [
        message(258, 11, side_rows={"revision": ({"blob_digest": "DIGEST"},)}),
        message(258, 11, kept_as={"qUiQTy8PR5uPgZdpSzAYSw0u0cg=": "DIGEST"}),
        message(
            258, 11, name="x" * 1_100_000, side_rows={"revision": ({"blob_digest": "DIGEST"},)}
        ),
    ],
    ids=["a revision", "an old digest", "a long body's bulk"],
)
def test_a_blob_that_a_living_state_names_in_any_way_stays(
    path: BackupPath, state: ItemState
) -> None:
    digest = keep(path, PLAIN[0], 257)
    named = {
        table: tuple(
            {key: digest if value == "DIGEST" else value for key, value in row.items()}
            for row in rows
        )
        for table, rows in state.side_rows.items()
    }
    kept = dict.fromkeys(state.kept_as, digest)
    with path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, [old(replace(state, side_rows=named, kept_as=kept))])
        writer.commit()
    delete(path, 257)
    age(path.tree.root)
    blobs = path.measure_blobs()[0]

    result = run(path)

    assert (result.items_purged, result.blobs_removed) == (1, 0)
    assert path.measure_blobs()[0] == blobs


def test_orphans_go_when_they_are_a_day_old(path: BackupPath) -> None:
    with path.writer(SCAN) as writer:
        digest, _, _ = writer.add_blob([b"nobody's"])
        writer.commit()
    age(path.tree.root)

    assert run(path, after=DAY).blobs_young == 1
    assert has(path, digest)
    assert run(path, after=DAY + timedelta(seconds=1)).blobs_removed == 1
    assert not has(path, digest)


def test_a_history_written_within_a_day_stays_whatever_it_says(path: BackupPath) -> None:
    keep(path, PLAIN[0])
    delete(path)
    age(path.tree.root, LONG_AGO + 40 * DAY - timedelta(hours=23))

    assert run(path).items_purged == 0


# --- accounts


def test_an_account_deleted_longer_ago_than_the_retention_goes_as_a_whole(
    path: BackupPath,
) -> None:
    digest = keep(path, PLAIN[0])
    with path.writer(SCAN) as writer:
        writer.add_entry(replace(entry(), start=LONG_AGO - DAY))
        writer.add_entry(replace(entry(), start=LONG_AGO, deleted=True, reason="its COS"))
        writer.add_mailbox(mailbox())
        writer.commit()
    age(path.tree.root)

    result = run(path)

    assert path.accounts() == []
    assert trashed(path) == [f"accounts/{ACCOUNT}", f"items/{digest}"]
    assert result.accounts == {ACCOUNT: ("alice@example.com", "its COS")}
    assert (result.items_purged, result.metadata_removed) == (1, 3)


def test_an_account_that_came_back_keeps_everything(path: BackupPath) -> None:
    keep(path, PLAIN[0])
    with path.writer(SCAN) as writer:
        writer.add_entry(replace(entry(), start=LONG_AGO, deleted=True))
        writer.add_entry(replace(entry(), start=LONG_AGO))
        writer.commit()
    age(path.tree.root)

    assert run(path).accounts == {}
    assert items(path) == [257]


def test_accounts_and_items_have_limits_of_their_own(path: BackupPath) -> None:
    keep(path, PLAIN[0], 257)
    keep(path, PLAIN[1], 258)
    delete(path, 257)
    with path.writer(SCAN) as writer:
        writer.add_entry(replace(entry(), start=LONG_AGO, deleted=True))
        writer.commit()
    age(path.tree.root)

    run(path, retention=Retention(items_days=30, accounts_days=None))
    assert items(path) == [258]

    age(path.tree.root)
    run(path, retention=Retention(items_days=None, accounts_days=30))
    assert path.accounts() == []


def test_a_writer_that_has_an_accounts_folder_open_finds_it_again_after_its_purge(
    path: BackupPath,
) -> None:
    keep(path, PLAIN[0])
    with path.writer(SCAN) as writer:
        writer.add_entry(replace(entry(), start=LONG_AGO, deleted=True))
        writer.commit()
    age(path.tree.root)
    with BackupPath.open(path.tree.root) as other, other.writer("scanner") as writer:
        assert writer.last_state(ACCOUNT, ItemId(257)) is not None

        run(path)
        assert path.accounts() == []
        writer.add_states(ACCOUNT, [message(257, 5)])
        writer.add_entry(entry())
        writer.commit()

    with BackupPath.open(path.tree.root) as again:
        assert [each.mod for each in again.history(ACCOUNT, ItemId(257))] == [5]
        assert again.entry_history(EntryKind.ACCOUNT, ACCOUNT) == (entry(),)


def test_a_writer_begins_a_purged_history_anew(path: BackupPath) -> None:
    with BackupPath.open(path.tree.root) as other, other.writer("scanner") as writer:
        writer.add_states(ACCOUNT, [old(message(257, 11)), old(deletion(257, 12))])
        writer.commit()
        age(path.tree.root)

        run(path)
        assert writer.last_state(ACCOUNT, ItemId(257)) is None
        writer.add_states(ACCOUNT, [message(257, 5)])
        assert writer.commit() == 1

    assert [each.mod for each in path.history(ACCOUNT, ItemId(257))] == [5]
