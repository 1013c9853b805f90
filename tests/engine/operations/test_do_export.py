"""doExport: which accounts and entries it takes, what it refuses, and how it goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import typed
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import (
    BackupPathUnwritable,
    BadRequest,
    NotABackupPath,
    OperationError,
    Stopped,
)
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import EntryKind, ItemId
from backupng.engine.operations.base import Report, Settings
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from backupng.engine.operations.do_export import DoExport
from backupng.engine.operations.get_item import GetItem
from backupng.engine.operations.words import AccountNameOrId, Domains, Words
from tests.cast import ALICE, BOB, CAROL, DAVE, Office, message, office

OTHER = "erin@example.org"


class Stage(Office):
    """An office whose operations may be stopped at a tick of a phase."""

    stop_in: str = ""

    def tick(
        self, done: int, total: int, *, phase: str, counts: Mapping[str, int] | None = None
    ) -> None:
        """Stop where it was asked for."""
        if self.stop_in and phase == self.stop_in:
            raise Stopped("The operation was stopped before its end.")


@pytest.fixture(scope="module")
def filled(in_memory: Path) -> Iterator[Stage]:
    """Open an office with some mail that was scanned once; nobody changes what is there."""
    with pytest.MonkeyPatch.context() as patched, office(in_memory) as mail:
        # The memory that serves as their disk lies below /dev.
        patched.setattr(typed, "CLOSED", ())
        made = Stage(mail.folder, mail.sandbox)
        with made.opened:
            for number in range(3):
                made.client.deliver(ALICE, message(f"Letter {number}"), folder="/Inbox")
            gone = made.client.deliver(BOB, message("Gone"), folder="/Inbox")
            made.client.deliver(BOB, message("Letter 0"), folder="/Inbox")
            made.scan()
            made.client.delete(BOB, gone)
            made.client.deliver(CAROL, message("Carol's own"), folder="/Inbox")
            made.later(seconds=5)
            yield made


@pytest.fixture
def folder(filled: Stage) -> Path:
    """Return an empty folder to export into."""
    filled.stop_in = ""
    filled.log_lines.clear()
    return Path(tempfile.mkdtemp(dir=filled.folder))


def export(mail: Stage, folder: Path, **options: Any) -> Report:
    return mail.run(DoExport(destination_path=folder, **options))


def refused(mail: Stage, folder: Path, **options: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        export(mail, folder, **options)
    return caught.value


def names(folder: Path, kind: EntryKind = EntryKind.ACCOUNT) -> list[str]:
    with BackupPath.open(folder) as path:
        return sorted(
            path.entry_history(kind, each)[-1].entry.name for each in path.entry_ids(kind)
        )


def test_an_export_is_the_server_as_it_is_now_and_whole(filled: Stage, folder: Path) -> None:
    late = filled.client.deliver(DAVE, message("Not scanned yet"), folder="/Inbox")

    report = export(filled, folder)

    assert names(folder) == [ALICE, BOB, DAVE]
    assert names(folder, EntryKind.SERVER) == ["mail1"]
    with BackupPath.open(folder) as path:
        assert path.form.server_id == filled.source.server_id
        assert path.history(filled.account_id(DAVE), ItemId(late))
        histories = [path.history(a, i) for a in path.accounts() for i in path.items(a)]
    assert {len(history) for history in histories} == {1}
    assert not any(state.deleted for history in histories for state in history)
    assert report.counters["items_exported"] == len(histories) == report.counters["items_verified"]
    assert not report.losses
    checked = filled.run(DoCoherencyCheck(backup_path=folder))
    assert not checked.losses
    assert not checked.warnings


def test_accounts_whose_class_of_service_has_backup_off_are_left_out_and_named(
    filled: Stage, folder: Path
) -> None:
    report = export(filled, folder)

    assert report.counters["accounts_left_out"] == 1
    assert any(CAROL in note for note in report.notes)
    assert CAROL not in names(folder)


def test_some_domains_come_with_their_accounts_and_what_those_need(
    filled: Stage, folder: Path
) -> None:
    filled.sandbox.add_domain("example.org", "0d2b9a1e-0000-4000-8000-00000000d0a1")
    filled.client.create_account(OTHER)
    try:
        report = export(filled, folder, domains=Domains(("EXAMPLE.org",)))
    finally:
        filled.client.delete_account(OTHER)

    assert names(folder) == [OTHER]
    assert names(folder, EntryKind.DOMAIN) == ["example.org"]
    assert names(folder, EntryKind.COS) == ["default"]
    assert report.counters["accounts_left_out"] == 0


def test_a_class_of_service_comes_with_its_accounts(filled: Stage, folder: Path) -> None:
    export(filled, folder, cos=Words(("default",)))

    assert names(folder) == [ALICE, BOB, DAVE]
    assert names(folder, EntryKind.COS) == ["default"]


def test_without_items_there_is_the_directory_alone(filled: Stage, folder: Path) -> None:
    report = export(filled, folder, skip_items=True)

    assert names(folder) == [ALICE, BOB, DAVE]
    with BackupPath.open(folder) as path:
        assert not any(list(path.items(account)) for account in path.accounts())
        assert path.measure_blobs() == (0, 0)
    assert report.counters["items_exported"] == 0


def test_an_export_that_was_stopped_is_no_backup_and_goes_on(filled: Stage, folder: Path) -> None:
    filled.stop_in = "checking what was copied"
    with pytest.raises(Stopped) as stopped:
        export(filled, folder)
    filled.stop_in = ""
    asked = GetItem(account=AccountNameOrId(ALICE), item=257, backup_path=folder)
    with pytest.raises(NotABackupPath, match="has not come to its end"):
        asked.answer(filled)
    assert refused(filled, folder).code == "path_not_empty"

    report = export(filled, folder, cos=Words(("ALL",)), resume=True)

    assert stopped.value.hint.endswith(f"doExport {folder} resume true")
    assert report.counters["items_exported"] == 0
    assert report.counters["skipped"] == report.counters["items_verified"] > 50
    assert names(folder) == [ALICE, BOB, DAVE]


def test_an_export_that_never_wrote_anything_begins_anew(filled: Stage, folder: Path) -> None:
    report = export(filled, folder, resume=True)

    assert report.counters["items_exported"] > 50


def test_what_cannot_go_on_is_refused(filled: Stage, folder: Path) -> None:
    filled.stop_in = "copying"
    with pytest.raises(Stopped):
        export(filled, folder)
    filled.stop_in = ""

    another = refused(filled, folder, resume=True, domains=Domains(("example.com",)))
    export(filled, folder, resume=True)
    complete = refused(filled, folder, resume=True)

    assert "holds an export of something else: domains all" in str(another)
    assert "holds a backup that is complete" in str(complete)
    assert {another.code, complete.code} == {"path_not_empty"}


def test_another_servers_export_does_not_go_on_here(
    filled: Stage, folder: Path, in_memory: Path
) -> None:
    filled.stop_in = "copying"
    with pytest.raises(Stopped):
        export(filled, folder)
    elsewhere = Path(tempfile.mkdtemp(dir=in_memory))
    with Sandbox.create(elsewhere / "b", name="mail2", domain="example.com", seed=2) as sandbox:
        other = Stage(elsewhere, sandbox)
        (elsewhere / "backup").mkdir()
        with other.opened:
            said = refused(other, folder, resume=True)

    assert "holds an export of the server mail1" in str(said)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"domains": Domains(("nowhere.example",))}, "no_such_domain"),
        ({"cos": Words(("gold",))}, "no_such_cos"),
        ({"threshold": 10**9}, "no_space"),
    ],
)
def test_a_bad_request_writes_nothing(
    filled: Stage, folder: Path, options: dict[str, Any], code: str
) -> None:
    said = refused(filled, folder, **options)

    assert said.code == code
    assert said.hint
    assert not list(folder.iterdir())


def test_a_folder_in_the_backup_path_is_refused(filled: Stage) -> None:
    assert refused(filled, filled.backup_path).code == "path_in_use"
    assert refused(filled, filled.folder).code == "path_in_use"


def test_items_that_cannot_be_read_are_listed_and_too_many_end_it(
    filled: Stage, folder: Path
) -> None:
    item, file = message_of_alice(filled)
    whole = file.read_bytes()
    file.write_bytes(whole[:9])
    try:
        with pytest.raises(OperationError, match="more than the 0 allowed"):
            export(filled, folder, read_error_threshold=0)
        report = export(filled, folder, read_error_threshold=1, resume=True)
    finally:
        file.write_bytes(whole)

    assert report.unreadable[ALICE] == [(item, "broken item")]
    assert report.suspected[ALICE] == [item]
    assert report.losses
    with BackupPath.open(folder) as path:
        assert path.mailbox_history(filled.account_id(ALICE))[-1].unread == (item,)


def test_what_the_scan_before_it_warns_of_is_told(filled: Stage, folder: Path) -> None:
    filled.client.create_account("frank@example.com")
    try:
        filled.scan()
        filled.client.set_cos("frank@example.com", "staff")
        report = export(filled, folder)
    finally:
        filled.client.delete_account("frank@example.com")

    assert report.warnings == ["No longer saved, by their class of service: frank@example.com."]


def test_what_a_scan_would_refuse_is_refused_before_the_start(filled: Stage, folder: Path) -> None:
    full = replace(filled, settings=Settings(space_threshold_mb=1 << 40))

    with pytest.raises(BadRequest) as refused:
        DoExport(destination_path=folder).check(full)

    assert refused.value.code == "no_space"
    assert "ZxBackup_SpaceThreshold" in refused.value.hint


def test_a_folder_that_is_replaced_while_the_scan_runs_gets_no_export(
    filled: Stage, folder: Path
) -> None:
    meddled = Meddled(filled.folder, filled.sandbox, now=filled.now, opened=filled.opened)
    meddled.replaced = folder

    said = refused(meddled, folder)

    assert "was replaced while it was looked at" in str(said)
    assert not list(folder.with_suffix(".aside").iterdir())


class Meddled(Stage):
    """An office on which somebody puts another folder in the place of one that is in use."""

    replaced: Path

    def tick(
        self, done: int, total: int, *, phase: str, counts: Mapping[str, int] | None = None
    ) -> None:
        """Replace the folder, once."""
        aside = self.replaced.with_suffix(".aside")
        if not aside.exists():
            self.replaced.rename(aside)
            self.replaced.mkdir()


def message_of_alice(mail: Stage) -> tuple[ItemId, Path]:
    """Return a message, and the file of its blob in the Backup Path, which no other message has."""
    with mail.path as path:
        account = mail.account_id(ALICE)
        for item in path.items(account):
            last = path.history(account, item)[-1]
            found = path.find_blob(last.digest) if last.digest else None
            if found and last.subject == "Letter 1":
                return item, found.path
    raise LookupError("there is no such message")


def test_a_folder_with_too_little_room_stops_it_and_it_goes_on_later(
    filled: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DoExport, "_require_room", lambda *_: None)
    with pytest.raises(BackupPathUnwritable) as stopped:
        export(filled, folder, threshold=10**9)
    monkeypatch.undo()

    assert stopped.value.code == "no_space"
    assert f"There is no room for more in {folder}" in str(stopped.value)
    assert f"doExport {folder} threshold {10**9} resume true" in stopped.value.hint
    assert export(filled, folder, resume=True).counters["items_exported"] > 50
