"""What an External Restore has come to, or would come to: its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from backupng.engine.backuppath import layout
from backupng.engine.errors import OperationError
from backupng.engine.model import AccountId, EntryKind, ItemKind
from backupng.engine.operations.base import Report
from backupng.engine.operations.importing import KINDS, Import, Outcome
from backupng.engine.operations.restoring import dry_note, long_lines
from backupng.engine.restore.importing.choice import Choice
from backupng.engine.restore.importing.phase1 import (
    ALIASES,
    ATTRIBUTES,
    CREATED,
    FAILED,
    LEFT_OUT,
    MEMBERS,
    THERE,
)
from backupng.engine.restore.importing.phase2 import Amount

_NAMED: Final = 20
_FORETOLD: Final = (
    *("planned", "restored", "skipped", "unrestored"),
    *("pending", "deleted_there", "too_large"),
)
_OLDER: Final = "restored in an older state: the scan could not read the newer one"
_ENTRIES: Final = {
    EntryKind.DOMAIN: "domains",
    EntryKind.COS: "classes_of_service",
    EntryKind.LIST: "lists",
    EntryKind.ACCOUNT: "accounts",
    "aliases": "aliases",
}
_KINDS: Final = {
    ItemKind.MESSAGE: "mail",
    ItemKind.CHAT: "mail",
    ItemKind.CONTACT: "contacts",
    ItemKind.APPOINTMENT: "appointments",
    ItemKind.TASK: "tasks",
    ItemKind.DOCUMENT: "files",
    ItemKind.WIKI: "files",
    ItemKind.TAG: "tags",
    ItemKind.NOTE: "notes",
    ItemKind.COMMENT: "comments",
    ItemKind.FOLDER: "folders",
    ItemKind.SEARCH: "folders",
}


def foretold(course: Import, choice: Choice) -> Report:
    """Return what a dry run has found out: what a run right after it would come to."""
    outcome = course.outcome
    report = _report(course, choice)
    numbers = _numbers(outcome)
    _require_sum(numbers)
    report.counters = {
        **{name: numbers[name] for name in _FORETOLD if name in numbers},
        "restored": 0,
        "bytes": sum(each.size_bytes for each in outcome.expected.values()),
        **_entries(course),
    }
    report.notes.append(dry_note(numbers["restored"]))
    return report


def achieved(course: Import, choice: Choice) -> Report:
    """Return what was done. Raises OperationError if items are not accounted for."""
    outcome = course.outcome
    report, kinds = _report(course, choice), Counter[str]()
    for name, account in sorted(outcome.accounts.items()):
        if account.outdated:
            report.unreadable[name] = [(item, _OLDER) for item in sorted(account.outdated)]
        for kind, number in account.kinds.items():
            kinds[_KINDS.get(kind, kind.value)] += number
    report.counters = _numbers(outcome) | _entries(course) | dict(sorted(kinds.items()))
    _require_sum(report.counters)
    report.notes += _notes(outcome)
    return report


def after_phase1(course: Import, choice: Choice, server_id: str) -> dict[str, Any]:
    """Return what the mail after phase 1 says, as values of JSON."""
    counts, outcome = course.entries(), course.outcome
    table = {
        kind: {name: counts[kind, name] for name in (CREATED, THERE, FAILED)}
        for kind in (*KINDS, ALIASES, ATTRIBUTES)
    }
    for (kind, _), number in choice.left_out.items():
        table[kind][LEFT_OUT] = table[kind].get(LEFT_OUT, 0) + number
    mailboxes = [AccountId(each.source.entry_id) for each in outcome.phase1.accounts]
    amounts = [outcome.expected.get(each, Amount()) for each in mailboxes]
    return {
        "table": table,
        "left_out": [[number, why] for (_, why), number in sorted(choice.left_out.items())],
        "failed": [list(each) for each in course.failures()],
        "items": sum(each.items for each in amounts),
        "bytes": sum(each.size_bytes for each in amounts),
        "mailboxes": len(mailboxes),
        "map": layout.map_file(server_id).name,
    }


def _report(course: Import, choice: Choice) -> Report:
    report = Report(incomplete=course.is_incomplete)
    for name, account in sorted(course.outcome.accounts.items()):
        if account.unrestored:
            report.unrestored[name] = sorted(account.unrestored)
        report.suspect(name, account.errors)
    report.warnings += [*_set_back(course), *_begun_anew(course.outcome), *_problems(course)]
    report.notes += [*_choice_notes(choice), *_gone(course.outcome)]
    if found := sum(each.long_lines for each in course.outcome.accounts.values()):
        report.notes.append(long_lines(found))
    if strangers := course.outcome.phase1.counts[MEMBERS, LEFT_OUT]:
        what = "1 member of a list was" if strangers == 1 else f"{strangers} members of lists were"
        report.notes.append(
            f"{what} left out: the account was not asked for. An import of it adds it."
        )
    return report


def _notes(outcome: Outcome) -> Iterator[str]:
    for old, here in outcome.phase1.renamed:
        yield f"The account {old} is called {here} here."
    for account in outcome.phase1.kept_passwords:
        yield f"The administrator {account} keeps the password it has here."
    if outcome.phase1.rights:
        rights = ", ".join(sorted(outcome.phase1.rights))
        yield (
            f"Attributes that give rights were left out: {rights}."
            " With restore_admin_rights true they are imported."
        )
    if dangling := outcome.counts["shares_to_mend"]:
        what = (
            "1 grant or mountpoint names an account that is"
            if dangling == 1
            else f"{dangling} grants and mountpoints name accounts that are"
        )
        mended = "it" if dangling == 1 else "them"
        yield (
            f"{what} not here. Once all accounts are imported, doFixShares mends {mended} by the"
            " map of that import."
        )
    if forwarding := _forwarding(outcome):
        what = "1 account forwards" if forwarding == 1 else f"{forwarding} accounts forward"
        yield f"{what} mail to other addresses, as before."


def _numbers(outcome: Outcome) -> dict[str, int]:
    accounts = outcome.accounts.values()
    failed = sum(1 for each in accounts if each.planned and each.planned == len(each.unrestored))
    sums = {
        "pending": sum(each.pending for each in accounts),
        "deleted_there": sum(each.deleted_there for each in accounts),
        "deleted_since": sum(each.deleted_since for each in accounts),
        "too_large": sum(each.too_large for each in accounts),
    }
    return {
        "planned": sum(each.planned for each in accounts),
        "restored": sum(each.restored for each in accounts),
        "skipped": sum(each.skipped for each in accounts),
        "unrestored": sum(len(each.unrestored) for each in accounts),
        "mailboxes": len(outcome.accounts) - failed,
        "mailboxes_failed": failed,
        **{name: number for name, number in sums.items() if number},
        **{name: number for name, number in sorted(outcome.counts.items()) if number},
    }


def _entries(course: Import) -> dict[str, int]:
    return {
        f"{_ENTRIES[what]}_{outcome.replace(' ', '_')}": number
        for (what, outcome), number in sorted(course.entries().items())
        if what in _ENTRIES and number
    }


def _require_sum(counters: Mapping[str, int]) -> None:
    done = sum(counters[name] for name in ("restored", "skipped", "unrestored"))
    if counters["planned"] != done:
        raise OperationError(
            f"{counters['planned']} items were planned, but only {done} are accounted for.",
            hint="Run it again: what is done already is not done twice.",
        )


def _set_back(course: Import) -> Iterator[str]:
    """Say what scans after a roll-back of this server took for deleted: it does not come."""
    accounts = course.outcome.accounts.items()
    found = {name: each.set_back for name, each in accounts if each.set_back and each.set_back.lost}
    if not found:
        return
    lost = sum(each.lost for each in found.values())
    since = min(each.start for each in found.values()).astimezone(course.zone)
    moment = f"{since:%d/%m/%Y %H:%M:%S}"
    items, are = ("1 item is", "that is") if lost == 1 else (f"{lost} items are", "these are")
    yield (
        f"{items} deleted in the backup since {moment} {since:%Z}, when a scan found the server set"
        f" back: {are} not brought. Undelete brings what was lost, account by account:"
        f' backupng backup doUndelete {min(found)} "{moment}" last target_original_folder true.'
        f" It is about: {_some(sorted(found))}."
    )


def _gone(outcome: Outcome) -> Iterator[str]:
    """Say what accounts say no more, as at the source."""
    found = [each for each in outcome.phase1.accounts if each.gone]
    names = sorted(f"{each.here.name} ({', '.join(each.gone)})" for each in found)
    if names:
        yield f"Cleared here, as at the source: {_some(names)}."


def _begun_anew(outcome: Outcome) -> Iterator[str]:
    """Say which mailboxes here were taken for set back: what was deleted there may come again."""
    names = sorted(name for name, each in outcome.accounts.items() if each.begun_anew)
    if names:
        yield (
            "The mail server seems to have been set back to an earlier state: what is missing here"
            " of what earlier imports brought comes again, what was deleted since included."
            f" It is about: {_some(names)}."
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _problems(course: Import) -> list[str]:
    """Return what was wanted and not achieved besides items, the first of it in sentences."""
    found = [f"{what} {name}: {why}." for what, name, why in course.failures()]
    more = [f"And {len(found) - _NAMED} more: the log has all."] if len(found) > _NAMED else []
    return found[:_NAMED] + more


def _choice_notes(choice: Choice) -> list[str]:
    return [
        f"{_ENTRIES[kind].replace('_', ' ').capitalize()} left out: {number}, {why}."
        for (kind, why), number in sorted(choice.left_out.items())
    ]


def _forwarding(outcome: Outcome) -> int:
    names = ("zimbraPrefMailForwardingAddress", "zimbraMailForwardingAddress")
    placed = outcome.phase1.accounts
    return sum(1 for each in placed if any(each.later.get(name) for name in names))
