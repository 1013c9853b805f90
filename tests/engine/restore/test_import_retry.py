"""A retry of an import: only what the last one could not restore, and nothing new."""

from __future__ import annotations

from pathlib import Path

from backupng.engine.backuppath.layout import blob_file
from backupng.engine.operations.base import Report
from tests.cast import ALICE, BOB, Office, message
from tests.engine.restore.migrating import bring
from tests.engine.restore.restoring import subjects

FOLDER = "/Work"


def deliver(mail: Office, subject: str, account: str = ALICE, folder: str = "/Inbox") -> int:
    return mail.client.deliver(account, message(subject), folder=folder)


def blob_of(mail: Office, item: int) -> Path:
    digest = mail.history(ALICE, item)[-1].digest
    assert digest is not None
    return mail.backup_path / str(blob_file(digest))


def receive_more(mail: Office) -> None:
    for account in (ALICE, BOB):
        mail.client.create_folder(account, "/New")
        deliver(mail, "New", account, "/New")
    mail.scan()


def numbers(report: Report) -> list[int]:
    return [report.counters[each] for each in ("planned", "restored", "skipped", "unrestored")]


def move_work(to: Office) -> None:
    (work,) = (i["id"] for i in to.client.list(ALICE)["items"] if i["name"] == "Work")
    to.client.move(ALICE, work, "/Inbox")


def test_a_retry_brings_only_what_the_last_import_left_and_ends_when_there_is_nothing(
    mail: Office, to: Office
) -> None:
    mail.client.create_folder(ALICE, FOLDER)
    items = [deliver(mail, each, folder=FOLDER) for each in ("Back", "Later")]
    deliver(mail, "There")
    mail.scan()
    blobs = [blob_of(mail, item) for item in items]
    kept = [blob.read_bytes() for blob in blobs]
    for blob in blobs:
        blob.unlink()
    first = bring(mail, to)
    move_work(to)
    blobs[0].write_bytes(kept[0])
    receive_more(mail)

    dry = bring(mail, to, retry=True, dryrun=True)
    second = bring(mail, to, retry=True)
    third = bring(mail, to, retry=True)
    blobs[1].write_bytes(kept[1])
    fourth = bring(mail, to, retry=True)
    fifth = bring(mail, to, retry=True)

    lost = [(item, "missing blob") for item in items]
    assert [each.unrestored for each in (first, dry, second, third)] == [
        {ALICE: lost},
        *[{ALICE: lost[1:]}] * 3,
    ]
    assert [numbers(each) for each in (dry, second, third, fourth, fifth)] == [
        [2, 0, 0, 1],
        [2, 1, 0, 1],
        [1, 0, 0, 1],
        [1, 1, 0, 0],
        [0, 0, 0, 0],
    ]
    places = {each: found["folder"] for each, found in subjects(to, ALICE).items()}
    assert places == {"Back": "/Inbox/Work", "Later": "/Inbox/Work", "There": "/Inbox"}
    assert not subjects(to, BOB)
    assert [note.partition(":")[0] for note in fifth.notes] == ["There is nothing to retry"]


def test_what_a_retry_brings_comes_into_a_folder_that_is_new_since(
    mail: Office, to: Office
) -> None:
    item = deliver(mail, "Back")
    mail.scan()
    blob = blob_of(mail, item)
    kept = blob.read_bytes()
    blob.unlink()
    bring(mail, to)
    blob.write_bytes(kept)
    mail.client.create_folder(ALICE, "/New")
    mail.client.move(ALICE, item, "/New")
    mail.scan()

    report = bring(mail, to, retry=True)

    assert report.counters["restored"] == 1
    assert subjects(to, ALICE)["Back"]["folder"] == "/New"
