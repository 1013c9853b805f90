"""A log that a real server wrote, followed: growing call by call as at once, whole as damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.redolog.files import LogFiles
from backupng.engine.redolog.follow import Committed, Event, Follower, Unreadable
from backupng.engine.redolog.header import SIZE
from backupng.engine.redolog.records import Record
from tests.engine.redolog.logs import read as records_of

HISTORY = "history/redolog/redo.log"
DAMAGED = {
    "cut-after-magic": [],
    "cut-at-record-boundary": [],
    "cut-in-message-body": [],
    "cut-in-op-header": [],
    "garbage-in-middle": ["gap", 3],
    "zero-padded-tail": [],
}


def shown(event: Event) -> tuple[Any, ...]:
    """Return all of an event; of bulk data the digest."""
    if not isinstance(event, Committed):
        return ("not committed", event)
    fields = event.record.fields
    data = fields.get("data")
    digest = event.log.digest(data) if data else ""
    rest = {name: value for name, value in fields.items() if name != "data"}
    return (event.record.envelope, event.record.op, repr(rest), digest, event.committed_at)


def missing(event: Event) -> int | str | None:
    return event.mailbox_id if isinstance(event, Unreadable) else "gap"


def follow(folder: Path) -> Follower:
    return Follower(LogFiles(folder / "redo.log", folder / "archive"), position=None)


def at_once(folder: Path, data: bytes) -> list[tuple[Any, ...]]:
    folder.mkdir()
    (folder / "redo.log").write_bytes(data)
    follower = follow(folder)
    found = [shown(each) for each in follower.read(10_000)]
    follower.close()
    return found


def test_all_transactions_of_the_history_are_committed_once(genuine: Path, tmp_path: Path) -> None:
    data = (genuine / HISTORY).read_bytes()
    found = at_once(tmp_path / "whole", data)
    records = [each for each in records_of(genuine / HISTORY) if isinstance(each, Record)]
    committed = [each.envelope.txn for each in records if each.op == "CommitTxn"]
    assert [each[0].txn for each in found] == committed
    assert len(set(committed)) == 378


def test_growing_call_by_call_gives_the_same_events(genuine: Path, tmp_path: Path) -> None:
    data = (genuine / HISTORY).read_bytes()
    calls = (genuine / "history/calls.jsonl").read_text("utf-8").splitlines()
    sizes = [json.loads(each)["logSizeAfter"] for each in calls]
    log = tmp_path / "redo.log"
    log.write_bytes(data[:SIZE])
    follower, found, written = follow(tmp_path), [], SIZE
    with log.open("ab", buffering=0) as file:
        for size in [*sizes, len(data)]:
            file.write(data[written:size])
            written = max(written, size)
            found += [shown(each) for each in follower.read(10_000)]
            assert follower.position.offset == written
    follower.close()
    assert found == at_once(tmp_path / "whole", data)


@pytest.mark.parametrize("name", sorted(DAMAGED))
def test_of_a_damaged_log_only_the_damage_is_missing(
    genuine: Path, tmp_path: Path, name: str
) -> None:
    data = (genuine / f"damaged-logs/{name}.log").read_bytes()
    manifest = json.loads((genuine / f"damaged-logs/{name}.manifest.json").read_text("utf-8"))
    (tmp_path / "redo.log").write_bytes(data)
    follower = follow(tmp_path)
    events = follower.read(10_000)
    follower.close()
    ended = {
        (each["txn"]["time"], each["txn"]["counter"])
        for each in manifest["transactions"]
        if each["status"] == "committed"
    }
    found = {
        (each.record.envelope.txn.time, each.record.envelope.txn.counter)
        for each in events
        if isinstance(each, Committed)
    }
    assert found == ended
    assert [missing(each) for each in events if not isinstance(each, Committed)] == DAMAGED[name]
    assert follower.position.offset <= manifest["files"][0]["lastGoodEnd"]
