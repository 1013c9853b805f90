"""What a mail says of an export."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from console import telling
from console.letter import layout
from console.models import QueuedOperation, State


def is_export(row: QueuedOperation) -> bool:
    """Say whether it writes a backup into a folder of its own."""
    return row.command == "doExport"


def happened(row: QueuedOperation) -> str:
    """Return the last words of the subject: `completed, 1204 items`."""
    if row.state != State.SUCCESSFUL:
        return telling.what_happened(row)
    unreadable = telling.lost(row)["unreadable"]
    lost = f", {layout.number(unreadable)} not readable" if unreadable else ""
    return f"completed, {layout.items(_there(row))}{lost}"


def lead(row: QueuedOperation) -> str:
    """Return the first sentence of one that has ended well."""
    accounts = telling.counts(row).get("accounts_exported", 0)
    whose = "1 account" if accounts == 1 else f"{layout.number(accounts)} accounts"
    verb = "lies" if _there(row) == 1 else "lie"
    there = f"{layout.items(_there(row))} of {whose} {verb} in {telling.subject(row)}"
    return f"The {telling.title(row)} has ended: {there}."


def stats(row: QueuedOperation) -> str:
    """Return the numbers."""
    found = telling.counts(row)

    def told(**names: str) -> str:
        parts = (f"{label} {found.get(name, 0)}" for label, name in names.items())
        return "   ".join(parts).replace("_", " ")

    read, stored = found.get("bytes_read", 0), found.get("bytes_written", 0)
    return layout.block(
        {
            "accounts": told(exported="accounts_exported", left_out_by_COS="accounts_left_out"),
            "items": told(exported="items_exported", there_already="skipped"),
            "files": told(new="blobs_new", read_errors="read_errors"),
            "configuration": told(domains="domains", COS="classes_of_service", lists="lists"),
            "data": f"{layout.size(read)} before compression, {layout.size(stored)} on the disk",
        }
    )


def hints(row: QueuedOperation) -> Iterator[str]:
    """Yield what comes next once it has ended well."""
    folder = shlex.quote(row.parameters.get("destination_path", ""))
    line = f"backupng backup doExternalRestore {folder}"
    yield layout.command("  import it", line)


def _there(row: QueuedOperation) -> int:
    counts = telling.counts(row)
    return counts.get("items_exported", 0) + counts.get("skipped", 0)
