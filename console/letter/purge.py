"""What a mail says of a Purge, and of what does a part of it."""

from __future__ import annotations

from console import telling
from console.letter import layout
from console.models import QueuedOperation, State

_COMMANDS = frozenset({"doFixOrphans", "doPurge"})


def is_purge(row: QueuedOperation) -> bool:
    """Say whether it removes from the Backup Path, or looks what it would remove."""
    return row.command in _COMMANDS


def happened(row: QueuedOperation) -> str:
    """Return the last words of the subject: `completed, 3.1 GB freed`."""
    counts = telling.counts(row)
    if row.state != State.SUCCESSFUL or "bytes_freed" not in counts:
        return telling.what_happened(row)
    freed = layout.size(counts["bytes_freed"])
    trashed = counts.get("bytes_in_trash", 0)
    would = "would be " if _is_dry(row) else ""
    also = f", {layout.size(trashed)} {would}moved to .trash" if trashed else ""
    return f"{'' if would else 'completed, '}{freed} {would}freed{also}"


def lead(row: QueuedOperation) -> str:
    """Return the first sentence of one that has ended well."""
    counts, title = telling.counts(row), telling.title(row)
    if "items_examined" not in counts:
        return str(next(iter(telling.report(row).get("notes", ())), f"The {title} has ended."))
    items, blobs = counts.get("items_purged", 0), counts.get("blobs_removed", 0)
    verb = "would remove" if _is_dry(row) else "has removed"
    told = "1 blob" if blobs == 1 else f"{layout.number(blobs)} blobs"
    return f"The {title} {verb} {layout.items(items)} and {told}."


def stats(row: QueuedOperation) -> str:
    """Return the numbers; empty for one that had nothing to do."""
    found = telling.counts(row)
    if "items_examined" not in found:
        return ""
    would = "would be " if _is_dry(row) else ""
    purged = f"{would}purged {found.get('items_purged', 0)}"
    blobs = f"{would}removed {found.get('blobs_removed', 0)}"
    fields = {
        "limit": _limit(found.get("limit_items_days"), found.get("limit_accounts_days")),
        "items": f"examined {found['items_examined']}   {purged}",
        "metadata": f"{would}removed {found.get('metadata_removed', 0)}",
        "accounts": f"{would}purged {found.get('accounts_purged', 0)}",
        "blobs": f"{blobs}   kept, still in use {found.get('blobs_still_named', 0)}",
        f"{would}freed": layout.size(found.get("bytes_freed", 0)),
    }
    if found.get("bytes_in_trash"):
        fields[f"{would}moved to .trash"] = layout.size(found["bytes_in_trash"])
    if archives := found.get("customizations_removed"):
        plural = "archive" if archives == 1 else "archives"
        fields["customizations"] = f"{would}removed {archives} {plural}"
    return layout.block(fields)


def _limit(items: int | None, accounts: int | None) -> str:
    if items is None:
        return ""
    return f"items {items} days, accounts {f'{accounts} days' if accounts else 'for ever'}"


def _is_dry(row: QueuedOperation) -> bool:
    return telling.is_dry_run(row)
