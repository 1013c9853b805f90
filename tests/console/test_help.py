"""Help pages, letter by letter."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from backupng.engine.operations.base import Command
from backupng.engine.operations.words import Addresses, Moment
from console.cli import grammar, redolog
from console.cli import help as pages
from console.cli.grammar import Help, Module

NOBODY = Addresses(())


@dataclass(frozen=True, slots=True, kw_only=True)
class DoUndelete(Command):
    command: ClassVar[str] = "doUndelete"
    summary: ClassVar[str] = "Undelete restore: brings deleted items back"
    examples: ClassVar[tuple[str, ...]] = (
        'backupng backup doundelete john@example.com "08/10/2024 10:15:00" last',
    )

    account: str
    start_date: Moment = field(metadata={"values": '"dd/MM/yyyy HH:mm:ss"|first'})
    apply_hsm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DoSmartScan(Command):
    command: ClassVar[str] = "doSmartScan"
    summary: ClassVar[str] = "SmartScan: saves what changed"
    examples: ClassVar[tuple[str, ...]] = ("backupng backup dosmartscan",)

    notifications: Addresses = NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckShares(Command):
    command: ClassVar[str] = "doCheckShares"
    summary: ClassVar[str] = "Check shares: looks at all of them"
    examples: ClassVar[tuple[str, ...]] = ("backupng backup doCheckShares",)


MODULES: dict[str, Module] = {
    "backup": {
        "doUndelete": DoUndelete,
        "doSmartScan": DoSmartScan,
        "doCheckShares": CheckShares,
    }
}


def test_the_page_of_a_command_has_the_layout_of_the_contract() -> None:
    assert pages.page(Help(module="backup", command=DoUndelete), MODULES) == (
        """\
Undelete restore: brings deleted items back

Syntax:
   backupng backup doUndelete {account} {"dd/MM/yyyy HH:mm:ss"|first} [attr1 value1 [attr2 value2...

PARAMETER LIST

NAME                TYPE                 EXPECTED VALUES                    DEFAULT
account(M)          String
start_date(M)       Date                 "dd/MM/yyyy HH:mm:ss"|first
apply_hsm(O)        Boolean              true|false                         false
(M) == mandatory parameter, (O) == optional parameter

Usage example:
backupng backup doundelete john@example.com "08/10/2024 10:15:00" last
"""
    )


def test_columns_without_any_value_are_left_out() -> None:
    page = pages.page(Help(module="backup", command=DoSmartScan), MODULES)
    assert "NAME                TYPE\nnotifications(O)    Email Address[,..]\n" in page


def test_a_command_without_parameters_has_no_list_of_them() -> None:
    assert pages.page(Help(module="backup", command=CheckShares), MODULES) == (
        """\
Check shares: looks at all of them

Syntax:
   backupng backup doCheckShares

Usage example:
backupng backup doCheckShares
"""
    )


def test_a_module_lists_its_commands_alphabetically_one_line_each() -> None:
    page = pages.page(Help(module="backup"), MODULES)
    assert page.splitlines()[2:] == [
        "doCheckShares   Check shares: looks at all of them",
        "doSmartScan     SmartScan: saves what changed",
        "doUndelete      Undelete restore: brings deleted items back",
    ]


def test_the_overview_names_modules_processes_and_switches() -> None:
    page = pages.page(Help(), MODULES)
    assert "\nbackup   " in page
    assert "\nworker   " in page
    assert "\n--sync   " in page


def test_a_parameter_is_shown_as_it_is_typed() -> None:
    modules: dict[str, Module] = {redolog.MODULE: redolog.COMMANDS}
    page = pages.page(Help(module=redolog.MODULE, command=redolog.Dump), modules)

    assert "backupng redolog dump {file} [from {offset}]\n" in page
    assert re.search(r"^from\(O\) +Integer", page, re.MULTILINE)
    assert "offset(O)" not in page


@pytest.mark.parametrize(
    ("name", "syntax"), [("scanner", "scanner [--host {server}]"), ("run", "run")]
)
def test_what_starts_a_process_has_a_page(name: str, syntax: str) -> None:
    wish = grammar.parse(["help", name], MODULES)

    assert isinstance(wish, Help)
    assert pages.page(wish, MODULES).endswith(f"Syntax:\n   backupng {syntax}\n")


def test_what_starts_a_process_has_no_commands() -> None:
    with pytest.raises(grammar.Usage, match="scanner has no commands"):
        grammar.parse(["help", "scanner", "start"], MODULES)
