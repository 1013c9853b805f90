"""P23. Memory is bounded: a huge mailbox is restored within 600 MiB of address space.

With it the longest pause between two moments at which a restore can be stopped (P14).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from backupng.engine.mailserver.sandbox.server import GROUPS, Sandbox
from tests.proofs.busy import new_sandbox
from tests.proofs.test_memory import LONGEST_PAUSE_MS, fill, limited
from tests.proofs.told import tell

BLOB_BYTES = 1 << 30


def date_apart(sandbox: Sandbox) -> None:
    """Give each message a date of its own, as in a mailbox that grew."""
    database = sandbox.database
    for group in range(1, GROUPS + 1):
        table = database.table(f"mboxgroup{group}", "mail_item")
        if database.columns(table):
            database.run(f"UPDATE {table} SET date = date - id WHERE id > 999")  # noqa: S608


@pytest.mark.proofs
@pytest.mark.parametrize("items", [5_000, 50_000])
def test_a_huge_mailbox_is_restored_with_little_memory(in_memory: Path, items: int) -> None:
    with new_sandbox(in_memory / "server", seed=1, accounts=1) as sandbox:
        fill(sandbox, items=items, blob_bytes=BLOB_BYTES)
        date_apart(sandbox)
    limited("limited", in_memory)

    planned, restored, _, unrestored, pause_ms, peak_mib = limited("limited_restore", in_memory)

    # The sandbox takes no message of 1 GiB.
    assert (planned, unrestored) == (restored + 1, 1)
    assert restored > items
    assert pause_ms < LONGEST_PAUSE_MS
    tell("P23", restored, f"items restored with {peak_mib} MiB at most")
    tell("P14", pause_ms, f"ms of computing at most between two ticks of a restore of {items}")
