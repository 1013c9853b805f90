"""The SmartScan that is due once a class of service is switched on."""

from __future__ import annotations

import pytest

from console import connect, cosflags, properties
from console.models import CosFlag, Notification, QueuedOperation, Server
from tests.console.test_cos_pages import run
from tests.console.test_cos_pages import staff as staff


def test_without_scans_of_its_own_the_command_says_how_to_start_the_one_that_is_due(
    staff: CosFlag, capfd: pytest.CaptureFixture[str]
) -> None:
    connect.set_property(staff.server, properties.SCAN_ON_STARTUP, "false")
    run(capfd, "staff", "disable")

    _, out, _ = run(capfd, "staff", "enable")

    assert "A SmartScan is due: backupng --host mail1 backup doSmartScan" in out
    assert not QueuedOperation.objects.exists()
    told = Notification.objects.order_by("-created_at").values_list("subject", flat=True)[0]
    assert told.endswith("a SmartScan is due")


def test_a_marker_taken_out_by_hand_queues_the_smartscan_once_and_says_so(
    staff: CosFlag, server: Server
) -> None:
    cosflags.switch(server, "staff", disabled=True, by="anna")
    with connect.sandbox("mail1") as client:
        client.set_cos_notes("staff", "by hand")

    cosflags.read(server)
    cosflags.read(server)

    scan = QueuedOperation.objects.get()
    assert (scan.command, scan.origin) == ("doSmartScan", "schedule")
    told = Notification.objects.order_by("-created_at")[0]
    assert told.subject.endswith("a SmartScan is queued")
    assert str(scan.pk) in told.text
