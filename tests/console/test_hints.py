"""Commands that are printed: what an admin copies from a hint or an answer."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from backupng.engine.errors import BackupPathBroken, BadRequest
from console import connect
from console.cli import backup
from console.models import Server


@pytest.mark.parametrize("host", ["", " --host mail.example.com"])
def test_a_hint_of_the_engine_names_the_server_as_the_command_line_knows_it(
    server: Server, host: str
) -> None:
    refusal = BadRequest("No.", hint=f"backupng{host} backup getAvailableAccounts lists them.")

    with pytest.raises(BadRequest) as refused, connect.context(server):
        raise refusal

    assert refused.value.hint == "backupng --host mail1 backup getAvailableAccounts lists them."


def test_the_hint_for_a_damaged_checkpoint_names_the_repair(server: Server) -> None:
    refusal = BackupPathBroken("/opt/backup ng/checkpoint/zimbra1 is damaged.", hint="Copy it.")

    with pytest.raises(BackupPathBroken) as refused, connect.context(server):
        raise refusal

    assert refused.value.hint == (
        "Move it away: backupng --host mail1 backup doCoherencyCheck '/opt/backup ng' fixBackup"
        " true. Then have it written anew: backupng --host mail1 backup doSmartScan"
    )


def test_get_item_prints_the_blob_and_how_to_unpack_it_at_the_end_of_what_the_manual_names() -> (
    None
):
    names = ("end_date", "folder", "unpack", "blob_path", "deleted", "type")
    state = dict.fromkeys(names, "x") | {"start_date": 0}

    text = backup.lookup_text("getItem", {"itemStates": [state]}, ZoneInfo("UTC"))

    assert isinstance(text, bytes)
    shown = [line.strip().partition("  ")[0] for line in text.decode().splitlines()[1:]]
    assert shown == [
        "start_date", "type", "deleted", "blob path", "end_date", "unpack", "folder"
    ]  # fmt: skip
