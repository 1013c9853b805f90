"""A scanner whose disk is full is halted, and goes on by itself when there is room again."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from backupng.engine.operations import realtime_scanner
from backupng.engine.operations.channel import Channel, StopRequest
from backupng.engine.operations.realtime_scanner import ScannerProcess, Teller
from tests.cast import ALICE, Office, message


class Listener(io.BytesIO):
    """Takes the events of a scanner, and does something at each."""

    def __init__(self, heard: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._heard = heard

    def write(self, line: Any) -> int:
        """Take an event."""
        self._heard(json.loads(line))
        return len(line)


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    before = signal.getsignal(signal.SIGTERM)
    yield StopRequest()
    signal.signal(signal.SIGTERM, before)


def line(mail: Office) -> dict[str, Any]:
    """Return what the process of the office's scanner is given."""
    server = {
        "name": "mail1",
        "kind": "sandbox",
        "connection": {"folder": str(mail.folder / "server")},
        "backup_path": str(mail.backup_path),
    }
    settings = {
        "zone": "UTC",
        "blob_codec": "zstd",
        "compression_level": 3,
        "skip_lists": False,
        "space_threshold_mb": 1,
    }
    return {"server": server, "settings": settings, "parent": os.getpid()}


def test_a_scanner_goes_on_by_itself_when_there_is_room_again(
    mail: Office, stop: StopRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.scan()
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    free, events = [0], list[dict[str, Any]]()
    monkeypatch.setattr(realtime_scanner, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(os, "fstatvfs", lambda _descriptor: disk_with(free[0]))

    def heard(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "halted":
            free[0] = 8 << 20
        if event["event"] == "standing" and not event["behind_bytes"]:
            stop.made = True

    ScannerProcess(line(mail), teller=Teller(Channel(Listener(heard))), stop=stop).run()

    told = [event["event"] for event in events if event["event"] != "standing"]
    assert told == ["halted", "resumed"]
    assert (events[0]["code"], "0 MB are free" in events[0]["reason"]) == ("no_space", True)
    assert mail.history(ALICE, item)[-1].subject == "One"


def disk_with(free_bytes: int) -> SimpleNamespace:
    """Return what a disk with that much room says of itself."""
    return SimpleNamespace(f_bavail=free_bytes, f_frsize=1, f_favail=9, f_files=10)
