"""What a catalog answers, when it reads the tree, and that no backup fails for its sake."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.telling import Batch, ItemLine
from backupng.engine.catalog import database, keeping
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.catalog.reading import AccountReading
from backupng.engine.model import AccountId, Digest, ItemId, ItemKind, MailboxState
from tests.engine.backuppath.samples import (
    ACCOUNT,
    NOON,
    SCAN,
    add_message,
    deletion,
    entry,
    item_file,
    mailbox,
    message,
    write,
)

MINUTE = timedelta(minutes=1)
OTHER = AccountId("00000000-15f8-4727-bb2d-1f7c7a5725b2")


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[AccountId]:
    """Return the accounts that were read from the tree, as they are read."""
    found: list[AccountId] = []
    run = AccountReading.run

    def watched(reading: AccountReading) -> None:
        found.append(reading.account)
        run(reading)

    monkeypatch.setattr(AccountReading, "run", watched)
    return found


def write_all(path: BackupPath, account: AccountId, items: range) -> None:
    """Write a state of each item in one group."""
    with path.writer(SCAN) as writer:
        writer.add_states(account, [message(item, item) for item in items])
        writer.commit()


def living(catalog: Catalog, account: AccountId = ACCOUNT) -> list[int]:
    return [line.item for line in catalog.living(account)]


def test_what_a_writer_tells_is_not_read_again(
    path: BackupPath, catalog: Catalog, readings: list[AccountId]
) -> None:
    write(path, message(257, 11), message(258, 12))
    write(path, deletion(257, 13))
    with path.writer(SCAN) as writer:
        writer.add_entry(entry(zimbraMailHost=b"mail"))
        writer.add_mailbox(mailbox(13))
        writer.commit()

    assert living(catalog) == [258]
    assert [line.deleted for line in catalog.history(ACCOUNT, ItemId(257))] == [False, True]
    assert catalog.entries(ACCOUNT)[0].host == "mail"
    assert catalog.scans(ACCOUNT) == [(NOON, 0)]
    assert readings == []


def test_what_lived_at_a_moment_is_found(path: BackupPath, catalog: Catalog) -> None:
    write(path, message(257, 11), message(258, 12), deletion(257, 13))

    at = [
        [line.item for line in catalog.living(ACCOUNT, before=NOON + minute * MINUTE)]
        for minute in (11, 12, 13, 14)
    ]

    assert at == [[], [257], [257, 258], [258]]


def test_a_folder_a_kind_and_a_tag_narrow_it_down(path: BackupPath, catalog: Catalog) -> None:
    write(path, message(2, 10, kind=ItemKind.FOLDER, folder_id=ItemId(1), name="Inbox"))
    write(path, message(257, 11), message(258, 12, folder_id=ItemId(5), tags=("a", "b")))

    assert [line.item for line in catalog.living(ACCOUNT, folder=ItemId(5))] == [258]
    assert [line.item for line in catalog.living(ACCOUNT, kinds=[ItemKind.MESSAGE])] == [257, 258]
    assert [line.item for line in catalog.living(ACCOUNT, tag="b")] == [258]
    assert [line.name for line in catalog.folders(ACCOUNT)] == ["Inbox"]


def test_a_search_goes_on_where_its_page_ended(path: BackupPath, catalog: Catalog) -> None:
    with path.writer(SCAN) as writer:
        for account in (ACCOUNT, OTHER):
            writer.add_states(account, [message(n, n, subject="Größe") for n in (257, 258)])
        writer.commit()

    first = catalog.search("GRÖSSE", limit=3)
    second = catalog.search("GRÖSSE", limit=3, after=first.after)

    assert [(account, line.item) for account, line in (*first.found, *second.found)] == [
        *((OTHER, 257), (OTHER, 258), (ACCOUNT, 257), (ACCOUNT, 258))
    ]
    assert (len(first.found), second.after) == (3, None)


def test_all_blobs_that_a_state_needs_are_referred_to(path: BackupPath, catalog: Catalog) -> None:
    with path.writer(SCAN) as writer:
        main, old, kept, lone = (writer.add_blob([word])[0] for word in (b"m", b"o", b"k", b"l"))
        state = message(
            257,
            11,
            digest=main,
            name="y" * (1 << 20),
            side_rows={"revision": ({"version": 1, "blob_digest": old},)},
            kept_as={Digest("sha1"): kept},
        )
        writer.add_states(ACCOUNT, [state, replace(state, mod=12, name="y")])
        writer.commit()
    bulk = next(digest for digest in _blobs(path) if digest not in (main, old, kept, lone))

    assert [catalog.count_references(each) for each in (main, old, kept, lone, bulk)] == [
        *(2, 2, 2, 0, 1)
    ]
    assert catalog.unreferenced([main, lone, bulk]) == [lone]


def test_numbers_are_those_of_the_histories(path: BackupPath, catalog: Catalog) -> None:
    write(path, message(257, 11, size=5), message(258, 12, size=7), deletion(257, 13))

    totals = catalog.totals(ACCOUNT)

    assert (totals.items, totals.states, totals.content_bytes) == (2, 3, 7)
    assert (totals.first, totals.last) == (NOON + 11 * MINUTE, NOON + 13 * MINUTE)
    assert totals.history_bytes == sum(item_file(path, item).stat().st_size for item in (257, 258))


def test_a_damaged_history_is_named_and_hides_no_other(path: BackupPath, catalog: Catalog) -> None:
    write(path, message(257, 11), message(258, 12))
    with path.tree.locked(layout.account_folder(ACCOUNT)):
        item_file(path).write_bytes(b"{} #00000000\n")

    assert living(catalog) == [258]
    ((item, why),) = catalog.unreadable(ACCOUNT)
    assert item == 257
    assert str(item_file(path)) in why


def test_an_account_that_is_gone_is_forgotten(path: BackupPath, catalog: Catalog) -> None:
    with path.writer(SCAN) as writer:
        digest = add_message(writer, b"gone")
        writer.commit()
    folder = path.tree.root / layout.account_folder(ACCOUNT)
    folder.rename(folder.with_name(".gone"))

    assert (catalog.count_references(digest), living(catalog)) == (0, [])


def test_only_histories_that_have_changed_are_read(
    path: BackupPath, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, message(257, 11), message(258, 12))
    path.listener = None
    write(path, message(258, 13))
    put: list[int] = []
    real = keeping.put_histories

    def watched(connection: sqlite3.Connection, number: int, found: Sequence[object]) -> None:
        put.append(len(found))
        real(connection, number, found)  # type: ignore[arg-type]

    monkeypatch.setattr(keeping, "put_histories", watched)

    assert len(catalog.history(ACCOUNT, ItemId(258))) == 2
    assert put == [1]


def test_two_writers_that_tell_in_another_order_lose_nothing(
    path: BackupPath, catalog: Catalog
) -> None:
    told: list[Sequence[Batch]] = []
    write(path, message(257, 11))
    path.listener = told.append
    write(path, message(257, 12))
    write(path, message(257, 13))
    for batches in reversed(told):
        catalog.take(batches)

    assert [line.mod for line in catalog.history(ACCOUNT, ItemId(257))] == [11, 12, 13]


def test_no_commit_fails_because_the_catalog_cannot_be_written(
    path: BackupPath, catalog: Catalog, file: Path
) -> None:
    file.parent.write_bytes(b"no folder")

    assert write(path, message(257, 11)) == 1
    assert living(catalog) == [257]


def test_a_catalog_that_is_locked_by_another_stays_behind_noticeably(
    path: BackupPath, catalog: Catalog, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_PATIENCE_S", 0.01)
    write(path, message(257, 11))
    catalog.close()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write(path, message(258, 12))
    while_locked = living(catalog)
    other.close()

    assert while_locked == living(catalog) == [257, 258]


def test_a_power_cut_has_no_stamp_believed(
    path: BackupPath, catalog: Catalog, file: Path, readings: list[AccountId]
) -> None:
    write(path, message(257, 11))
    # As one that adds in this moment leaves it, were this the boot after its end.
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE meta SET value = 'another boot' WHERE key GLOB 'adding:*'")
    connection.close()
    with Catalog(path, file) as later:
        assert living(later) == [257]

    assert readings == [ACCOUNT]


def test_a_clean_end_has_all_believed_after_the_next_boot(
    path: BackupPath, catalog: Catalog, file: Path, readings: list[AccountId]
) -> None:
    write(path, message(257, 11))
    catalog.close()
    monkey = pytest.MonkeyPatch()
    monkey.setattr(database, "_boot_id", lambda: "another boot")
    with monkey.context(), Catalog(path, file) as later:
        assert living(later) == [257]
    monkey.undo()

    assert readings == []


def test_a_file_beside_the_log_of_another_is_not_believed(
    path: BackupPath, catalog: Catalog, file: Path
) -> None:
    write(path, message(257, 11))
    write_all(path, OTHER, range(300, 500))
    older = file.with_name("older")
    catalog.close()
    older.write_bytes(file.read_bytes())
    write_all(path, OTHER, range(500, 700))
    catalog.close()
    # Their log stays, and does not have what the older file lacks of the other account.
    write(path, message(257, 12))
    file.unlink()
    older.rename(file)
    with Catalog(path, file) as later:
        assert living(later, OTHER) == list(range(300, 700))


@pytest.mark.parametrize("cut", [1, 100, 4_000, 8_192, 12_000, 20_000])
def test_a_file_that_was_cut_is_not_believed(
    path: BackupPath, catalog: Catalog, file: Path, cut: int
) -> None:
    with path.writer(SCAN) as writer:
        digests = [add_message(writer, b"%d" % item, item) for item in range(300, 320)]
        writer.commit()
    catalog.close()
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - cut)

    with Catalog(path, file) as later:
        assert [later.count_references(digest) for digest in digests] == [1] * 20
        assert living(later) == list(range(300, 320))
        assert later.totals(ACCOUNT).states == 20


def test_a_file_that_others_put_in_place_is_the_one_that_is_told(
    path: BackupPath, catalog: Catalog, file: Path, readings: list[AccountId]
) -> None:
    write(path, message(257, 11))
    file.unlink()
    with Catalog(path, file) as other:
        assert living(other) == [257]
    write(path, message(258, 12))
    readings.clear()

    with Catalog(path, file) as later:
        assert living(later) == [257, 258]
    assert readings == []


def test_what_is_written_while_an_account_is_read_is_not_missed(
    path: BackupPath, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.listener = None
    write(path, message(257, 11))
    real = AccountReading._lines

    def watched(reading: AccountReading, item: ItemId) -> list[ItemLine]:
        if item == 257:
            # Its place is before that of the item that is being read.
            write(path, message(200, 12))
        return real(reading, item)

    monkeypatch.setattr(AccountReading, "_lines", watched)

    assert living(catalog) == [200, 257]


def test_a_scan_beside_a_rebuild_loses_nothing(path: BackupPath, catalog: Catalog) -> None:
    write(path, message(257, 11), message(258, 11))
    written: list[int] = []

    def tick(_done: int, _total: int, states: int) -> None:
        if not written:
            written.append(write(path, message(257, 12), message(259, 12)))

    catalog.renew_all(tick)
    write(path, message(257, 13))

    assert [line.mod for line in catalog.history(ACCOUNT, ItemId(257))] == [11, 12, 13]
    assert living(catalog) == [257, 258, 259]


def test_a_mailbox_that_a_scan_could_not_save_whole_says_so(
    path: BackupPath, catalog: Catalog
) -> None:
    found: MailboxState = replace(mailbox(11), unread=(ItemId(257), ItemId(258)))
    with path.writer(SCAN) as writer:
        writer.add_mailbox(found)
        writer.commit()

    assert catalog.scans(ACCOUNT) == [(NOON, 2)]


def _blobs(path: BackupPath) -> list[Digest]:
    return [Digest(each.name) for each in path.tree.root.glob("items/*/*")]
