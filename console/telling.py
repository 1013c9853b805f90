"""An operation in words: the same on pages, in mails and on the command line.

Functions of a row whose server is loaded; nothing is read or written. The words are not translated:
scripts, filters and admins search for them.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from django.db.models import Q

from backupng.engine.model import ItemId
from backupng.engine.operations import OPERATIONS
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from backupng.engine.operations.do_fix_orphans import DoFixOrphans
from console.models import Origin, QueuedOperation, State

DRY_RUNS = Q(parameters__dryrun="true") | (
    Q(command=DoFixOrphans.command) & ~Q(parameters__has_key="dryrun")
)
"""Finds the rows of which `is_dry_run` is true."""
_OF_SHARES = frozenset({"doCheckShares", "doFixShares"})
_ENTRIES = ("domains", "classes_of_service", "lists", "accounts")
_ADDRESSES = "notifications"
_EXPORT = "doExport"
_SUBJECTS = (
    ("source_account", "destination_account"),
    ("account",),
    ("account_name", "item_id"),
    ("source_path",),
    ("destination_path",),
    ("backup_path",),
    ("domains",),
)
"""What an operation is about: the first of these that all of its parameters know."""

_COUNTERS: Mapping[str, tuple[str, ...]] = {
    "doFixOrphans": ("blobs_removed",),
    "doPurge": (
        *("limit_items_days", "limit_accounts_days"),
        *("items_examined", "items_purged", "metadata_removed", "accounts_purged"),
        "blobs_removed",
    ),
    "doAccountScan": (
        *("items_checked", "items_new", "items_updated", "items_deleted"),
        *("read_errors", "blobs_new", "bytes_read", "bytes_written"),
    ),
    "doSmartScan": (
        *("accounts_scanned", "accounts_new", "accounts_updated", "accounts_deleted"),
        *("accounts_skipped_by_cos", "items_checked", "items_new", "items_updated"),
        *("items_deleted", "read_errors", "blobs_new", "bytes_read", "bytes_written"),
    ),
    "doExport": (
        *("accounts_exported", "accounts_left_out", "items_exported", "skipped"),
        *("read_errors", "blobs_new", "bytes_read", "bytes_written"),
    ),
    "doCoherencyCheck": (
        *("accounts", "metadata_files", "states", "blobs", "bytes_read", "broken_metadata"),
        *("missing_blobs", "wrong_digests", "orphans"),
    ),
    "doCheckShares": ("accounts", "grants", "mountpoints"),
    "doFixShares": ("accounts", "grants", "mountpoints", "repaired", "not_repairable"),
    "rebuildCatalog": ("accounts", "items", "states", "read_errors"),
}
_RESTORE_COUNTERS = ("planned", "restored", "skipped", "unrestored")
"""Counters that come first, in this order, and are told when they are zero too."""
_FURTHER_COUNTERS = (
    *("mailboxes", "mailboxes_failed", "mail", "contacts", "appointments", "tasks", "files"),
    *("notes", "comments", "mountpoints", "data_sources", "grants"),
    *("found_deleted", "unknown_folders", "new_id", "deleted_there", "deleted_since", "too_large"),
    *("items", "bytes"),
    *("folders", "tags", "mountpoints_not_carried", "grants_not_carried"),
    *("domains", "classes_of_service", "lists", "entries_changed"),
    *("customizations_new", "customizations_removed"),
    *("blobs_still_named", "blobs_too_young"),
    *("blobs_put_back", "bytes_freed", "bytes_in_trash"),
)
"""Those that follow in this order: a database may hand them back in another."""
_LABELS = {
    "restored": "Restored Items",
    "skipped": "Skipped Items",
    "unrestored": "Unrestored Items",
    "accounts_skipped_by_cos": "skipped by COS",
    "blobs_new": "new files",
    "limit_items_days": "limit for items, days",
    "limit_accounts_days": "limit for accounts, days",
    "blobs_still_named": "blobs kept, still in use",
    "metadata_files": "metadata",
    "customizations_new": "new customizations",
    "customizations_removed": "customizations removed",
    "wrong_digests": "wrong digest",
    "wrong_sizes": "wrong size",
    "wrong_types": "no regular file",
    "on_their_way": "blobs on their way",
    "unjudged": "blobs that may be orphans",
    "bytes_in_trash": "bytes moved to .trash",
    "found_deleted": "items found deleted",
    "unknown_folders": "parents unknown",
    "new_id": "new item",
    "deleted_there": "skipped, deleted at the destination",
    "deleted_since": "restored, deleted there at once",
    "too_large": "skipped, too large",
}
_WOULD = {
    "items_purged": "items that would be purged",
    "metadata_removed": "metadata that would be removed",
    "accounts_purged": "accounts that would be purged",
    "blobs_removed": "blobs that would be removed",
    "customizations_removed": "customizations that would be removed",
    "bytes_freed": "bytes that would be freed",
    "bytes_in_trash": "bytes that would be moved to .trash",
}
"""What a dry run has counted, which is not done."""
_ENDS = {
    State.FAILED: "failed",
    State.STOPPED: "stopped",
    State.REMOVED: "removed from the queue",
    State.INTERRUPTED: "interrupted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The items of one account that were not restored, or not read: `kind` says which."""

    account: str
    kind: str
    items: tuple[tuple[ItemId, str], ...]
    """Id and cause, ascending by id."""

    @property
    def ids(self) -> tuple[ItemId, ...]:
        """The ids, ascending."""
        return tuple(item for item, _ in self.items)

    @property
    def causes(self) -> tuple[tuple[str, int], ...]:
        """Each cause and how often it was met."""
        return tuple(sorted(Counter(cause for _, cause in self.items).items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a Coherency Check found of one class, in a file or in the items of an account."""

    owner: str
    is_file: bool
    flaw: str
    ids: tuple[ItemId, ...]

    @property
    def where(self) -> str:
        """The items in words; the account itself stands for what belongs to none of them."""
        if self.is_file:
            return ""
        numbers = ",".join(str(item) for item in self.ids if item)
        return ", ".join(filter(None, ("" if all(self.ids) else "the account itself", numbers)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why an operation did not succeed, and what an admin can do."""

    code: str
    message: str
    hint: str = ""


# What was asked


def title(row: QueuedOperation) -> str:
    """Return the operation's name in words; a dry run is told from what it foretells."""
    name = OPERATIONS[row.command].title if row.command in OPERATIONS else row.command
    return f"{name} (dry run)" if is_dry_run(row) else name


def subject(row: QueuedOperation) -> str:
    """Return what it is about: accounts, a path, domains; empty if it is the whole server."""
    for names in _SUBJECTS:
        if all(row.named.get(name) for name in names):
            first, *more = (str(row.named[name]) for name in names)
            if "item_id" in names:
                number = more[0].count(",") + 1
                return f"{first}: {f'{number} items' if number > 1 else f'item {more[0]}'}"
            return " → ".join([first, *more])
    return ""


def parameters(row: QueuedOperation) -> tuple[tuple[str, str], ...]:
    """Return the parameters as chosen, in the command's own names and order."""
    return tuple(
        (name, str(row.parameters[name]))
        for name in _parameter_names(row)
        if name in row.parameters and name != _ADDRESSES
    )


def defaults(row: QueuedOperation) -> tuple[tuple[str, str], ...]:
    """Return the parameters that were left as they are; those without any value are left out."""
    if row.command not in OPERATIONS:
        return ()
    return tuple(
        (each.name, each.default)
        for each in OPERATIONS[row.command].parameters()
        if each.name not in row.parameters and each.name != _ADDRESSES and each.default
    )


def addresses(row: QueuedOperation) -> tuple[str, ...]:
    """Return the addresses that were typed to be told too."""
    typed = str(row.parameters.get(_ADDRESSES, "")).split(",")
    return tuple(address.strip() for address in typed if address.strip())


def is_dry_run(row: QueuedOperation) -> bool:
    """Say whether it only looks what it would do."""
    chosen = row.parameters.get("dryrun")
    if chosen is not None or row.command not in OPERATIONS:
        return bool(chosen == "true")
    return any(
        each.name == "dryrun" and each.default is True for each in fields(OPERATIONS[row.command])
    )


def requested_by(row: QueuedOperation) -> str:
    """Return who asked for it, and from where."""
    origin = Origin(row.origin).label
    who = row.requester_address or row.requester_name
    return f"{who} ({origin})" if who else str(origin)


def command_line(row: QueuedOperation, *, again: bool = False) -> str:
    """Return the command that asks for the same; `again`: after it has not come to its end."""
    words = ["backupng", "--host", row.server.name, "backup", row.command]
    mandatory, texts = _mandatory(row), parameters_again(row) if again else row.parameters
    for name in _parameter_names(row):
        if name in texts:
            text = str(texts[name])
            words += [text] if name in mandatory else [name, text]
    return shlex.join(words)


def parameters_again(row: QueuedOperation) -> dict[str, str]:
    """Return the texts of the parameters of one that goes on where an ended one has come to.

    An export goes on where it was cut off; everything else finds that out for itself.
    """
    texts: dict[str, str] = row.parameters
    is_cut_off = row.command == _EXPORT and row.state != State.SUCCESSFUL
    return texts | ({"resume": "true"} if is_cut_off else {})


def monitor_command(row: QueuedOperation) -> str:
    """Return the command that follows it."""
    return f"backupng backup monitor {row.pk} operation_host {row.server.name}"


def _parameter_names(row: QueuedOperation) -> Sequence[str]:
    if row.command not in OPERATIONS:
        return sorted(row.parameters)
    return [each.name for each in OPERATIONS[row.command].parameters()]


def _mandatory(row: QueuedOperation) -> frozenset[str]:
    if row.command not in OPERATIONS:
        return frozenset()
    return frozenset(each.name for each in OPERATIONS[row.command].parameters() if each.mandatory)


# What came of it


def report(row: QueuedOperation) -> Mapping[str, Any]:
    """Return the report that it ended with; empty without one."""
    found: Mapping[str, Any] = row.outcome.get("report") or {}
    return found


def counts(row: QueuedOperation) -> Mapping[str, int]:
    """Return the numbers by name: those of the report, else those it had come to when it ended."""
    found: Mapping[str, int] = report(row).get("counters", {})
    if found or not row.has_ended:
        return found
    return row.progress.get("counts") or {}


def counters(row: QueuedOperation) -> tuple[tuple[str, int], ...]:
    """Return the numbers with their labels; zero is told of the first ones only."""
    found = counts(row)
    always = _COUNTERS.get(row.command, _RESTORE_COUNTERS)
    further = (*_FURTHER_COUNTERS, *sorted(found.keys() - {*always, *_FURTHER_COUNTERS}))
    names = [name for name in always if name in found]
    names += [name for name in further if name not in always and found.get(name)]
    would = _WOULD if is_dry_run(row) else {}
    return tuple((would.get(name) or label(name), found[name]) for name in names)


def label(name: str) -> str:
    """Return the words for a counter."""
    return _LABELS.get(name, name.replace("_", " "))


def losses(row: QueuedOperation) -> tuple[Losses, ...]:
    """Return what was lost, per account: first what was not restored, then what was not read."""
    return tuple(
        Losses(
            account=account,
            kind=kind,
            items=tuple(sorted((ItemId(item), str(cause)) for item, cause in items)),
        )
        for kind in ("unrestored", "unreadable")
        for account, items in sorted(report(row).get(kind, {}).items())
        if items
    )


def is_check(row: QueuedOperation) -> bool:
    """Say whether it looks for what is broken in a Backup Path."""
    return row.command == DoCoherencyCheck.command


def is_about_shares(row: QueuedOperation) -> bool:
    """Say whether it looks for grants and mountpoints that lead nowhere."""
    return row.command in _OF_SHARES


def findings(row: QueuedOperation) -> tuple[Finding, ...]:
    """Return what a Coherency Check has found: by file or account, then by class."""
    found = []
    for each in losses(row):
        # Files of no account stand by their path, and no address has a slash.
        is_file = "/" in each.account
        for cause, _ in each.causes:
            ids = tuple(item for item, why in each.items if why == cause)
            found.append(Finding(owner=each.account, is_file=is_file, flaw=cause, ids=ids))
    return tuple(found)


def failed_entries(row: QueuedOperation) -> int:
    """Return how many domains, classes, lists and accounts an import could not bring."""
    found = report(row).get("counters", {})
    return sum(int(found.get(f"{what}_failed", 0)) for what in _ENTRIES)


def lost(row: QueuedOperation) -> Counter[str]:
    """Return how many items were lost, by kind."""
    numbers: Counter[str] = Counter()
    for each in losses(row):
        numbers[each.kind] += len(each.items)
    return numbers


def state(row: QueuedOperation) -> str:
    """Return the state in words, losses included."""
    return row.shown_state + (", with losses" if row.losses else "")


def what_happened(row: QueuedOperation) -> str:
    """Return the last words of a subject line: `completed, 10 items not restored`."""
    if row.state == State.SUCCESSFUL:
        return ", ".join(("completed", *_lost_in_words(row)))
    if row.state == State.STARTED:
        return "started"
    return _ENDS.get(State(row.state), row.shown_state.lower())


def error(row: QueuedOperation) -> Reason | None:
    """Return why it did not succeed; None while it may still, and if it did."""
    if row.state == State.SUCCESSFUL or not row.has_ended:
        return None
    found = row.outcome.get("error") or {}
    return Reason(
        code=found.get("code", row.state),
        message=found.get("message", f"The operation is {row.shown_state.lower()}."),
        hint=found.get("hint", ""),
    )


def after_interruption(row: QueuedOperation) -> str:
    """Return what to do when it was cut off halfway; empty for what this version does not know."""
    known = OPERATIONS.get(row.command)
    return known.after_interruption if known else ""


def _lost_in_words(row: QueuedOperation) -> list[str]:
    said = {"unrestored": "not restored", "unreadable": "not read"}
    if is_about_shares(row):
        return [f"{number} broken" for number in lost(row).values()]
    return [
        f"{number} {'item' if number == 1 else 'items'} {said[kind]}"
        for kind, number in lost(row).items()
    ]
