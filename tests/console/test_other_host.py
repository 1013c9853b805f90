"""A Backup Path that another host has written to waits until somebody says that it does no more."""

from __future__ import annotations

import pytest

from backupng.engine.errors import BackupPathBusy
from console import connect, hosting, properties
from console.models import Server
from tests.engine.backuppath.boots import note


def test_setting_the_backup_path_again_confirms_this_host(scanned: Server) -> None:
    note(scanned.path, host="another", boot="theirs")

    with connect.context(scanned) as ctx, pytest.raises(BackupPathBusy, match="another host"):
        ctx.check_owned_path()
    connect.set_property(scanned, properties.DEST_PATH, str(scanned.path))

    with connect.context(scanned) as ctx:
        ctx.check_owned_path()


def test_a_scan_notes_the_identity_of_its_host(scanned: Server) -> None:
    said = (scanned.path / ".lock").read_text("ascii").split()

    assert said[:2] == ["host", hosting.identity()]
