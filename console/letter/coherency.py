"""What a mail says of a Coherency Check."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from console import telling
from console.letter import layout
from console.models import QueuedOperation, State

_FINDINGS: Mapping[str, str] = {
    "broken metadata": "broken_metadata",
    "missing blob": "missing_blobs",
    "wrong digest": "wrong_digests",
    "orphans": "orphans",
}
"""Told when they are zero, too."""
_FURTHER: Mapping[str, str] = {
    "missing states": "missing_states",
    "wrong size": "wrong_sizes",
    "no regular file": "wrong_types",
    "compressed twice": "compressed_twice",
    "read errors": "read_errors",
}
_DIFFERS = "differences"
"""Between the backup and the mail server: findings too, where they were looked for."""
_PLURAL = {"missing blob": "missing blobs", "wrong digest": "wrong digests"}


def number(row: QueuedOperation) -> int:
    """Return how many findings there are, differences from the mail server among them."""
    counts = telling.counts(row)
    return sum(counts.get(name, 0) for name in (*_FINDINGS.values(), *_FURTHER.values(), _DIFFERS))


def happened(row: QueuedOperation) -> str:
    """Return the last words of the subject: `completed, 3 findings`."""
    if row.state != State.SUCCESSFUL:
        return telling.what_happened(row)
    return f"completed, {_spelled(number(row))}"


def lead(row: QueuedOperation) -> str:
    """Return the first sentence of one that has ended well."""
    found = number(row)
    told = "everything is as it should be" if not found else f"there are {_spelled(found)}"
    if found == 1:
        told = "there is 1 finding"
    return f"The Coherency Check of {telling.subject(row)} has ended: {told}."


def stats(row: QueuedOperation) -> str:
    """Return the numbers."""
    found = telling.counts(row)
    read = (
        f"accounts {found.get('accounts', 0)}",
        f"metadata {found.get('metadata_files', 0)}",
        f"blobs {found.get('blobs', 0)}",
        layout.size(found.get("bytes_read", 0)),
    )
    told = [f"{label} {found.get(name, 0)}" for label, name in _FINDINGS.items()]
    told += [f"{label} {found[name]}" for label, name in _FURTHER.items() if found.get(name)]
    fields = {
        "read": "   ".join(read),
        "states": str(found.get("states", 0)),
        "findings": "   ".join(told),
    }
    if "differences" in found:
        fields["compared"] = f"with the mail server   differences {found['differences']}"
    else:
        fields["compared"] = "not with the mail server (checkZimbra false)"
    fields["moved"] = f"files {found['moved']}" if "moved" in found else _unmoved(row)
    return layout.block(fields)


def lists(row: QueuedOperation) -> Iterator[str]:
    """Yield the findings per account, or per file of those that belong to none: class and ids."""
    lines: list[str] = []
    last = ""
    for each in telling.findings(row):
        if each.owner != last:
            last = each.owner
            lines.append(f"{'file' if each.is_file else 'account'}: {layout.clean(each.owner)}")
        several = len(each.ids) > 1
        flaw = _PLURAL.get(each.flaw, each.flaw) if several else each.flaw
        lines.append(flaw if each.is_file else f"{flaw}: {each.where}")
    if lines:
        yield "\n".join(("- findings -", *lines))


def hints(row: QueuedOperation) -> Iterator[str]:
    """Yield what to do about findings, the most useful first."""
    if not number(row):
        return
    host = shlex.quote(row.server.name)
    broken = number(row) - telling.counts(row).get(_DIFFERS, 0)
    if broken and "moved" not in telling.counts(row):
        yield layout.filled("Move it away, then have it saved anew:", first="  ", rest="    ")
        path = shlex.quote(str(row.parameters.get("backup_path", "")))
        command = f"backupng --host {host} backup {DoCoherencyCheck.command} {path} fixBackup true"
        yield layout.command("  move", command)
    yield layout.command("  save anew", f"backupng --host {host} backup doSmartScan")


def _unmoved(row: QueuedOperation) -> str:
    if row.parameters.get("fixBackup") == "true":
        return "nothing"
    return "nothing (fixBackup false)"


def _spelled(found: int) -> str:
    return "1 finding" if found == 1 else f"{layout.number(found) if found else 'no'} findings"
