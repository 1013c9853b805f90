"""A dry run of an import counts what the run right after it does, wherever that goes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.model import EntryKind, ItemId, ItemKind
from backupng.engine.operations.base import Report
from tests.cast import ALICE, DAVE, Office, message
from tests.engine.restore.migrating import bring, fill, mount

_SAME = ("planned", "skipped", "unrestored", "deleted_there", "too_large")


@pytest.fixture
def mail(mail: Office) -> Office:
    fill(mail)
    mount(mail, ALICE, DAVE, "/Shared")
    gone = mail.client.deliver(ALICE, message("gone"), folder="/Inbox")
    mail.scan()
    digest = mail.history(ALICE, gone)[-1].digest
    assert digest is not None
    (mail.backup_path / layout.blob_file(digest)).unlink()
    return mail


def numbers(report: Report) -> list[int]:
    """Return what an import did, or would do."""
    (foretold,) = [
        int(found[1]) if found[1] else 0
        for note in report.notes
        if (found := re.search("A run now would restore (?:nothing|([0-9]+) items?)", note))
    ] or [report.counters["restored"]]
    return [foretold, *(report.counters.get(name, 0) for name in _SAME)]


def assert_foretold(mail: Office, to: Office) -> list[int]:
    """Return the numbers of a run, which are those of the dry run before it."""
    dry = bring(mail, to, dryrun=True, max_file_size=5000)
    assert dry.counters["restored"] == 0
    run = bring(mail, to, max_file_size=5000)
    assert numbers(dry) == numbers(run)
    assert dry.unrestored == run.unrestored
    return numbers(run)


def test_into_an_empty_server_and_once_more(mail: Office, to: Office) -> None:
    mail.client.deliver(ALICE, message("large", body="x" * 9000), folder="/Inbox")
    mail.scan()

    first = assert_foretold(mail, to)
    second = assert_foretold(mail, to)

    assert first[2:] == [1, 1, 0, 1]
    assert (first[0] - second[0], second[0]) == (first[0], 0)


def test_into_a_server_that_has_some_of_it(mail: Office, to: Office) -> None:
    to.destination.create(EntryKind.DOMAIN, "example.com", {})
    to.client.create_account(ALICE)
    to.client.create_folder(ALICE, "/Inbox/Invoices")
    to.client.create_folder(ALICE, "/Theirs")
    mail.client.save_document(ALICE, b"theirs", name="plan.txt")
    mail.scan()
    to.client.save_document(ALICE, b"ours", name="plan.txt")
    found = next(s for s in states(mail, ALICE) if s.subject == "two")
    there = to.client.deliver(
        ALICE, message("two"), folder="/Inbox", date=datetime.fromtimestamp(found.date, UTC)
    )
    to.client.tag(ALICE, there, "Urgente")

    restored, planned, skipped, unrestored, *_ = assert_foretold(mail, to)

    assert (skipped, unrestored) == (3, 3)
    assert restored == planned - 6


def test_after_a_deletion_and_with_what_is_new(mail: Office, to: Office) -> None:
    bring(mail, to)
    one = next(s for s in states(to, ALICE) if s.kind is ItemKind.MESSAGE)
    to.client.delete(ALICE, one.item_id)
    mail.client.deliver(ALICE, message("four"), folder="/Inbox")
    mail.scan()

    assert assert_foretold(mail, to)[4] == 1


def states(mail: Office, address: str) -> list[Any]:
    mailbox = mail.source.mailbox(mail.account_id(address))
    ids = [ItemId(row["id"]) for row in mail.source.traits(mailbox)]
    return [state for _, state in mail.source.states(mailbox, ids)]
