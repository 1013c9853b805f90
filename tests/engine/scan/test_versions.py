"""What a scan keeps of blobs that are not the item's own or bear an old digest."""

from __future__ import annotations

import hashlib

from backupng.engine.model import spell_digest
from backupng.engine.operations.restore_on_new_account import RestoreOnNewAccount
from backupng.engine.operations.smart_scan import SmartScan
from backupng.engine.operations.words import LAST, AccountName, AccountNameOrId
from tests.cast import ALICE, Office, message


def sha1(content: bytes) -> str:
    return spell_digest(hashlib.sha1(content, usedforsecurity=False).digest())


def test_every_version_of_a_document_is_kept(mail: Office) -> None:
    mail.client.save_document(ALICE, b"first version", name="plan.txt")
    item = mail.client.save_document(ALICE, b"second version", name="plan.txt")

    mail.scan()

    (state,) = mail.history(ALICE, item)
    (revision,) = state.side_rows["revision"]
    with mail.path as path:
        assert b"".join(path.blob(state.digest)) == b"second version"
        assert b"".join(path.blob(revision["blob_digest"])) == b"first version"


def test_blobs_of_old_rows_are_checked_by_sha1_and_kept_by_sha256(mail: Office) -> None:
    mail.client.save_document(ALICE, b"first version", name="plan.txt")
    item = mail.client.save_document(ALICE, b"second version", name="plan.txt")
    mail.set_column(ALICE, item, blob_digest=sha1(b"second version"))
    mail.set_column(
        ALICE, item, table="revision", key="item_id", blob_digest=sha1(b"first version")
    )

    assert mail.scan()["read_errors"] == 0

    (state,) = mail.history(ALICE, item)
    with mail.path as path:
        kept = state.kept_as[state.side_rows["revision"][0]["blob_digest"]]
        assert b"".join(path.blob(state.digest)) == b"second version"
        assert b"".join(path.blob(kept)) == b"first version"
    restored = restore_copy(mail)
    assert restored == [b"first version", b"second version"]


def test_a_blob_of_another_sha1_is_a_broken_item(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Old"), folder="/Inbox")
    mail.set_column(ALICE, item, blob_digest=sha1(b"something else"))

    report = mail.run(SmartScan())

    assert report.unreadable == {ALICE: [(item, "broken item")]}


def restore_copy(mail: Office) -> list[bytes]:
    """Restore alice on a new account and return every version of every document of it."""
    operation = RestoreOnNewAccount(
        source_account=AccountNameOrId(ALICE),
        destination_account=AccountName("copy@example.com"),
        date=LAST,
    )
    assert not mail.run(operation).losses
    source = mail.source
    mailbox = mail.sandbox.mailbox(mail.sandbox.account("copy@example.com"))
    states = dict(source.states(mailbox, source.heads(mailbox))).values()
    return sorted(
        b"".join(source.blob(mailbox, reference))
        for state in states
        if state.kind == "document"
        for reference in source.blobs_of(state)
    )
