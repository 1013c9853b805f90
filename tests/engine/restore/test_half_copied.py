"""A restore from a copy that was made beside a scanner: what came along in part is left out."""

from __future__ import annotations

from backupng.engine.scan.beside import SCANNER_ROLE
from tests.cast import ALICE, Office, message
from tests.engine.backuppath.samples import blob_file
from tests.engine.restore.restoring import COPY, assert_balanced, restore, subjects
from tests.engine.scan.scanners import Scanner


def test_a_message_whose_content_did_not_come_along_is_left_out_and_counted(mail: Office) -> None:
    scanner = Scanner(mail.source, mail.backup_path, clock=lambda: mail.now)
    mail.client.deliver(ALICE, message("Whole"), folder="/Inbox")
    mail.scan()
    scanner.catch_up()
    with scanner.path() as path:
        said = path.scanner()
    item = mail.client.deliver(ALICE, message("Half"), folder="/Inbox")
    scanner.catch_up()
    (state,) = mail.history(ALICE, item)
    with scanner.path() as path:
        blob_file(path, state.digest).unlink()
        with path.writer(SCANNER_ROLE) as writer:
            writer.set_scanner(said)

    report = restore(mail)

    assert subjects(mail, COPY).keys() == {"Whole"}
    assert report.counters["pending"] == 1
    assert report.counters["unrestored"] == 0
    assert_balanced(report)
