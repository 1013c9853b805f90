"""The migration of the manual, by the very commands of docs/migration.md."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.cli import grammar
from console.cli.program import MODULES
from tests.commandline import ROOT, Answer, CommandLine, comparable

PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
ACCOUNTS = ("a1@example.com", "a2@example.com")
MESSAGE = b"From: eve@example.org\r\nTo: a1@example.com\r\nSubject: %b\r\n\r\nHello.\r\n"


def commands(heading: str) -> list[str]:
    """Return the commands of one section of the page, whatever its level is."""
    section = re.split("^##", PAGE.partition(f"# {heading}\n")[2], flags=re.MULTILINE)[0]
    return re.findall(r"^    (.*)$", section, re.MULTILINE)


@dataclass
class Admin:
    """Types what the page says, on two servers of one installation."""

    line: CommandLine

    def do(self, heading: str) -> list[Answer]:
        """Type all commands of a section; each has to end well."""
        return [self._type(command) for command in commands(heading)]

    def round(self) -> dict[str, int]:
        """Save, copy, import; return the counters of the import."""
        self.do("Save")
        self.do("Copy")
        answer = self.do("Import")[-1]
        found = re.findall(r"^ +(\S.*?) {2,}([0-9]+)$", answer.out.decode(), re.MULTILINE)
        return {name: int(number) for name, number in found}

    def deliver(self, server: str, address: str, subject: str) -> int:
        raw = MESSAGE % subject.encode()
        return int(self.line("sandbox", "deliver", server, address, "-", stdin=raw).out)

    def list(self, server: str, address: str) -> list[tuple[str, ...]]:
        return comparable(self.line.json("sandbox", "list", server, address))

    def subjects(self, server: str, address: str) -> dict[str, str]:
        items = self.line.json("sandbox", "list", server, address)["items"]
        return {each["subject"]: each["folder"] for each in items if each["type"] == "message"}

    def _type(self, command: str) -> Answer:
        names = {
            "$SOURCE": "mail1",
            "$DESTINATION": "mail2",
            "$BACKUP": str(self.line.data / "backup" / "mail1"),
            "$COPY": str(self.line.data / "copy"),
        }
        for name, value in names.items():
            command = command.replace(name, value)
        program, *words = shlex.split(command)
        if program != "backupng":
            subprocess.run([program, *words], check=True)
            return Answer(0, b"", "")
        answer = self.line(*words)
        assert answer.exit_status == 0, (command, answer)
        return answer


@pytest.fixture
def admin(tmp_path: Path) -> Admin:
    if shutil.which("rsync") is None:
        pytest.skip("rsync is missing: apt install rsync")
    line = CommandLine(tmp_path)
    made = Admin(line)
    line.json("sandbox", "createServer", "mail1", "domain", "example.com", "accounts", 2)
    empty = ("domain", "example.net", "accounts", 0, "items", 0)
    line.json("sandbox", "createServer", "mail2", *empty)
    (tmp_path / "copy").mkdir()
    return made


def test_every_command_of_the_page_parses() -> None:
    lines = re.findall(r"^ {4}backupng (.*)$", PAGE, re.MULTILINE)

    wishes = [grammar.parse(grammar.split(shlex.split(line))[1], MODULES) for line in lines]

    assert len(wishes) >= 10
    assert all(isinstance(wish, grammar.Call) for wish in wishes)


@pytest.mark.proofs
def test_a_migration_in_rounds_moves_everything_once(admin: Admin) -> None:
    moved = admin.deliver("mail1", ACCOUNTS[0], "to be moved")
    admin.do("Before")
    first = admin.round()
    assert first["Unrestored Items"] == 0
    assert all(admin.list("mail2", each) == admin.list("mail1", each) for each in ACCOUNTS)

    admin.line("sandbox", "move", "mail1", ACCOUNTS[0], moved, "/Trash")
    admin.deliver("mail1", ACCOUNTS[0], "second round")
    admin.deliver("mail2", ACCOUNTS[0], "new here")
    second = admin.round()
    admin.do("Shares")
    admin.do("Afterwards")

    found = admin.subjects("mail2", ACCOUNTS[0])
    assert (second["Restored Items"], second["Unrestored Items"]) == (1, 0)
    assert {found[each] for each in ("to be moved", "second round", "new here")} == {"/Inbox"}
    assert len(admin.list("mail2", ACCOUNTS[0])) == len(admin.list("mail1", ACCOUNTS[0])) + 1


@pytest.mark.proofs
def test_a_migration_with_provisioning_first_lets_people_work_meanwhile(admin: Admin) -> None:
    admin.do("Save")
    admin.do("Copy")
    admin.do("Very large servers")
    admin.deliver("mail2", ACCOUNTS[0], "meanwhile")
    admin.do("Import")

    before = admin.list("mail1", ACCOUNTS[0])
    after = admin.list("mail2", ACCOUNTS[0])
    assert len(after) == len(before) + 1
    assert set(before) <= set(after)
