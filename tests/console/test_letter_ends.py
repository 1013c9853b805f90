"""What mails say of ends that are seldom met, one sentence for each."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from console import telling
from console.letter import layout, text
from console.letter.text import ENDED, PHASE_1, STARTED, Letter
from console.models import Level, QueuedOperation, State
from tests.console import rows

DRY = rows.PARAMETERS | {"dryrun": "true"}
HALFWAY = {"phase": "restoring items", "done": 1, "total": 2}
LOST: dict[str, Any] = {"unrestored": {"a@x.org": [[3, "read error"]]}, "losses": True}
PLANNED: dict[str, Any] = {"counters": {"planned": 5}}
FIXED = {"backup_path": "/b", "fixBackup": "true"}
TWO_FLAWS = {"a@x.org": [[5, "missing blob"], [7, "broken metadata"]]}


def letter(row: QueuedOperation, event: str = ENDED, **said: Any) -> Letter:
    return text.compose(row, notification=uuid.UUID(int=1), event=event, said=said)


def words(found: Letter) -> str:
    """Return the subject and the text, each line joined to the one before."""
    return " ".join(f"{found.subject}\n{found.text}".replace("\\\n", "").split())


def done(command: str, parameters: dict[str, str] | None = None, **report: Any) -> QueuedOperation:
    row = rows.restore(command=command, parameters=parameters or {})
    return rows.ended(row, State.SUCCESSFUL, report=report)


def failed(command: str, **parameters: str) -> QueuedOperation:
    return rows.failed(rows.restore(command=command, parameters=parameters), message="No.")


SAID = [
    (done("doAccountScan", counters={"items_checked": 1}), "the account had not changed."),
    (done("doSmartScan", **rows.SCANNED), "; 12 of 245 accounts had changed."),
    (done("rebuildCatalog"), "The Catalog Rebuild has ended. operation"),
    (done("doRestoreOnNewAccount", DRY, **PLANNED), "has ended: the plan has 5 items."),
    (done("doRestoreOnNewAccount", DRY, **PLANNED), "- stats - planned 5 nothing to be done"),
    (rows.restored(), "ended 12/11/2024 22:06:08 CET duration 6 minutes, 3 seconds"),
    (rows.restored(), "state Successful, with losses"),
    (rows.restored(), "In the source mailbox search for item: 1255,1369 in each tab."),
    (rows.ended(rows.restore(started_at=None), State.REMOVED), "what next ask again backupng"),
    (done("doUndelete", {"backup_path": "/b"}, **LOST), "getItem a@x.org 3 backup_path /b date"),
    (done("doCheckShares", **LOST), "– completed, 1 broken"),
    (done("doCheckShares", **LOST), "- broken items - account: a@x.org broken items: 3 what next"),
    (done("doCheckShares", **LOST), "what next doFixShares mends what the map of an import knows."),
    (done("doFixShares", **LOST), "what next What no map knows: import those accounts too,"),
    (done("doCoherencyCheck", counters={"wrong_digests": 1}), "– completed, 1 finding The"),
    (done("doCoherencyCheck", counters={"wrong_digests": 1}), "ended: there is 1 finding."),
    (done("doCoherencyCheck", counters={"missing_states": 2}), "ended: there are 2 findings."),
    (done("doCoherencyCheck", counters={"missing_states": 2}), "orphans 0 missing states 2"),
    (done("doCoherencyCheck", FIXED, counters={"orphans": 3, "moved": 3}), "moved files 3 what"),
    (done("doCoherencyCheck", FIXED, counters={"orphans": 3}), "moved nothing what next"),
    (
        done("doCoherencyCheck", unreadable=TWO_FLAWS, counters={"missing_blobs": 1}),
        "- findings - account: a@x.org broken metadata: 7 missing blob: 5 what next",
    ),
    (failed("doCoherencyCheck", backup_path="/b"), "Check of /b – failed"),
    (failed("doExport", destination_path="/e"), "Export Backup to /e – failed"),
    (
        done("doExport", {"destination_path": "/e"}, counters={"items_exported": 1}),
        "1 item of 0 accounts lies in /e.",
    ),
    (
        done("doExport", {"destination_path": "/e"}, counters={"accounts_exported": 1}),
        "0 items of 1 account lie in /e.",
    ),
    (
        done("doPurge", {"dryrun": "true"}, counters={"items_examined": 9, "blobs_removed": 1}),
        "would remove 0 items and 1 blob.",
    ),
    (
        done(
            "doPurge",
            counters={"items_examined": 9, "limit_items_days": 30, "customizations_removed": 1},
        ),
        "limit items 30 days, accounts for ever",
    ),
    (
        done("doPurge", counters={"items_examined": 9, "customizations_removed": 1}),
        "customizations removed 1 archive ",
    ),
]


@pytest.mark.parametrize(("row", "said"), SAID, ids=[said for _, said in SAID])
def test_a_mail_says(row: QueuedOperation, said: str) -> None:
    assert said in words(letter(row))


NOT_SAID = [
    (done("doCoherencyCheck", unreadable=TWO_FLAWS, losses=True), "could not be read"),
    (done("doCoherencyCheck", unreadable=TWO_FLAWS, losses=True), "\nwhy\n"),
    (done("doCoherencyCheck", FIXED, counters={"orphans": 3, "moved": 3}), "  move "),
    (done("doCheckShares", **LOST), "\nwhy\n"),
    (done("doCheckShares", counters={"shares_to_mend": 1}), "nothing to be done"),
    (done("doSmartScan", unreadable=LOST["unrestored"], losses=True), "In the source mailbox"),
    (done("doPurge", counters={"planned": 0}, notes=["Nothing."]), "- stats -"),
    (rows.restored(progress=HALFWAY), "got as far as"),
    (failed("doRestoreOnNewAccount", **rows.PARAMETERS), "The new account is incomplete"),
    (done("doUndelete", {"dryrun": "false"}), "(dry run)"),
]


@pytest.mark.parametrize(("row", "said"), NOT_SAID, ids=[said for _, said in NOT_SAID])
def test_a_mail_does_not_say(row: QueuedOperation, said: str) -> None:
    assert said not in letter(row).text


def test_a_dry_run_that_fails_is_an_error() -> None:
    assert letter(failed("doUndelete", dryrun="true")).level == Level.ERROR


def test_a_start_has_the_article_of_its_title_and_is_information() -> None:
    row = rows.restore(command="doAccountScan", parameters={"account": "a@x.org"})
    assert letter(row, STARTED).text.startswith("An Account Scan has begun.")
    undelete = rows.restore(command="doUndelete", parameters={"account": "a@x.org"})
    assert letter(undelete, STARTED).text.startswith("An Undelete has begun.")
    assert text.plain(row, notification=rows.ID, event=STARTED).level == Level.INFORMATION


def test_a_subject_that_is_cut_says_so() -> None:
    row = rows.restored(parameters={"source_account": "x" * 99, "destination_account": "y" * 99})
    assert "y… – completed" in letter(row).subject


def test_an_export_that_has_ended_well_is_not_resumed() -> None:
    row = done("doExport", {"destination_path": "/e"})
    cut_off = failed("doExport", destination_path="/e")
    assert telling.parameters_again(row) == {"destination_path": "/e"}
    assert "resume" not in telling.command_line(cut_off)


def test_phase_1_of_a_lossy_import_says_who_may_come_and_what_failed() -> None:
    row = rows.restore(command="doExternalRestore", parameters={"source_path": "/i"})
    table = {"account": {"created": 1, "failed": 51}}
    found = [["cos", f"c{number}", "no"] for number in range(51)]
    told = words(letter(row, PHASE_1, table=table, failed=found, mailboxes=1))
    assert "Users whose accounts are here can log in and receive mail now; there are no" in told
    assert "class c49 no and 1 more: the log of the operation has all expected" in told
    assert "0 items, 0 B, in 1 mailbox map file" in told
    assert "source_path" not in told


def test_sizes_and_words_are_set_as_they_are() -> None:
    assert (layout.size(999), layout.size(1000)) == ("999 B", "1.0 kB")
    assert layout.filled(f"{'x' * 70} one-two-three").split("\n")[1] == "one-two-three"
    assert layout.command("x", "y" * 90) == f"{'x'.ljust(15)}{'y' * 90}"
    assert max(map(len, layout.command("x", f"{'y' * 61} z z").split("\n"))) <= layout.WIDTH
