"""P23. Memory is bounded: a huge mailbox and a blob of 1 GiB pass through 600 MiB of address space.

With it the longest pause between two moments at which an operation can be stopped (P14).
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from backupng.engine.mailserver.sandbox.client import SandboxClient
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import ItemId, from_ms, spell_digest
from tests.cast import message
from tests.proofs.busy import START_MS, new_sandbox
from tests.proofs.told import tell

ADDRESS = "a0@example.com"
LIMIT_BYTES = 600 << 20
BLOB_BYTES = 1 << 30
LONGEST_PAUSE_MS = 5_000
ROOT = Path(__file__).resolve().parents[2]


def fill(sandbox: Sandbox, *, items: int, blob_bytes: int) -> None:
    """Make a mailbox with so many rows of one message, and one message with a sparse blob."""
    client = SandboxClient(sandbox, lambda: from_ms(START_MS))
    small = client.deliver(ADDRESS, message("Small"), folder="/Inbox")
    big = client.deliver(ADDRESS, message("Big"), folder="/Inbox")
    enlarge(sandbox, big, blob_bytes)
    mailbox = sandbox.mailbox(sandbox.account(ADDRESS))
    table = sandbox.database.table(f"mboxgroup{mailbox.group_id}", "mail_item")
    row = next(iter(sandbox.database.rows(f"SELECT * FROM {table} WHERE id = ?", small)))  # noqa: S608
    columns = ", ".join(row)
    copied = ", ".join("n" if name == "id" else name for name in row)
    with sandbox.database.transaction():
        sandbox.database.run(
            f"WITH RECURSIVE numbers(n) AS (VALUES(1000) UNION ALL SELECT n + 1 FROM numbers"  # noqa: S608
            f" WHERE n < ?) INSERT INTO {table} ({columns})"
            f" SELECT {copied} FROM {table}, numbers WHERE id = ?",
            999 + items,
            small,
        )


def enlarge(sandbox: Sandbox, item: ItemId, length: int) -> None:
    """Put a sparse file in the place of a message's blob."""
    mailbox = sandbox.mailbox(sandbox.account(ADDRESS))
    table = sandbox.database.table(f"mboxgroup{mailbox.group_id}", "mail_item")
    (file,) = sandbox.folder.glob(f"store/**/{item}-*.msg")
    with file.open("wb") as blob:
        blob.truncate(length)
    digest = hashlib.sha256()
    for _ in range(length >> 20):
        digest.update(bytes(1 << 20))
    values = {"size": length, "blob_digest": spell_digest(digest.digest())}
    sandbox.database.update(table, values, mailbox_id=mailbox.mailbox_id, id=item)


def limited(program: str, folder: Path) -> list[int]:
    """Run a program with little memory; return the numbers that it prints."""
    words = [str(folder / "server"), str(folder / "backup")]
    done = subprocess.run(
        [sys.executable, "-m", f"tests.proofs.{program}", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES)),
    )
    assert done.returncode == 0, done.stderr
    return list(map(int, done.stdout.split()))


@pytest.mark.proofs
@pytest.mark.parametrize("items", [20_000, 200_000])
def test_a_huge_mailbox_and_a_huge_blob_need_little_memory(in_memory: Path, items: int) -> None:
    with new_sandbox(in_memory / "server", seed=1, accounts=1) as sandbox:
        fill(sandbox, items=items, blob_bytes=BLOB_BYTES)

    saved, states, read, pause_ms, peak_mib = limited("limited", in_memory)

    assert min(saved, states) > items
    assert read > BLOB_BYTES
    assert pause_ms < LONGEST_PAUSE_MS
    tell("P23", saved, f"items and a blob of 1 GiB with {peak_mib} MiB at most")
    tell("P14", pause_ms, f"ms of computing at most between two ticks of a scan of {items} items")
