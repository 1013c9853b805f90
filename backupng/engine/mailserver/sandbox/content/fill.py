"""Fill a new sandbox with the seeded content of `plan.py`, step by step as users would."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import singledispatch
from typing import Final

from backupng.engine.mailserver.sandbox import arrivals, edits, tags
from backupng.engine.mailserver.sandbox.arrivals import Look
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.content import plan
from backupng.engine.mailserver.sandbox.server import Sandbox, draw_id
from backupng.engine.model import DirectoryEntry, EntryKind, ItemKind

_STEP_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Scene:
    """Where a step happens: one change of one account's mailbox."""

    change: Change
    account: DirectoryEntry


def fill(sandbox: Sandbox, *, seed: int, accounts: int, items: int) -> None:
    """Make accounts, a list of them all, and let their content arrive.

    The clock of a server being filled starts at a fixed moment and ticks once a step, so that the
    same arguments make equal mailboxes on every machine and at any time.
    """
    with sandbox.writing.making():
        _fill(sandbox, seed=seed, accounts=accounts, items=items)


def _fill(sandbox: Sandbox, *, seed: int, accounts: int, items: int) -> None:
    domain = next(sandbox.directory.entries(EntryKind.DOMAIN)).name
    ids = random.Random(f"{domain}/{seed}/accounts")  # noqa: S311  # ids, not secrets
    now_ms = plan.END_S * 1000
    scripts = list(plan.plan(seed, domain, accounts, items))
    owners = [
        sandbox.create_account(
            script.address,
            draw_id(ids),
            now_ms=now_ms,
            attributes={"displayName": script.display_name, "cn": script.display_name},
        )
        for script in scripts
    ]
    if owners:
        with sandbox.locked():
            members = [owner.name for owner in owners]
            sandbox.add_list(f"everyone@{domain}", draw_id(ids), members)
    for account, script in zip(owners, scripts, strict=True):
        for number, step in enumerate(script.steps(), 1):
            step_ms = now_ms + number * _STEP_MS
            if isinstance(step, plan.MakeShare):
                _share(sandbox, account, step, step_ms)
                continue
            with sandbox.change(account, now_ms=step_ms) as change:
                take(step, _Scene(change, account))


@singledispatch
def take(step: object, scene: _Scene) -> None:
    """Take one step of a plan."""
    raise TypeError(step)


@take.register
def _(step: plan.MakeFolder, scene: _Scene) -> None:
    arrivals.make_folder(
        scene.change, step.path, color=step.color, view=step.view, flags=step.flags
    )


@take.register
def _(step: plan.MakeTag, scene: _Scene) -> None:
    tags.make_tag(scene.change, step.name, color=step.color)


@take.register
def _(step: plan.Deliver, scene: _Scene) -> None:
    folder = arrivals.folder_id(scene.change, step.folder)
    look = Look(unread=step.unread, flags=step.flags, tags=step.tags)
    arrivals.deliver(scene.change, step.raw, folder=folder, date=step.date_s, look=look)


@take.register
def _(step: plan.AddContact, scene: _Scene) -> None:
    folder = arrivals.folder_id(scene.change, step.folder)
    arrivals.add_contact(scene.change, step.vcard, folder=folder)


@take.register
def _(step: plan.AddAppointment, scene: _Scene) -> None:
    _add_calendar_item(step, scene, ItemKind.APPOINTMENT)


@take.register
def _(step: plan.AddTask, scene: _Scene) -> None:
    _add_calendar_item(step, scene, ItemKind.TASK)


def _add_calendar_item(
    step: plan.AddAppointment | plan.AddTask, scene: _Scene, kind: ItemKind
) -> None:
    folder = arrivals.folder_id(scene.change, step.folder)
    arrivals.add_calendar_item(
        scene.change, step.ics, address=scene.account.name, kind=kind, folder=folder
    )


@take.register
def _(step: plan.SaveDocument, scene: _Scene) -> None:
    arrivals.save_document(
        scene.change,
        step.raw,
        name=step.name,
        content_type=step.content_type,
        creator=scene.account.name,
        folder=arrivals.folder_id(scene.change, step.folder),
    )


@take.register
def _(step: plan.AddNote, scene: _Scene) -> None:
    folder = arrivals.folder_id(scene.change, step.folder)
    arrivals.add_note(scene.change, step.text, folder=folder)


@take.register
def _(step: plan.AddChat, scene: _Scene) -> None:
    folder = arrivals.folder_id(scene.change, "/Chats")
    arrivals.deliver(
        scene.change, step.raw, folder=folder, date=step.date_s, look=Look(), kind=ItemKind.CHAT
    )


@take.register
def _(step: plan.AddComment, scene: _Scene) -> None:
    folder = arrivals.folder_id(scene.change, step.folder)
    document = scene.change.rows("folder_id = ? AND name = ?", folder, step.document_name)[0]
    arrivals.add_comment(
        scene.change, step.text, document=document["id"], creator_id=scene.account.entry_id
    )


@take.register
def _(step: plan.MakeSearch, scene: _Scene) -> None:
    arrivals.make_search(scene.change, step.name, step.query)


def _share(sandbox: Sandbox, owner: DirectoryEntry, step: plan.MakeShare, now_ms: int) -> None:
    """Grant rights on a folder, and let the grantee put the folder into their own mailbox."""
    grantee = sandbox.account(step.grantee)
    with sandbox.change(owner, now_ms=now_ms) as change:
        folder = arrivals.folder_id(change, step.folder)
        edits.share(change, folder, grantee.entry_id, step.rights)
        shared = change.row(folder)
    name = f"{shared['name']} ({owner.name.partition('@')[0]})"
    with sandbox.change(grantee, now_ms=now_ms) as change:
        edits.mount(change, name, owner_id=owner.entry_id, folder=shared)
