"""The sandbox keeps the contract of a destination's provisioning half."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from backupng.engine.mailserver.sandbox.destination import SandboxDestination
from backupng.engine.mailserver.sandbox.server import Sandbox
from tests.engine.destination_contract import DOMAIN, ProvisioningContract


@pytest.fixture(scope="module")
def destination(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxDestination]:
    folder = tmp_path_factory.mktemp("provisioning") / "mail1"
    with Sandbox.create(folder, name="mail1", domain=DOMAIN, seed=1) as sandbox:
        yield SandboxDestination(sandbox, lambda: datetime(2026, 3, 2, tzinfo=UTC))


class TestSandboxProvisioning(ProvisioningContract):
    """The contract on a new sandbox."""
