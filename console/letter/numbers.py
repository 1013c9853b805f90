"""What an operation did, in numbers and lists: the blocks that scripts read.

From `- stats -` to the end of the lists: `label: number` a line, then per account an `account:`
line and below it the line of its ids, ascending, with commas between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from console import remedies, telling
from console.letter import coherency, exporting, layout, purge
from console.models import QueuedOperation

STATS = "- stats -"
MANY = 20
"""More losses than these are attached to the mail as a table."""
MOST_IDS = 5000
"""Ids in the text of a mail; the text of the record has them all."""

_SCANS = frozenset({"doAccountScan", "doSmartScan"})
_SUMMED = ("restored", "skipped", "unrestored")
_SCAN_LINES: Mapping[str, Mapping[str, str]] = {
    "accounts": {
        "scanned": "accounts_scanned",
        "new": "accounts_new",
        "updated": "accounts_updated",
        "deleted": "accounts_deleted",
        "skipped by COS": "accounts_skipped_by_cos",
    },
    "items": {
        "checked": "items_checked",
        "updated": "items_updated",
        "deleted": "items_deleted",
        "new": "items_new",
    },
    "files": {"new": "blobs_new", "read errors": "read_errors"},
    "configuration": {
        "domains": "domains",
        "COS": "classes_of_service",
        "lists": "lists",
        "changed entries": "entries_changed",
        "new customizations": "customizations_new",
    },
}
_IDS = re.compile(r"((?:unrestored|unreadable) items): ([0-9,]+)")


def is_scan(row: QueuedOperation) -> bool:
    """Say whether it fills the Backup Path, and restores nothing."""
    return row.command in _SCANS


# Blocks


def stats(row: QueuedOperation) -> str:
    """Return the block `- stats -`; empty for an operation that ended without numbers."""
    found = telling.counts(row)
    if not found:
        return ""
    if telling.is_check(row):
        return f"{STATS}\n{coherency.stats(row)}"
    if purge.is_purge(row):
        told = purge.stats(row)
        return f"{STATS}\n{told}" if told else ""
    if telling.is_about_shares(row):
        told = "    ".join(f"{label} {number}" for label, number in telling.counters(row))
        return f"{STATS}\n{layout.filled(told)}"
    if exporting.is_export(row):
        return f"{STATS}\n{exporting.stats(row)}"
    return f"{STATS}\n{_scan(found) if is_scan(row) else _restore(row, found)}"


def lists(row: QueuedOperation) -> Iterator[str]:
    """Yield a block for what was not restored and one for what was not read, if there is any."""
    if telling.is_check(row):
        yield from coherency.lists(row)
        return
    losses = telling.losses(row)
    for kind in ("unrestored", "unreadable"):
        word = "broken" if telling.is_about_shares(row) else kind
        lines = [
            f"account: {layout.clean(each.account)}\n{word} items: {','.join(map(str, each.ids))}"
            for each in losses
            if each.kind == kind
        ]
        if lines:
            yield "\n".join((f"- {word} items -", *lines))


def why(row: QueuedOperation) -> str:
    """Return how often each cause was met, and what it means."""
    groups = remedies.groups(row)
    if not groups or telling.is_check(row) or telling.is_about_shares(row):
        return ""
    lines = (
        layout.filled(f"{each.cause} {each.number}: {each.meaning}", first="  ", rest="    ")
        for each in groups
    )
    return "\n".join(("why", *lines))


def _scan(found: Mapping[str, int]) -> str:
    fields = {
        line: "   ".join(f"{label} {found[name]}" for label, name in parts.items() if name in found)
        for line, parts in _SCAN_LINES.items()
    }
    if "bytes_read" in found:
        read, stored = found["bytes_read"], found.get("bytes_written", 0)
        fields["data"] = f"{layout.size(read)} read, {layout.size(stored)} stored"
    return layout.block(fields)


def _restore(row: QueuedOperation, found: Mapping[str, int]) -> str:
    lines = [f"{telling.label(name)}: {found[name]}" for name in _SUMMED if name in found]
    if "planned" in found and telling.is_dry_run(row):
        lines = [f"planned {found['planned']}"]
    elif "planned" in found:
        parts = {name: found.get(name, 0) for name in _SUMMED}
        sign = "=" if found["planned"] == sum(parts.values()) else "≠"
        terms = " + ".join(f"{name} {number}" for name, number in parts.items())
        lines += ["", f"planned {found['planned']} {sign} {terms}"]
    told = {telling.label(name) for name in ("planned", *_SUMMED)}
    further = [f"{label} {number}" for label, number in telling.counters(row) if label not in told]
    return "\n".join((*lines, *([layout.filled("    ".join(further))] if further else [])))


# Ways out of a text that is too long


def shortened(text: str) -> str:
    """Return a record's text for a mail: after `MOST_IDS` ids it says how many more there are."""
    head, mark, tail = text.partition(f"\n{STATS}\n")
    kept: list[str] = []
    room, dropped, cut_at = MOST_IDS, 0, 0
    for line in tail.split("\n"):
        found = _IDS.fullmatch(line)
        if found is None:
            kept.append(line)
            continue
        ids = found[2].split(",")
        taken = ids[:room]
        room, dropped = room - len(taken), dropped + len(ids) - len(taken)
        if taken:
            kept.append(f"{found[1]}: {','.join(taken)}")
        else:
            kept.pop()  # the line of its account
        cut_at = len(kept)
    if dropped:
        kept.insert(cut_at, f"{layout.items(dropped)} more: see the attached table.")
    return head + mark + "\n".join(kept)
