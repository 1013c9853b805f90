"""Classes of service and the switch of their backup: a marker in their Notes.

Marker and Notes: `zimbra-provisioning.md` §1, the attribute is zimbraNotes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from backupng.engine.errors import BadRequest
from backupng.engine.model import BACKUP_DISABLED, EntryKind
from backupng.engine.operations.base import Context
from backupng.engine.scan.cos import classes_of, is_disabled


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassOfService:
    """A class of service as the directory has it; `accounts` are those on this server."""

    cos_id: str
    name: str
    disabled: bool
    accounts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """A class of service after a switch; `changed` is False if it was so before."""

    cos_id: str
    name: str
    disabled: bool
    changed: bool


def list_classes(ctx: Context) -> list[ClassOfService]:
    """Return all classes of service by name. Raises MailServerError."""
    coses = list(ctx.source.entries(EntryKind.COS))
    accounts = ctx.source.entries(EntryKind.ACCOUNT)
    classes = classes_of(accounts, coses, ctx.source.entries(EntryKind.DOMAIN))
    members = Counter(cos.entry_id for cos in classes.values())
    found = (
        ClassOfService(
            cos_id=cos.entry_id,
            name=cos.name,
            disabled=is_disabled(cos),
            accounts=members[cos.entry_id],
        )
        for cos in coses
    )
    return sorted(found, key=lambda cos: (cos.name, cos.cos_id))


def switch(ctx: Context, name: str, *, disabled: bool) -> Switched:
    """Write the marker into the Notes of a class of service, or take it out.

    Raises BadRequest (no_such_cos) and MailServerRefused.
    """
    cos = ctx.destination.entry(EntryKind.COS, name)
    if cos is None:
        known = ", ".join(sorted(each.name for each in ctx.source.entries(EntryKind.COS)))
        raise BadRequest(
            f"There is no class of service {name}.", code="no_such_cos", hint=f"There are: {known}."
        )
    changed = is_disabled(cos) != disabled
    if changed:
        ctx.destination.set_notes(cos, marked(cos.first("zimbraNotes"), disabled=disabled))
    return Switched(cos_id=cos.entry_id, name=cos.name, disabled=disabled, changed=changed)


def marked(notes: str, *, disabled: bool) -> str:
    """Return Notes with the marker, on a line of its own, or without it; other text stays."""
    if not disabled:
        return notes.replace(f"\n{BACKUP_DISABLED}", "").replace(BACKUP_DISABLED, "")
    if BACKUP_DISABLED in notes:
        return notes
    return f"{notes}\n{BACKUP_DISABLED}" if notes else BACKUP_DISABLED
