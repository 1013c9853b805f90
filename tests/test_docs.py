"""The manual names every command, and every line of README and help pages is one that parses."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.blobs import BlobCodec, Packer
from console.cli import grammar
from console.cli.program import MODULES
from tests.cast import ALICE, BOB, Office, message
from tests.engine.backuppath.samples import files

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = [(module, name) for module, commands in MODULES.items() for name in commands]


def test_the_manual_names_every_command() -> None:
    manual = (ROOT / "docs" / "manual.md").read_text(encoding="utf-8")
    missing = [each for each in COMMANDS if not re.search(rf"[`, ]{each[1]}\b", manual)]
    assert missing == []


def test_every_example_of_a_help_page_is_a_call_that_parses() -> None:
    for module, name in COMMANDS:
        command = MODULES[module][name]
        assert command.examples, name
        for example in command.examples:
            program, *words = shlex.split(example)
            wish = grammar.parse(words, MODULES)
            assert program == "backupng", example
            assert isinstance(wish, grammar.Call), example
            assert wish.command is command, example


def test_the_commands_of_the_readme_parse() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"\.venv/bin/backupng ([^\n&]*?)(?: {3,}|&&|\n)", readme)

    wishes = [grammar.parse(grammar.split(shlex.split(line))[1], MODULES) for line in lines]

    assert len(wishes) >= 6
    assert all(isinstance(wish, grammar.Call | grammar.Help) for wish in wishes)


def test_the_commands_for_a_real_server_parse() -> None:
    page = (ROOT / "docs" / "real-server.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ +backupng (.*)$", page, re.MULTILINE)

    wishes = [grammar.parse(grammar.split(shlex.split(line))[1], MODULES) for line in lines]

    assert len(wishes) >= 6
    assert all(isinstance(wish, grammar.Call) for wish in wishes)


def commands(page: str, heading: str) -> str:
    """Return all commands of one section of a page of the documentation."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    section = re.split("^## ", text.partition(f"## {heading}\n")[2], flags=re.MULTILINE)[0]
    return "\n".join(re.findall(r"^    (.*)$", section, re.MULTILINE))


def typed(page: str, heading: str, folder: Path, **values: str) -> subprocess.CompletedProcess[str]:
    """Type the commands of a section into a shell, with other values for the names it sets."""
    script = "set -eu\n" + commands(page, heading)
    for name, value in values.items():
        script = re.sub(rf"^{name}=.*$", f"{name}={shlex.quote(value)}", script, flags=re.MULTILINE)
    return subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "TZ": "UTC", "LC_ALL": "C", **values},
    )


@pytest.mark.parametrize("codec", BlobCodec)
def test_a_mail_is_brought_back_by_the_commands_of_the_page(mail: Office, codec: BlobCodec) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is missing: apt install zstd")
    mail.settings = replace(mail.settings, packer=Packer(codec))
    raw = message("Ordine n. 0 — größer")
    item = mail.client.deliver(ALICE, raw, folder="/Inbox")
    mail.client.deliver(ALICE, message("Another"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()

    done = typed(
        *("backup-path.md", "Bring back one mail", mail.folder),
        BACKUP=str(mail.backup_path),
        ADDRESS=ALICE,
        SUBJECT="Ordine n. 0",
    )

    assert (mail.folder / "mail.eml").read_bytes() == raw, done.stderr
    found, first, second, named, proved = done.stdout.splitlines()
    assert found.endswith(f"/items/{item % 100:02d}/{item}")
    assert (first, second) == ("Mon Mar  2 12:00:01 UTC 2026", "Mon Mar  2 12:00:03 UTC 2026")
    assert named == proved


def test_a_mail_is_found_in_each_account_that_ever_had_the_address(mail: Office) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is missing: apt install zstd")
    raw = [message(f"Ordine n. {number}") for number in range(2)]
    mail.client.deliver(BOB, raw[0], folder="/Inbox")
    mail.scan()
    mail.client.delete_account(BOB)
    mail.client.create_account(BOB)
    mail.client.deliver(BOB, raw[1], folder="/Inbox")
    mail.scan()

    for number, content in enumerate(raw):
        done = typed(
            *("backup-path.md", "Bring back one mail", mail.folder),
            BACKUP=str(mail.backup_path),
            ADDRESS=BOB,
            SUBJECT=f"Ordine n. {number}",
        )
        assert (mail.folder / "mail.eml").read_bytes() == content, done.stderr


def test_a_copy_made_by_the_commands_of_the_page_is_whole(mail: Office, tmp_path: Path) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("rsync is missing: apt install rsync")
    mail.client.deliver(ALICE, message("Hello"), folder="/Inbox")
    mail.scan()
    (mail.backup_path / layout.map_file("of-another-server")).write_bytes(b"")
    (tmp_path / "copy").mkdir()

    done = typed(
        *("backup-path.md", "Copy it", tmp_path),
        BACKUP=str(mail.backup_path),
        COPY=str(tmp_path / "copy"),
    )

    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "copy") == files(mail.backup_path)


def test_the_page_of_the_proofs_names_tests_that_are_there() -> None:
    page = (ROOT / "docs" / "proofs.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[a-z_/]+\.py)`", page)

    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).is_file()] == []
