"""doPurge and doFixOrphans as they are asked for: parameters, refusals, reports."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest, NotABackupPath, OperationError, UnsupportedFormat
from backupng.engine.model import to_ms
from backupng.engine.operations import OPERATIONS, parameters
from backupng.engine.operations.base import Report, Settings
from backupng.engine.operations.do_fix_orphans import DoFixOrphans
from backupng.engine.operations.do_purge import REASONS, DoPurge
from backupng.engine.scan.directory import LEFT_OUT
from tests.engine.backuppath.samples import OWNER, PLAIN, SCAN, entry, new_path
from tests.engine.upkeep.purging import DAY, LONG_AGO, age, delete, has, items, keep

ZONE = ZoneInfo("UTC")


@dataclass
class Nobody:
    """A context of a tree without a mail server."""

    path: BackupPath
    now: datetime = LONG_AGO + 40 * DAY
    settings: Settings = field(default_factory=Settings)
    lines: list[str] = field(default_factory=list)

    counts: dict[str, int] = field(default_factory=dict)

    def tick(self, *_: Any, counts: Any = None, **__: Any) -> None:
        """Keep the last numbers."""
        self.counts = dict(counts or {})

    def log(self, line: str, **_: Any) -> None:
        """Keep a line."""
        self.lines.append(line)


@pytest.fixture
def folder(in_memory: Path) -> Path:
    """Return an empty folder."""
    return Path(tempfile.mkdtemp(dir=in_memory))


@pytest.fixture
def ctx(folder: Path) -> Iterator[Nobody]:
    """Return the context of a tree in which one of two items has expired."""
    with new_path(folder / "backup") as path:
        keep(path, PLAIN[0], 257)
        keep(path, PLAIN[1], 258)
        delete(path, 257)
        age(path.tree.root)
        yield Nobody(path)


def perform(ctx: Nobody, command: str, **texts: str) -> Report:
    """Do what the words say, as the process of an operation does."""
    operation = parameters.parse(OPERATIONS[command], texts, ZONE)
    operation.check(ctx)  # type: ignore[arg-type]
    return operation.run(ctx)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["-1", "thirty", "1.5", "", "100000"])
def test_a_limit_that_is_no_number_of_days_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="purgeDays"):
        parameters.parse(DoPurge, {"purgeDays": text}, ZONE)


def test_infinite_retention_ends_at_once_even_without_a_tree(ctx: Nobody, folder: Path) -> None:
    report = perform(ctx, "doPurge", purgeDays="0", backup_path=str(folder / "nowhere"))

    assert report.notes == ["The retention is infinite: there is nothing to do."]
    assert report.counters == {}
    ctx.settings = Settings(retention_days=0, accounts_retention_days=30)
    assert perform(ctx, "doPurge").notes == report.notes
    assert items(ctx.path) == [257, 258]


def test_the_limits_are_those_of_the_properties_unless_days_are_given(ctx: Nobody) -> None:
    ctx.settings = Settings(retention_days=50, accounts_retention_days=0)

    kept = perform(ctx, "doPurge", dryrun="true")
    gone = perform(ctx, "doPurge", dryrun="true", purgeDays="7")

    names = ("limit_items_days", "limit_accounts_days", "items_purged")
    assert [kept.counters[name] for name in names] == [50, 0, 0]
    assert [gone.counters[name] for name in names] == [7, 7, 1]
    assert items(ctx.path) == [257, 258]


def test_a_dry_run_says_what_waits_for_a_person_and_confirm_is_the_answer(ctx: Nobody) -> None:
    looked = perform(ctx, "doPurge", dryrun="true")
    assert looked.warnings == [
        "It waits for a person. It would remove 1 of 2 blobs, more than 10% of them."
    ]
    assert "This was a dry run: nothing was removed." in looked.notes
    assert looked.counters[REASONS] == 1

    done = perform(ctx, "doPurge", confirm="true")
    assert (done.warnings, items(ctx.path)) == ([], [258])
    assert done.counters["blobs_removed"] == looked.counters["blobs_removed"] == 1


def test_an_account_that_is_still_there_is_named_before_it_goes(ctx: Nobody) -> None:
    state = entry()
    with ctx.path.writer(SCAN) as writer:
        writer.add_entry(replace(state, start=LONG_AGO, deleted=True, reason=LEFT_OUT))
        writer.commit()
    age(ctx.path.tree.root)

    report = perform(ctx, "doPurge", dryrun="true")

    assert f"Deleted only because {LEFT_OUT}: alice@example.com." in report.warnings
    assert report.counters[REASONS] == len(report.warnings)
    assert "Accounts that would be purged: alice@example.com." in report.notes


def test_another_backup_path_is_purged_and_the_servers_own_is_not(
    ctx: Nobody, folder: Path
) -> None:
    with new_path(folder / "copy") as copy:
        keep(copy, PLAIN[0])
        delete(copy)
        age(copy.tree.root)

    perform(ctx, "doPurge", backup_path=str(folder / "copy"), confirm="true")

    assert items(ctx.path) == [257, 258]
    with BackupPath.open(folder / "copy") as copy:
        assert items(copy) == []


@pytest.mark.parametrize("command", ["doPurge", "doFixOrphans"])
def test_the_backup_of_another_server_is_looked_at_and_never_purged(
    ctx: Nobody, folder: Path, command: str
) -> None:
    other = replace(OWNER, server_id="another", server_name="mail2.example.com")
    (folder / "theirs").mkdir()
    BackupPath.open_or_create(folder / "theirs", other, now=LONG_AGO).close()
    theirs = str(folder / "theirs")

    perform(ctx, command, backup_path=theirs, dryrun="true")
    with pytest.raises(BadRequest, match="is the backup of the server mail2") as refused:
        perform(ctx, command, backup_path=theirs, dryrun="false")

    assert refused.value.code == "path_in_use"


def test_a_brake_names_the_same_command_with_its_parameters(ctx: Nobody) -> None:
    path = str(ctx.path.tree.root)

    with pytest.raises(OperationError) as held:
        perform(ctx, "doPurge", purgeDays="7", backup_path=path)

    assert f"doPurge purgeDays 7 backup_path {path} dryrun true. " in held.value.hint
    assert held.value.hint.endswith(f"doPurge purgeDays 7 backup_path {path} confirm true")
    assert ctx.counts["limit_items_days"] == 7
    assert ctx.counts["items_examined"] == 2


def test_a_wrong_clock_is_to_be_set_before_anything_is_confirmed(ctx: Nobody) -> None:
    with ctx.path.writer(SCAN) as writer:
        writer.set_checkpoint({"at": to_ms(ctx.now)})
    ctx.now += 4000 * DAY + DAY / 2
    ctx.settings = Settings(zone="Europe/Rome")

    with pytest.raises(OperationError) as held:
        perform(ctx, "doFixOrphans", dryrun="false")

    shown = f"{ctx.now.astimezone(ZoneInfo('Europe/Rome')):%d/%m/%Y %H:%M:%S %Z}"
    assert f"The clock shows {shown}, 4000 days more" in str(held.value)
    assert held.value.hint.startswith("Set the clock of this host first")
    assert "doFixOrphans dryrun true. If that" in held.value.hint
    assert held.value.hint.endswith("doFixOrphans dryrun false confirm true")
    warnings = perform(ctx, "doFixOrphans", dryrun="true").warnings
    assert warnings[-1] == "Set the clock of this host first, then run it again."


def test_of_a_wrong_clock_too_everything_is_told_that_confirm_stands_for(ctx: Nobody) -> None:
    with ctx.path.writer(SCAN) as writer:
        writer.set_checkpoint({"at": to_ms(ctx.now)})
    ctx.now += 4000 * DAY + DAY / 2

    with pytest.raises(OperationError) as held:
        perform(ctx, "doPurge")
    counted = ctx.counts["items_examined"]
    looked = perform(ctx, "doPurge", dryrun="true").warnings

    assert "4000 days more" in str(held.value)
    assert str(held.value).endswith("It would remove 1 of 2 blobs, more than 10% of them.")
    assert (
        looked[1] == "It waits for a person. It would remove 1 of 2 blobs, more than 10% of them."
    )
    assert (counted, items(ctx.path)) == (2, [257, 258])


def test_the_clock_that_a_person_has_confirmed_is_doubted_no_more(ctx: Nobody) -> None:
    with ctx.path.writer(SCAN) as writer:
        writer.set_checkpoint({"at": to_ms(ctx.now)})
    ctx.now += 4000 * DAY + DAY / 2

    perform(ctx, "doPurge", confirm="true")

    assert perform(ctx, "doPurge").warnings == []


def test_a_folder_that_was_named_is_refused_in_words_about_it(ctx: Nobody, folder: Path) -> None:
    (folder / "file").touch()

    with pytest.raises(BadRequest, match=r"file is not a folder\.") as refused:
        perform(ctx, "doPurge", backup_path=str(folder / "file"))

    assert refused.value.hint == "Name the folder of a Backup Path."


def test_what_is_no_backup_path_is_refused_before_anything_is_queued(
    ctx: Nobody, folder: Path
) -> None:
    photos = folder / "photos"
    photos.mkdir()
    (photos / "holiday.jpg").touch()

    with pytest.raises(NotABackupPath, match="is no Backup Path"):
        perform(ctx, "doPurge", backup_path=str(photos))
    with pytest.raises(BadRequest, match="does not exist"):
        perform(ctx, "doPurge", backup_path=str(folder / "nowhere"))


def test_a_path_that_can_only_be_read_is_looked_at_and_not_purged(ctx: Nobody) -> None:
    with _with_a_feature(ctx.path, "incomplete:ro-compat") as path:
        ctx.path = path
        assert perform(ctx, "doPurge", dryrun="true").counters["items_purged"] == 1
        with pytest.raises(UnsupportedFormat, match="can only read"):
            perform(ctx, "doPurge")
        assert items(ctx.path) == [257, 258]


def test_damage_is_a_warning_that_names_the_file(ctx: Nobody) -> None:
    broken = next(ctx.path.tree.root.glob("accounts/*/items/58/258"))
    broken.write_bytes(broken.read_bytes()[1:])
    age(ctx.path.tree.root)

    report = perform(ctx, "doPurge", confirm="true")

    (warning,) = report.warnings
    assert warning.startswith(
        "No blob was removed: 1 file cannot be read, or is damaged or not complete."
    )
    assert str(broken) in warning


def test_orphans_are_counted_unless_it_is_no_dry_run(ctx: Nobody) -> None:
    with ctx.path.writer(SCAN) as writer:
        digest, _, _ = writer.add_blob([b"nobody's"])
        writer.commit()
    age(ctx.path.tree.root)
    ctx.now = LONG_AGO + 40 * DAY + timedelta(seconds=1)

    assert perform(ctx, DoFixOrphans.command).counters["blobs_removed"] == 1
    assert has(ctx.path, digest)

    perform(ctx, DoFixOrphans.command, dryrun="false", confirm="true")
    assert (has(ctx.path, digest), items(ctx.path)) == (False, [257, 258])


@contextmanager
def _with_a_feature(path: BackupPath, feature: str) -> Iterator[BackupPath]:
    """Have a later version have written the tree."""
    file = path.tree.root / "format"
    text = file.read_bytes().rpartition(b"#")[0] + f"features {feature}\n".encode()
    file.write_bytes(text + f"#{zlib.crc32(text):08x}\n".encode())
    with BackupPath.open(path.tree.root) as again:
        yield again
