"""What is told of an export: at its end, and after one that was cut off."""

from __future__ import annotations

import uuid
from typing import Any

from console import telling
from console.letter import text
from console.letter.text import ENDED
from console.models import Level, QueuedOperation, State
from tests.console import rows

COUNTERS = {
    "accounts_exported": 3,
    "accounts_left_out": 1,
    "items_exported": 820,
    "skipped": 15,
    "read_errors": 0,
    "blobs_new": 485,
    "bytes_read": 4_472_976,
    "bytes_written": 2_619_156,
    "domains": 1,
    "classes_of_service": 1,
    "lists": 2,
}


def export(**changes: Any) -> QueuedOperation:
    found = {"command": "doExport", "parameters": {"destination_path": "/mnt/export"}}
    return rows.restore(**found, **changes)


def told(row: QueuedOperation) -> text.Letter:
    return text.compose(row, notification=uuid.UUID(int=1), event=ENDED)


def test_an_export_tells_what_lies_where_and_how_it_is_imported() -> None:
    found = told(rows.ended(export(), State.SUCCESSFUL, report={"counters": COUNTERS}))

    assert found.level == Level.INFORMATION
    assert found.subject == (
        "[Backup NG] mail.example.com: Export Backup to /mnt/export – completed, 835 items"
    )
    assert "The Export Backup has ended: 835 items of 3 accounts lie in /mnt/export." in found.text
    assert (
        "- stats -\n"
        "accounts       exported 3   left out by COS 1\n"
        "items          exported 820   there already 15\n"
        "files          new 485   read errors 0\n"
        "configuration  domains 1   COS 1   lists 2\n"
        "data           4.5 MB before compression, 2.6 MB on the disk\n"
    ) in found.text
    assert "  import it    backupng backup doExternalRestore /mnt/export\n" in found.text


def test_an_export_with_unreadable_items_is_a_warning_that_lists_them() -> None:
    report = {"counters": COUNTERS, "losses": True, "unreadable": {"a@x.org": [[3, "read error"]]}}

    found = told(rows.ended(export(), State.SUCCESSFUL, report=report))

    assert found.level == Level.WARNING
    assert found.subject.endswith("– completed, 835 items, 1 not readable")
    assert "account: a@x.org\nunreadable items: 3\n" in found.text


def test_an_export_that_was_cut_off_goes_on_with_the_same_command_and_resume() -> None:
    row = rows.failed(export(), message="There is no room for more in /mnt/export.")

    words = told(row).text.replace("\\\n", " ").split()
    assert "doExport /mnt/export resume true" in " ".join(words)
    assert telling.parameters_again(row) == {"destination_path": "/mnt/export", "resume": "true"}
