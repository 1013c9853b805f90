"""`docs/restore.md`: each restore that it names is run by the commands that it prints."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from console.cli import grammar
from console.cli.program import MODULES
from tests.commandline import Answer, ForkingCommandLine, comparable, forking

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "restore.md").read_text(encoding="utf-8")
JOHN, JACK = "john@example.com", "jack@example.com"
ROME = ZoneInfo("Europe/Rome")
MESSAGE = b"From: eve@example.org\r\nSubject: %s\r\n\r\nHello.\r\n"


class Typist:
    """Types what the page prints, with other folders and another date than it names."""

    def __init__(self, run: ForkingCommandLine, folder: Path, moment: str) -> None:
        self.run = run
        self._values = {
            "/opt/zimbra/backup/ng": str(run.data / "backup" / "mail1"),
            "/mnt": str(folder),
            "28/09/2021 10:15:10": moment,
        }

    def __call__(self, heading: str) -> list[Answer]:
        """Type all commands of a section; each has to succeed."""
        section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        answers = []
        for line in re.findall(r"^ +backupng (.*)$", section, re.MULTILINE):
            for old, new in self._values.items():
                line = line.replace(old, new)
            words = shlex.split(line)
            answer = self.run(*([] if "--host" in words else ["--host", "mail1"]), *words)
            assert answer.exit_status == 0, (line, answer)
            answers.append(answer)
        assert answers, heading
        return answers


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    """Return one who types, on a server where two items and an account were deleted."""
    folder = tmp_path_factory.mktemp("restores")
    (folder / "export").mkdir()
    with forking(folder / "data") as run:
        run.json("sandbox", "createServer", "mail1", "accounts", 0, "items", 0)
        for address in (JOHN, JACK):
            run.json("sandbox", "createAccount", "mail1", address)
        for subject in (b"Offer", b"Answer", b"Thanks"):
            (folder / "mail.eml").write_bytes(MESSAGE % subject)
            run.json("sandbox", "deliver", "mail1", JOHN, folder / "mail.eml")
        run.json("--sync", "doSmartScan")
        first = run.json("getAccountInfo", JOHN)["first_state_date"] / 1000
        for item in (256, 257):
            run.json("sandbox", "delete", "mail1", JOHN, item)
        run.json("sandbox", "deleteAccount", "mail1", JACK)
        run.json("--sync", "doSmartScan")
        run.json(
            *("sandbox", "createServer", "mail2", "domain", "example.net"),
            *("accounts", 0, "items", 0),
        )
        yield Typist(run, folder, datetime.fromtimestamp(first, ROME).strftime("%d/%m/%Y %H:%M:%S"))


def subjects(run: ForkingCommandLine, server: str, address: str) -> list[str]:
    """Return the subjects of an account's messages."""
    listing = run.json("sandbox", "list", server, address)
    return sorted(each["subject"] for each in listing["items"] if each["type"] == "message")


@pytest.mark.proofs
def test_each_restore_of_the_page_does_what_it_says(typed: Typist) -> None:
    run = typed.run

    found, restored, states = typed("One item")
    assert "Offer" in found.out.decode()
    assert "Item 256 is item 259 in /Inbox." in restored.err
    assert states.out.count(b"start_date") == 2
    assert subjects(run, "mail1", JOHN) == ["Offer", "Thanks"]

    (undeleted,) = typed("What was deleted in a period")
    assert re.search(r"in the folder /undelete_\d\d_\d\d_\d\d\.", undeleted.err)
    assert subjects(run, "mail1", JOHN) == ["Answer", "Offer", "Thanks"]

    typed("A whole mailbox")
    assert subjects(run, "mail1", "john.new@example.com") == ["Answer", "Offer", "Thanks"]
    assert subjects(run, "mail1", "john.newest@example.com") == ["Thanks"]

    available, _ = typed("A deleted account")
    assert JACK in available.out.decode()
    assert subjects(run, "mail1", "jack.new@example.com") == []

    typed("A whole server, or a move")
    assert comparable(run.json("sandbox", "list", "mail2", JOHN)) == comparable(
        run.json("sandbox", "list", "mail1", JOHN)
    )

    (rolled_back,) = typed("A server that was rolled back")
    assert re.search(rb"Restored Items +0\n", rolled_back.out)

    typed("A file")
    assert (run.data.parent / "offer.eml").read_bytes() == MESSAGE % b"Offer"


def test_each_command_of_the_page_is_a_call_that_parses() -> None:
    lines = re.findall(r"^ +backupng (.*)$", PAGE, re.MULTILINE)

    wishes = [grammar.parse(grammar.split(shlex.split(line))[1], MODULES) for line in lines]

    assert len(wishes) > 10
    assert all(isinstance(wish, grammar.Call) for wish in wishes)


def test_the_picture_names_every_restore_of_the_table() -> None:
    picture = (ROOT / "docs" / "restore.svg").read_text(encoding="utf-8")
    named = set(re.findall(r'class="name"[^>]*>([^<]+)<', picture))
    table = PAGE.partition("| I need |")[2].partition("\n\n")[0]

    assert named - {"Export one item"} == set(re.findall(r"\[([A-Z][A-Za-z ]+)\]\(#", table))
    assert "prefers-color-scheme: dark" in picture
