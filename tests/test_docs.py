"""The manual names every command, and every line of README and help pages is one that parses."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from console.cli import grammar
from console.cli.program import MODULES

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = [(module, name) for module, commands in MODULES.items() for name in commands]


@pytest.mark.parametrize(("module", "name"), COMMANDS)
def test_the_manual_names_every_command(module: str, name: str) -> None:
    manual = (ROOT / "docs" / "manual.md").read_text(encoding="utf-8")
    assert re.search(rf"[`, ]{name}\b", manual), f"docs/manual.md lacks {module} {name}"


@pytest.mark.parametrize(("module", "name"), COMMANDS)
def test_every_example_of_a_help_page_is_a_call_that_parses(module: str, name: str) -> None:
    command = MODULES[module][name]
    assert command.examples
    for example in command.examples:
        program, *words = shlex.split(example)
        wish = grammar.parse(words, MODULES)
        assert program == "backupng"
        assert isinstance(wish, grammar.Call)
        assert wish.command is command


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
