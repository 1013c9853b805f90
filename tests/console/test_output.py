"""What the command line prints, and with which status it ends."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import pytest

from backupng.engine.errors import BackupError, BadRequest, MailServerUnreachable, ReadError
from console.cli import output
from console.cli.output import Answer

ROME = ZoneInfo("Europe/Rome")


def test_a_tree_indents_the_values_of_a_group_by_eight_blanks() -> None:
    response = {"operation": {"id": "30ed9eb9", "monitor command": "backupng"}}
    assert output.tree(response, ROME) == (
        "operation\n        id                30ed9eb9\n        monitor command   backupng\n"
    )


def test_a_list_repeats_the_block_with_a_blank_line_between() -> None:
    response = {"itemStates": [{"type": "message"}, {"type": "folder"}]}
    assert output.tree(response, ROME) == (
        "itemStates\n        type   message\n\n        type   folder\n"
    )


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("start_date", 1795376708123, "22/11/2026 20:45:08"),
        ("created", 1795376708123, "22/11/2026 20:45:08"),
        ("size", 486, "486 (486 bytes)"),
        ("free_bytes", 5 << 29, "2684354560 (2.7 GB)"),
        ("items", 486, "486"),
        ("deleted", True, "true"),
        ("subject", None, ""),
        ("tags", ["Urgente", "Lavoro"], "Urgente, Lavoro"),
        ("subject", "a\x1b[31mb\nc", "a\\x1b[31mb\\x0ac"),
    ],
)
def test_a_value_is_spelled_by_its_kind(key: str, value: object, text: str) -> None:
    assert output.spell_value(key, value, ROME) == text


def test_keys_are_shown_with_blanks_and_the_dates_of_a_state_as_they_are() -> None:
    text = output.tree({"blob_path": "/x", "start_date": None}, ROME)
    assert text == "blob path    /x\nstart_date\n"


def test_an_answer_is_one_object_under_the_name_of_its_host() -> None:
    line = output.envelope([Answer(host="mail1", response={"state": "Queued"})])
    assert json.loads(line) == {"mail1": {"ok": True, "response": {"state": "Queued"}}}


def test_an_error_carries_code_message_hint_and_details() -> None:
    error = BadRequest("No such account.", code="no_such_account", hint="Look.", account="john")
    assert json.loads(output.envelope([output.refusal("mail1", error)])) == {
        "mail1": {
            "ok": False,
            "error": {
                "code": "no_such_account",
                "message": "No such account.",
                "hint": "Look.",
                "details": {"account": "john"},
            },
        }
    }


def test_an_envelope_is_one_line_whatever_it_holds() -> None:
    line = output.envelope([Answer(host="mail1", response={"subject": "a\nb"})])
    assert "\n" not in line


def test_an_error_is_one_line_and_its_hint_another() -> None:
    error = BadRequest("There is no server x.", hint="There are: a.")
    assert output.error_text(error) == "Error: There is no server x.\nHint: There are: a.\n"


def test_an_error_without_a_hint_is_one_line() -> None:
    assert output.error_text(BadRequest("No.")) == "Error: No.\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadRequest("x"), 64),
        (BadRequest("x", code="already_exists"), 64),
        (BackupError("x", code="path_damaged"), 64),
        (MailServerUnreachable("x"), 69),
        (BackupError("x", code="not_allowed"), 77),
        (ReadError("x"), 1),
        (BackupError("x", code="no_space"), 1),
    ],
)
def test_an_error_has_its_exit_status(error: BackupError, status: int) -> None:
    assert output.exit_of_error(error) == status


def test_what_a_check_refuses_exits_with_64() -> None:
    assert output.exit_of_error(BackupError("x", code="no_space"), before_start=True) == 64


def test_a_server_out_of_reach_exits_with_69_before_the_start_too() -> None:
    assert output.exit_of_error(MailServerUnreachable("x"), before_start=True) == 69


@pytest.mark.parametrize(
    ("state", "losses", "status"),
    [
        ("successful", False, 0),
        ("successful", True, 5),
        ("failed", False, 1),
        ("stopped", False, 2),
        ("removed", False, 3),
        ("interrupted", False, 4),
    ],
)
def test_an_ended_operation_has_its_exit_status(state: str, losses: bool, status: int) -> None:  # noqa: FBT001 - a column of the table
    assert output.exit_of_state(state, losses=losses) == status


def test_losses_exit_with_0_where_the_setting_asks_for_it() -> None:
    assert output.exit_of_state("successful", losses=True, compat=True) == 0
