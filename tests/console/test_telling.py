"""An operation in words."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from backupng.engine.operations import OPERATIONS, parameters
from console import telling
from console.models import State
from tests.console import rows

SUCCESSFUL = State.SUCCESSFUL


def test_an_operation_is_named_by_its_title() -> None:
    assert telling.title(rows.restore()) == "Restore on New Account"


def test_one_that_this_version_does_not_know_is_named_by_its_command() -> None:
    row = rows.restore(command="doMagic")
    assert telling.title(row) == "doMagic"
    assert telling.defaults(row) == ()
    assert telling.after_interruption(row) == ""


@pytest.mark.parametrize(
    ("command", "typed", "subject"),
    [
        ("doRestoreOnNewAccount", rows.PARAMETERS, "a1@example.com → copy@example.com"),
        ("doSmartScan", {}, ""),
        ("doAccountScan", {"account": "a1@example.com"}, "a1@example.com"),
        ("doImport", {"source_path": "/mnt/import", "domains": "a.org"}, "/mnt/import"),
        ("doExport", {"domains": "a.org,b.org"}, "a.org,b.org"),
        ("doItemRestore", {"account_name": "a@b.c", "item_id": "257"}, "a@b.c: item 257"),
        ("doItemRestore", {"account_name": "a@b.c", "item_id": "257,258"}, "a@b.c: 2 items"),
    ],
)
def test_what_it_is_about_is_found_in_its_parameters(
    command: str, typed: dict[str, str], subject: str
) -> None:
    assert telling.subject(rows.restore(command=command, parameters=typed)) == subject


def test_chosen_parameters_come_in_the_order_of_the_command() -> None:
    shuffled = dict(sorted(rows.PARAMETERS.items(), reverse=True))
    assert telling.parameters(rows.restore(parameters=shuffled)) == (
        ("source_account", "a1@example.com"),
        ("destination_account", "copy@example.com"),
        ("date", "12/11/2024 21:59:59"),
        ("hide_in_gal", "true"),
    )


def test_what_was_not_chosen_is_a_default() -> None:
    chosen = {name: rows.PARAMETERS[name] for name in ("source_account", "date")}
    defaults = dict(telling.defaults(rows.restore(parameters=chosen)))
    assert (defaults["hide_in_gal"], defaults["restore_datasource"]) == ("false", "true")
    assert not defaults.keys() & chosen.keys()


def test_extra_addresses_are_told_apart() -> None:
    row = rows.restore(parameters={"notifications": "a@x.org, b@x.org,"})
    assert telling.addresses(row) == ("a@x.org", "b@x.org")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "admin@example.com (console)"),
        ({"requester_address": "", "requester_name": "admin"}, "admin (console)"),
        ({"requester_address": "", "origin": "cli", "requester_name": "root"}, "root (CLI)"),
        ({"requester_address": "", "origin": "schedule"}, "schedule"),
    ],
)
def test_it_is_said_who_asked_and_from_where(changes: dict[str, str], told: str) -> None:
    assert telling.requested_by(rows.restore(**changes)) == told


def test_the_command_line_asks_for_the_same() -> None:
    words = shlex.split(telling.command_line(rows.restore()))
    assert words[:5] == [
        *("backupng", "--host", "mail.example.com", "backup", "doRestoreOnNewAccount")
    ]
    typed = dict(zip(words[8::2], words[9::2], strict=True)) | dict(
        zip(("source_account", "destination_account", "date"), words[5:8], strict=True)
    )
    assert typed == rows.PARAMETERS
    zone = rows.mail_server().zone_info
    again = parameters.parse(OPERATIONS["doRestoreOnNewAccount"], typed, zone)
    assert parameters.spell(again, zone) == rows.PARAMETERS


def test_a_value_cannot_break_out_of_the_command_line() -> None:
    row = rows.restore(parameters={"source_account": "a; rm -rf $(x) `y` 'z'"})
    assert shlex.split(telling.command_line(row))[-1] == "a; rm -rf $(x) `y` 'z'"


def test_counters_come_in_their_order_whatever_order_the_database_keeps() -> None:
    report = {"counters": dict(sorted(rows.RESTORED["counters"].items()))}
    row = rows.ended(rows.restore(), SUCCESSFUL, report=report)
    assert telling.counters(row) == (
        *(("planned", 15368), ("Restored Items", 15233), ("Skipped Items", 125)),
        *(("Unrestored Items", 10), ("folders", 12), ("tags", 3)),
        *(("mountpoints not carried", 1), ("grants not carried", 2)),
    )


def test_zeros_of_the_first_counters_are_told_and_others_are_not() -> None:
    labels = dict(telling.counters(rows.ended(rows.scan(), SUCCESSFUL, report=rows.SCANNED)))
    assert labels["accounts deleted"] == labels["read errors"] == 0
    assert "entries changed" not in labels
    assert "Restored Items" not in labels


def test_losses_are_sorted_by_account_and_item_and_counted_by_cause() -> None:
    losses = telling.losses(rows.ended(rows.restore(), SUCCESSFUL, report=rows.RESTORED))
    assert [each.account for each in losses] == [
        *("anna@example.com", "jack@example.com", "john@example.com")
    ]
    assert losses[0].ids == (1255, 1369)
    assert losses[2].causes == (("broken item", 1), ("invalid item", 6))


@pytest.mark.parametrize(
    ("state", "outcome", "told"),
    [
        (State.SUCCESSFUL, {}, "completed"),
        (State.SUCCESSFUL, {"report": rows.RESTORED}, "completed, 10 items not restored"),
        (
            State.SUCCESSFUL,
            {"report": {"unreadable": {"a@x.org": [[3, "read error"]]}}},
            "completed, 1 item not read",
        ),
        (State.FAILED, {}, "failed"),
        (State.STOPPED, {}, "stopped"),
        (State.REMOVED, {}, "removed from the queue"),
        (State.INTERRUPTED, {}, "interrupted"),
    ],
)
def test_every_end_has_its_words(state: State, outcome: dict[str, Any], told: str) -> None:
    assert telling.what_happened(rows.ended(rows.restore(), state, **outcome)) == told


def test_what_has_not_ended_has_started_or_waits() -> None:
    assert telling.what_happened(rows.restore()) == "started"
    assert telling.what_happened(rows.restore(state=State.QUEUED)) == "queued"


def test_the_reason_of_a_failure_is_told() -> None:
    reason = telling.error(rows.failed(rows.restore(), message="It is gone.", hint="Look."))
    assert reason is not None
    assert (reason.message, reason.hint) == ("It is gone.", "Look.")


def test_a_removed_one_needs_no_outcome_to_have_a_reason() -> None:
    row = rows.restore(state=State.REMOVED)
    reason = telling.error(row)
    assert reason is not None
    assert reason.message == "The operation is removed."


def test_success_needs_no_reason() -> None:
    assert telling.error(rows.ended(rows.restore(), SUCCESSFUL)) is None
    assert telling.error(rows.restore()) is None
