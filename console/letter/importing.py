"""What the mails of an External Restore say besides: before it, and after its first phase."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from console import telling
from console.capture import Scanner
from console.letter import layout
from console.models import Level, QueuedOperation

HAPPENED: Final = "phase 1 done"
MESSAGES: Final = (
    "Accounts can be used after phase 1; you will get a message then and another one at the end."
)
_COMMAND: Final = "doExternalRestore"
_COLUMNS: Final = ("created", "already there", "left out", "failed")
_ROWS: Final = {
    "domain": "domains",
    "cos": "classes of service",
    "list": "lists",
    "account": "accounts",
    "aliases": "aliases",
    "attributes": "attributes",
}
_ENTRIES: Final = ("domain", "cos", "list", "account")
_NAMES: Final = {"cos": "class", "aliases": "alias"}
_MOST_FAILED: Final = 50


def is_import(row: QueuedOperation) -> bool:
    """Say whether it adds the backup of another server."""
    return row.command == _COMMAND


def before(row: QueuedOperation) -> str:
    """Return a line if the Real-Time Scanner is on, which slows an import down; else nothing."""
    if telling.is_dry_run(row):
        return ""
    if not Scanner.objects.filter(server=row.server, enabled=True).exists():
        return ""
    lead = layout.filled("The Real-Time Scanner is on. The import is faster without it:")
    words = f"backupng --host {row.server.name} backup setProperty ZxBackup_RealTimeScanner FALSE"
    return f"{lead}\n{layout.command('  switch it off', words)}"


def lead(row: QueuedOperation, said: Mapping[str, Any]) -> str:
    """Return the first sentences of the mail after phase 1."""
    there = "Domains, classes of service, lists and accounts are in place."
    who = "Users"
    if any(said.get("table", {}).get(kind, {}).get("failed") for kind in _ENTRIES):
        there = (
            "Not all domains, classes of service, lists and accounts could be brought: what failed"
            " is listed below, the others are in place."
        )
        who = "Users whose accounts are here"
    items = "old mail is arriving from here on." if said.get("items") else "there are no items."
    if _is_all(row):
        items = "no items come, as provisioning_only says."
    return layout.filled(f"{there} {who} can log in and receive mail now; {items}")


def level(said: Mapping[str, Any]) -> Level:
    """Return how grave it is: what could not be created asks for a look."""
    return Level.WARNING if said.get("failed") else Level.INFORMATION


def phase1(row: QueuedOperation, said: Mapping[str, Any]) -> Iterator[str]:
    """Yield the blocks of the mail after phase 1: table, what was left out, what failed."""
    table = said.get("table", {})
    head = " " * 20 + "".join(name.rjust(14) for name in _COLUMNS)
    lines = [
        label.ljust(20) + "".join(str(table[key].get(name, 0)).rjust(14) for name in _COLUMNS)
        for key, label in _ROWS.items()
        if key in table
    ]
    yield "\n".join(("- phase 1 -", head, *lines))
    if left_out := said.get("left_out"):
        words = ", ".join(f"{number} {why}" for number, why in left_out)
        yield layout.filled(f"left out: {words}")
    if failed := said.get("failed"):
        yield "\n".join(("failed", *_failed(failed)))
    yield f"{_amount(row, said)}\nmap file: {layout.clean(str(said.get('map', '')))}"


def _is_all(row: QueuedOperation) -> bool:
    """Say whether phase 1 is all that was asked for."""
    return bool(row.parameters.get("provisioning_only") == "true")


def _amount(row: QueuedOperation, said: Mapping[str, Any]) -> str:
    """Say how many items there are to come, or would be."""
    mailboxes = said.get("mailboxes", 0)
    where = "1 mailbox" if mailboxes == 1 else f"{mailboxes} mailboxes"
    size, items = layout.size(said.get("bytes", 0)), layout.items(said.get("items", 0))
    what = "not restored" if _is_all(row) else "expected from here on"
    return layout.filled(f"{what}: {items}, {size}, in {where}")


def _failed(failed: list[Any]) -> Iterator[str]:
    for what, name, why in failed[:_MOST_FAILED]:
        head = f"  {_NAMES.get(what, what).ljust(10)} {layout.clean(name)}"
        yield layout.filled(why, first=f"{head}   ", rest=" " * 13)
    if len(failed) > _MOST_FAILED:
        yield f"  and {len(failed) - _MOST_FAILED} more: the log of the operation has all"
