"""What a scan does about blobs that are lost, damaged or in the way."""

from __future__ import annotations

from pathlib import Path

from backupng.engine.model import Digest
from tests.cast import BOB, Office, message
from tests.engine.scan.test_beside import scan


def kept_blob(mail: Office, item: int) -> tuple[Digest, Path]:
    (state,) = mail.history(BOB, item)
    file = mail.path.find_blob(state.digest)
    assert file is not None
    return state.digest, file.path


def test_a_folder_in_the_place_of_a_blob_costs_its_item_alone(mail: Office) -> None:
    item = mail.client.deliver(BOB, message("Kept"), folder="/Inbox")
    mail.scan()
    _, file = kept_blob(mail, item)
    file.unlink()
    file.mkdir()
    other = mail.client.deliver(BOB, message("Other"), folder="/Inbox")

    outcome = scan(mail, BOB, deep=True)

    ((failed, error),) = outcome.result.failures
    assert (failed, "a folder lies in the place" in str(error)) == (item, True)
    assert mail.history(BOB, other)


def test_a_deep_scan_keeps_a_damaged_blob_anew(mail: Office) -> None:
    item = mail.client.deliver(BOB, message("Kept"), folder="/Inbox")
    again = mail.client.deliver(BOB, message("Kept"), folder="/Inbox")
    mail.scan()
    digest, file = kept_blob(mail, item)
    whole = file.read_bytes()
    file.write_bytes(whole.replace(whole[-9:], b"something"))

    ordinary = scan(mail, BOB)
    outcome = scan(mail, BOB, deep=True)
    third = scan(mail, BOB, deep=True)

    assert b"".join(mail.path.blob(digest)) == message("Kept")
    written = [each.counts.blobs_new for each in (ordinary, outcome, third)]
    assert (written, outcome.result.failures) == ([0, 1, 0], [])
    assert [len(mail.history(BOB, each)) for each in (item, again)] == [1, 1]


def test_a_deep_scan_reads_a_lost_blob_again(mail: Office) -> None:
    item = mail.client.deliver(BOB, message("Kept"), folder="/Inbox")
    mail.scan()
    digest, file = kept_blob(mail, item)
    file.unlink()

    ordinary = scan(mail, BOB)
    outcome = scan(mail, BOB, deep=True)

    assert b"".join(mail.path.blob(digest)) == message("Kept")
    assert (ordinary.counts.blobs_new, outcome.counts.blobs_new) == (0, 1)
    assert outcome.counts.items_updated == 0
    assert len(mail.history(BOB, item)) == 1
