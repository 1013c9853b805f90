"""A small sandbox server with its row."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import time_machine
from django.conf import settings as django_settings
from django.forms import model_to_dict
from pytest_django import DjangoDbBlocker, Settings

from backupng.engine.model import EntryKind
from console import connect
from console.connect import SandboxRequest
from console.models import Server
from tests.console.holding import NOT_BY_ITSELF
from tests.console.prototypes import Grow, Prototype, smart_scan

SCANNED = datetime(2026, 3, 2, 12, 0, 0, 250_000, tzinfo=UTC)
"""When the backup of the scanned sandbox begins."""


@pytest.fixture
def data(settings: Settings, tmp_path: Path) -> Path:
    """Return a data folder that only this test uses."""
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture(scope="session")
def prototype(
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Prototype:
    """Return a data folder with a sandbox of two accounts, and its row.

    The accounts' folders are in the Backup Path already.
    """
    folder = tmp_path_factory.mktemp("prototype")
    request = SandboxRequest(name="mail1", domain="example.com", accounts=2, items=0, seed=1)
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(django_settings, "DATA_DIR", folder)
        server = connect.create_sandbox(request)
        with connect.context(server) as ctx:
            ctx.owned_path()
            accounts = [entry.entry_id for entry in ctx.source.entries(EntryKind.ACCOUNT)]
        row = model_to_dict(server, exclude=["id"])
        server.delete()
    for account in accounts:
        Path(folder, row["backup_path"], "accounts", account).mkdir(parents=True)
    return Prototype(folder, row)


@pytest.fixture
def server(prototype: Prototype, data: Path, transactional_db: None) -> Server:
    """Return a copy of the sandbox with a row of its own."""
    return prototype.copied(data)


@pytest.fixture
def unscheduled(server: Server) -> None:
    """Let no SmartScan of it start by itself, whatever the time of day is."""
    for name, value in NOT_BY_ITSELF.items():
        connect.set_property(server, name, value)


@pytest.fixture(scope="session")
def grow(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Grow:
    """Return what copies a sandbox into a new folder of a name, and lets something happen there."""

    def grown(since: Prototype, name: str, history: Callable[[Server], object]) -> Prototype:
        folder = tmp_path_factory.mktemp(name)
        shutil.copytree(since.folder, folder, dirs_exist_ok=True)
        with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(django_settings, "DATA_DIR", folder)
            server = Server.objects.create(**since.row)
            history(server)
            server.delete()
        return Prototype(folder, since.row)

    return grown


@pytest.fixture(scope="session")
def scanned_prototype(prototype: Prototype, grow: Grow) -> Prototype:
    """Return the same after a SmartScan at SCANNED."""
    with time_machine.travel(SCANNED, tick=False):
        return grow(prototype, "scanned", smart_scan)


@pytest.fixture
def scanned(scanned_prototype: Prototype, data: Path, db: None) -> Server:
    """Return a copy of the sandbox that was scanned at SCANNED, with a row of its own."""
    return scanned_prototype.copied(data)
