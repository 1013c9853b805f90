"""The grammar of the command line, without any command of the product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from backupng.engine.errors import BadRequest
from backupng.engine.operations.base import Command
from backupng.engine.operations.words import LAST, Moment
from console.cli import grammar
from console.cli.grammar import Call, Help, Process, Switches, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class DoUndelete(Command):
    command: ClassVar[str] = "doUndelete"
    aliases: ClassVar[dict[str, str]] = {"undelete_start_time": "undelete_start_date"}

    account: str
    start_date: Moment
    hide_in_gal: bool = False
    purgeDays: int = 30  # noqa: N815 - a name of the manual
    undelete_start_date: Moment = LAST


@dataclass(frozen=True, slots=True, kw_only=True)
class DoSmartScan(Command):
    command: ClassVar[str] = "doSmartScan"

    notifications: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver(Command):
    command: ClassVar[str] = "deliver"

    file: str


MODULES: dict[str, grammar.Module] = {
    "backup": {"doUndelete": DoUndelete, "doSmartScan": DoSmartScan},
    "sandbox": {"deliver": Deliver},
}


def call(line: str) -> Call:
    parsed = grammar.parse(line.split(), MODULES)
    assert isinstance(parsed, Call)
    return parsed


def texts(line: str) -> dict[str, str]:
    return dict(call(line).texts)


def refused(line: str) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        grammar.parse(line.split(), MODULES)
    return caught.value


def test_mandatory_values_go_by_position_and_optional_ones_by_name() -> None:
    assert texts("backup doUndelete john last hide_in_gal true") == {
        "account": "john",
        "start_date": "last",
        "hide_in_gal": "true",
    }


def test_the_module_may_be_left_out() -> None:
    assert call("doUndelete john last").module == "backup"


def test_module_and_command_are_known_in_any_case() -> None:
    assert call("BACKUP dosmartscan").command is DoSmartScan


def test_optional_names_are_known_in_any_case_and_with_dashes() -> None:
    found = texts("doUndelete john last Hide-In-GAL true PURGEDAYS 3")
    assert (found["hide_in_gal"], found["purgeDays"]) == ("true", "3")


def test_an_alias_stands_for_its_parameter() -> None:
    found = texts("doUndelete john last undelete_start_time first")
    assert found["undelete_start_date"] == "first"


def test_a_parameter_under_both_of_its_names_is_given_twice() -> None:
    error = refused("doUndelete j last undelete_start_time first undelete_start_date last")
    assert "given twice" in str(error)


def test_a_date_without_quotes_is_joined_with_its_time() -> None:
    found = texts("doUndelete john 08/10/2021 10:15:00 hide_in_gal true")
    assert found["start_date"] == "08/10/2021 10:15:00"


def test_a_date_in_quotes_stays_one_word() -> None:
    parsed = grammar.parse(["doUndelete", "john", "08/10/2021 10:15:00"], MODULES)
    assert isinstance(parsed, Call)
    assert parsed.texts["start_date"] == "08/10/2021 10:15:00"


@pytest.mark.parametrize("line", ["doSmartScan", "doSmartScan start", "doSmartScan START"])
def test_a_scan_may_begin_with_the_word_start(line: str) -> None:
    assert texts(f"{line} notifications a@example.com") == {"notifications": "a@example.com"}


def test_other_commands_take_the_word_start_as_a_value() -> None:
    assert texts("sandbox deliver start") == {"file": "start"}


def test_too_few_values_name_what_is_missing_and_the_page() -> None:
    error = refused("doUndelete john")
    assert isinstance(error, Usage)
    assert str(error) == "command doUndelete requires more parameters: start_date missing."
    assert error.page == Help(module="backup", command=DoUndelete)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("doUndelete j last hide_in_gal", "The parameter hide_in_gal needs a value."),
        ("doUndelete j last hide 1", "doUndelete has no optional parameter hide."),
        ("doUndelete j last purgeDays 1 purgedays 2", "The parameter purgeDays is given twice."),
        ("doUndelete j last account k", "doUndelete has no optional parameter account."),
        ("sandbox", "The module sandbox needs a command."),
        ("worker now", "worker takes no parameters."),
        ("help backup doUndelete more", "help takes a module and a command, nothing else."),
    ],
)
def test_what_is_not_in_the_grammar_is_a_usage_error(line: str, sentence: str) -> None:
    error = refused(line)
    assert (str(error), error.code) == (sentence, "usage")


def test_an_unknown_command_gets_the_closest_names() -> None:
    error = refused("backup doSmartScna")
    assert error.code == "no_such_command"
    assert error.hint == "The closest names: doSmartScan, doUndelete."


def test_an_unknown_module_before_a_known_command_is_no_such_module() -> None:
    error = refused("bakcup doSmartScan")
    assert (error.code, error.hint) == (
        "no_such_module",
        "The closest names: backup, sandbox.",
    )


def test_an_unknown_word_alone_is_no_such_command() -> None:
    assert refused("doSmartScna").code == "no_such_command"


def test_no_words_ask_for_the_overview() -> None:
    assert grammar.parse([], MODULES) == Help()


@pytest.mark.parametrize(
    ("line", "wish"),
    [
        ("help", Help()),
        ("help Sandbox", Help(module="sandbox")),
        ("help backup dosmartscan", Help(module="backup", command=DoSmartScan)),
        ("help doSmartScan", Help(module="backup", command=DoSmartScan)),
        ("--help", Help()),
        ("backup --help", Help(module="backup")),
        ("doSmartScan --help", Help(module="backup", command=DoSmartScan)),
    ],
)
def test_help_names_a_module_and_a_command(line: str, wish: Help) -> None:
    _, words = grammar.split(line.split())

    assert grammar.parse(words, MODULES) == wish


def test_a_process_is_a_first_word() -> None:
    assert grammar.parse(["worker"], MODULES) == Process(name="worker")
    assert grammar.parse(["run"], MODULES) == Process(name="run")


def test_switches_stand_anywhere() -> None:
    switches, rest = grammar.split(["--json", "backup", "--host", "mail1", "scan", "--sync"])
    assert switches == Switches(json=True, host="mail1", sync=True)
    assert rest == ["backup", "scan"]


@pytest.mark.parametrize("words", [["--hostname", "m"], ["--host=m"], ["--host", "m"]])
def test_the_host_is_named_in_three_ways(words: list[str]) -> None:
    assert grammar.split(words)[0].host == "m"


def test_a_lone_double_dash_ends_the_switches() -> None:
    switches, rest = grammar.split(["deliver", "--", "--json", "--"])
    assert switches == Switches()
    assert rest == ["deliver", "--json", "--"]


def test_a_single_dash_is_a_value() -> None:
    assert grammar.split(["deliver", "-"])[1] == ["deliver", "-"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--jsno"], "There is no switch --jsno."),
        (["--json", "--json"], "The switch --json is given twice."),
        (["--host", "a", "--hostname", "b"], "The switch --host is given twice."),
        (["--host"], "The switch --host needs the name of a server."),
        (["--json=yes"], "The switch --json takes no value."),
    ],
)
def test_a_wrong_switch_is_a_usage_error(words: list[str], sentence: str) -> None:
    with pytest.raises(Usage) as caught:
        grammar.split(words)
    assert str(caught.value) == sentence


def test_json_is_wanted_even_where_the_line_is_wrong() -> None:
    assert grammar.wants_json(["--nonsense", "--json"])
    assert not grammar.wants_json(["--", "--json"])
