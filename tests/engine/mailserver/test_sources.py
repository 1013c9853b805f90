"""The contract of a Source, on what a real server wrote and on a seeded sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backupng.engine.mailserver.port import Source
from backupng.engine.mailserver.sandbox.content.fill import fill
from backupng.engine.mailserver.sandbox.load import load
from backupng.engine.mailserver.sandbox.server import Sandbox
from tests.engine.mailserver.consistency import assert_consistent
from tests.engine.mailserver_contract import SourceContract


@pytest.fixture(scope="module")
def zimbra(genuine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("genuine") / "zimbra1"
    with load(folder, name="zimbra1", directory=genuine / "history") as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("seeded") / "mail1"
    with Sandbox.create(folder, name="mail1", domain="example.com", seed=7) as sandbox:
        fill(sandbox, seed=7, accounts=2, items=60)
        yield sandbox


class TestGenuine(SourceContract):
    @pytest.fixture
    def source(self, zimbra: Sandbox) -> Source:
        return zimbra.source()


class TestSeeded(SourceContract):
    @pytest.fixture
    def source(self, seeded: Sandbox) -> Source:
        return seeded.source()


def test_what_fills_a_sandbox_keeps_everything_in_step(seeded: Sandbox) -> None:
    assert_consistent(seeded)
