"""A mail server that is away for a while ends no scan; one that stays away does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from backupng.engine.errors import MailServerError, MailServerUnreachable, Stopped
from backupng.engine.model import AccountId, EntryKind, ItemId, Mailbox
from backupng.engine.scan.patience import Patience
from backupng.engine.scan.smartscan import SmartScan
from tests.cast import ALICE, BOB, DAVE, Office, message

SHORT_S = 0.001


def patience(log: list[str], pause: Callable[[], None] = lambda: None) -> Patience:
    return Patience(log=log.append, pause=pause, first_s=SHORT_S, longest_s=SHORT_S, total_s=0.01)


def test_a_server_that_goes_away_in_mid_scan_is_asked_again_and_nothing_is_missing(
    mail: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [mail.client.deliver(ALICE, message(f"No {n}"), folder="/Inbox") for n in range(3)]
    lines: list[str] = []
    source, failures = mail.source, iter([True, True, False, True])
    read_states, read_entries = source.states, source.entries

    def states(mailbox: Mailbox, wanted: list[ItemId]) -> Iterator[Any]:
        for number, found in enumerate(read_states(mailbox, wanted)):
            if number == 1 and next(failures, False):
                raise MailServerUnreachable("The database does not answer.")
            yield found

    def entries(kind: EntryKind) -> Iterator[Any]:
        if kind is EntryKind.COS and next(failures, False):
            raise MailServerUnreachable("The directory does not answer.")
        yield from read_entries(kind)

    monkeypatch.setattr(source, "states", states)
    monkeypatch.setattr(source, "entries", entries)
    scan = SmartScan(
        source=source,
        path=mail.owned_path(),
        started=mail.now,
        tick=lambda done, total, name: None,
        log=lines.append,
        first_pause_s=SHORT_S,
    )
    result = scan.run(now=lambda: mail.now)

    assert [len(mail.history(ALICE, item)) for item in items] == [1, 1, 1]
    assert result.unreadable == {}
    told = [line for line in lines if "tries again" in line]
    assert [line.split(".")[0] for line in told] == [
        "The directory does not answer",
        "The directory does not answer",
        "The database does not answer",
    ]


def test_one_that_stays_away_is_told_at_last() -> None:
    log: list[str] = []

    def fail() -> None:
        raise MailServerUnreachable("The database does not answer.")

    with pytest.raises(MailServerUnreachable):
        patience(log).run(fail)
    assert len(log) > 1


def test_what_waiting_does_not_mend_is_told_at_once() -> None:
    log: list[str] = []

    def fail() -> Mapping[str, str]:
        raise MailServerError("A table is missing.")

    with pytest.raises(MailServerError):
        patience(log).run(fail)
    assert log == []


def test_who_asks_for_the_end_does_not_wait_for_the_server() -> None:
    def fail() -> None:
        raise MailServerUnreachable("The database does not answer.")

    def stop() -> None:
        raise Stopped("Enough.")

    with pytest.raises(Stopped):
        patience([], stop).run(fail)


def test_what_a_failed_try_has_saved_is_counted_once(
    mail: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.scan()
    for number in range(4):
        mail.client.deliver(ALICE, message(f"No {number}"), folder="/Inbox")
    source, failures = mail.source, iter([False, False, True])
    read_blob = source.blob

    def blob(mailbox: Mailbox, reference: Any) -> Iterator[bytes]:
        if next(failures, False):
            raise MailServerUnreachable("The volume does not answer.")
        return iter(read_blob(mailbox, reference))

    monkeypatch.setattr(source, "blob", blob)
    mail.later(seconds=1)
    scan = SmartScan(
        source=source,
        path=mail.owned_path(),
        started=mail.now,
        tick=lambda done, total, name: None,
        log=lambda line: None,
        first_pause_s=SHORT_S,
    )

    counts = scan.run(now=lambda: mail.now).counts

    expected = sum(len(source.heads(box)) for box in map(source.mailbox, accounts(mail)) if box)
    assert next(failures, None) is None
    assert (counts.items_new, counts.blobs_new, counts.items_checked) == (4, 4, expected)


def accounts(mail: Office) -> list[AccountId]:
    return [mail.account_id(address) for address in (ALICE, BOB, DAVE)]
