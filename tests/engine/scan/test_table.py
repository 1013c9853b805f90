"""The closed table: every operation that a redo log can hold has exactly one place in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from backupng.engine.backuppath.store import BackupPath, Owner
from backupng.engine.model import AccountId
from backupng.engine.redolog import ops
from backupng.engine.scan.effects import Operation
from backupng.engine.scan.known import Known
from backupng.engine.scan.table import EXACT, IGNORED, SWEPT, effect_of

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def test_every_operation_is_in_the_table_once() -> None:
    names = {layout.op for layout in ops.LAYOUTS} | set(ops.WITHOUT_LAYOUT.values())

    assert sorted([*EXACT, *SWEPT, *IGNORED]) == sorted(names)


def test_an_operation_of_a_later_server_leaves_the_account_uncertain(tmp_path: Path) -> None:
    owner = Owner(server_id="1", server_name="mail")
    with (
        BackupPath.open_or_create(tmp_path, owner, now=NOON) as path,
        path.writer("scanner") as writer,
    ):
        known = Known(path, writer, AccountId("a"))
        op = Operation(name="Teleport", fields={}, mod=7, start=NOON, source="log:0:512")

        assert effect_of(op, known).whole == "Teleport is unknown"
