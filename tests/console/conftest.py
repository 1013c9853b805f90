"""A small sandbox server with its row."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.forms import model_to_dict
from pytest_django import DjangoDbBlocker, Settings

from backupng.engine.model import EntryKind
from console import connect
from console.connect import SandboxRequest
from console.models import Server


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
) -> tuple[Path, dict[str, Any]]:
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
    return folder, row


@pytest.fixture
def server(prototype: tuple[Path, dict[str, Any]], data: Path, transactional_db: None) -> Server:
    """Return a copy of the sandbox with a row of its own."""
    folder, row = prototype
    shutil.copytree(folder, data, dirs_exist_ok=True)
    return Server.objects.create(**row)
