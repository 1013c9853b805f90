"""As a program: make a golden tree of this version of the format; and what one is said to hold.

    python -m tests.proofs.golden FOLDER

FOLDER gets `tree`, a Backup Path with one thing of each kind that the format knows, and
`expected.json`, what this version reads from it. A golden tree is made once, when its version is
released, and never again: later versions have to read it as this one did. The program refuses a
folder that is there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.blobs import BlobCodec, Packer
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import (
    EntryKind,
    EntryState,
    ItemKind,
    ItemState,
    MailboxState,
    to_ms,
)
from tests.cast import ALICE, BOB, DAVE, Office, message, office
from tests.engine.restore.restoring import at, restore
from tests.engine.scan.scanners import Scanner

CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ann Lee\r\nNOTE:{}\r\nEND:VCARD\r\n"
PICTURE = bytes(range(256)) * 16
EVENT = (
    b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y\r\nBEGIN:VEVENT\r\nUID:golden-1\r\n"
    b"DTSTAMP:20260302T120000Z\r\nDTSTART:20260303T090000Z\r\nDTEND:20260303T100000Z\r\n"
    b"SUMMARY:Meeting\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
READABLE = (
    *("kind", "mod", "source", "deleted", "folder_id", "name", "subject", "sender", "recipients"),
    *("flags", "unread", "tags", "color", "date", "size", "digest"),
)
COUNTED = "planned", "restored", "skipped", "unrestored"
RESTORED = "type", "folder", "name", "subject", "flags", "unread", "tags", "color", "size", "digest"


def make(folder: Path) -> None:
    """Make a golden tree and its expectation in a folder that is not there yet."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work, office(Path(work)) as mail:
        moment = fill(mail)
        shutil.copytree(
            mail.backup_path, folder / "tree", ignore=shutil.ignore_patterns(".lock", ".staging")
        )
    write(folder / "moment.json", to_ms(moment))
    with BackupPath.open(folder / "tree") as path:
        write(folder / "expected.json", held(path))
    with tempfile.TemporaryDirectory() as work, office(Path(work)) as mail:
        write(folder / "restored.json", restored(mail, folder))


def fill(mail: Office) -> datetime:
    """Let everything happen that the format has words for; return a moment before the era."""
    client = mail.client
    client.create_folder(ALICE, "/Inbox/Fatture")
    order = client.deliver(ALICE, message("Ordine n. 1"), folder="/Inbox")
    client.deliver(ALICE, message("Ordine n. 2 — Größe", body="ü" * 300), folder="/Inbox/Fatture")
    gone = client.deliver(ALICE, message("Gone"), folder="/Inbox")
    client.tag(ALICE, order, "Urgente")
    client.add_contact(ALICE, CARD.format("friend").encode())
    client.save_document(ALICE, b"first version", name="plan.txt")
    client.save_document(ALICE, b"second version", name="plan.txt")
    client.deliver(BOB, message("Of Bob"), folder="/Inbox")
    client.deliver(DAVE, message("Of Dave"), folder="/Shared")
    mail.scan()
    scanner = Scanner(mail.source, mail.backup_path, clock=lambda: mail.now)
    scanner.catch_up()
    client.flag(ALICE, order, ["+flagged", "-unread"])
    client.delete(ALICE, gone)
    mail.settings = replace(mail.settings, packer=Packer(BlobCodec.GZIP))
    client.add_calendar_item(ALICE, EVENT, kind=ItemKind.APPOINTMENT)
    client.save_document(ALICE, PICTURE, name="picture.bin")
    mail.scan()
    scanner.catch_up()
    moment = mail.now
    mail.later(minutes=5)
    client.set_cos(DAVE, "staff")
    _exchange(mail)
    mail.scan()
    mail.settings = replace(mail.settings, packer=Packer())
    _follow(mail, scanner)
    _add_long(mail)
    return moment


def _exchange(mail: Office) -> None:
    """Give alice the mailbox of bob: hers begins anew."""
    table = mail.sandbox.database.table("zimbra", "mailbox")
    alice, bob = mail.account_id(ALICE), mail.account_id(BOB)
    with mail.sandbox.database.transaction():
        for old, new in ((alice, "nobody"), (bob, alice)):
            mail.sandbox.database.update(table, {"account_id": new}, account_id=old)


def _follow(mail: Office, scanner: Scanner) -> None:
    """Let the Real-Time Scanner see a delivery, a move and a deletion."""
    scanner.catch_up()
    mail.later(seconds=1)
    item = mail.client.deliver(ALICE, message("Live"), folder="/Inbox")
    mail.later(seconds=1)
    mail.client.move(ALICE, item, "/Trash")
    other = mail.client.deliver(ALICE, message("Came and went"), folder="/Inbox")
    mail.later(seconds=1)
    mail.client.delete(ALICE, other)
    mail.later(seconds=61)
    scanner.catch_up()


def _add_long(mail: Office) -> None:
    """Add a state that is too long for a line."""
    account = mail.account_id(ALICE)
    with mail.path as path, path.writer("scanner") as writer:
        (contact,) = [
            state
            for item in path.items(account)
            if (state := path.last_state(account, item)) and state.name == "Inbox"
        ]
        long = replace(contact, mod=contact.mod + 1, fields={"note": "long " * 250_000})
        writer.add_states(account, [long])
        writer.commit()


def held(path: BackupPath) -> dict[str, Any]:
    """Return all that a Backup Path holds, as JSON: every history, blob and checkpoint."""
    entries = {
        f"{kind}/{entry_id}": [_entry(state) for state in path.entry_history(kind, entry_id)]
        for kind in (EntryKind.ACCOUNT, *layout.ENTRY_FOLDERS)
        for entry_id in path.entry_ids(kind)
    }
    items = {
        f"{account}/{item}": [_item(state) for state in path.history(account, item)]
        for account in path.accounts()
        for item in path.items(account)
    }
    mailboxes = {
        account: [_mailbox(state) for state in path.mailbox_history(account)]
        for account in path.accounts()
    }
    form = path.form
    return {
        "format": [form.tree_id, form.server_id, form.server_name, form.version],
        "checkpoint": path.checkpoint(),
        "scanner": path.scanner(),
        "entries": entries,
        "mailboxes": mailboxes,
        "items": items,
        "blobs": {
            digest: [found.codec, sum(map(len, path.blob(digest)))]
            for digest in sorted(_digests(path.tree.root))
            if (found := path.find_blob(digest)) is not None
        },
    }


def restored(mail: Office, golden: Path) -> dict[str, Any]:
    """Restore every account of a golden tree in an office, at its end and at its moment."""
    shutil.copytree(golden / "tree", mail.backup_path, dirs_exist_ok=True)
    moment = datetime.fromtimestamp(
        json.loads((golden / "moment.json").read_text()) / 1000, mail.now.tzinfo
    )
    mail.later(days=1)
    found: dict[str, Any] = {}
    for name, when in (("alice", moment), ("alice", mail.now), ("bob", moment), ("dave", moment)):
        copy = f"{name}-{len(found)}@example.com"
        report = restore(mail, f"{name}@example.com", copy, date=at(when))
        found[copy] = {
            "counters": {name: report.counters[name] for name in COUNTED},
            "items": sorted(
                [[each[key] for key in RESTORED] for each in mail.client.list(copy)["items"]],
                key=repr,
            ),
        }
    return found


def write(file: Path, value: Any) -> None:
    """Write JSON, a line for each key of its second level."""
    if not isinstance(value, dict):
        file.write_text(f"{json.dumps(value)}\n", "ascii")
        return
    parts = [f"{json.dumps(key)}: {_lines(value[key])}" for key in sorted(value)]
    file.write_text("{" + ",\n".join(parts) + "}\n", "utf-8")


def _lines(value: Any) -> str:
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    inner = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in value.items()]
    return "{\n " + ",\n ".join(inner) + "}"


def fingerprint(value: object) -> str:
    """Return a short sum of what would be long to spell."""
    text = json.dumps(value, sort_keys=True, default=lambda each: each.hex())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _item(state: ItemState) -> list[Any]:
    side = {table: [dict(row) for row in rows] for table, rows in state.side_rows.items()}
    rest = [dict(state.row), side, dict(state.kept_as), dict(state.fields)]
    return [to_ms(state.start), *(getattr(state, name) for name in READABLE), fingerprint(rest)]


def _entry(state: EntryState) -> list[Any]:
    entry = state.entry
    rest = [entry.dn, {name: list(found) for name, found in entry.attributes.items()}]
    children = [[each.kind, each.entry_id, each.name] for each in entry.children]
    seen = [to_ms(state.start), state.deleted, state.reason, entry.name, children]
    return [*seen, fingerprint(rest)]


def _mailbox(state: MailboxState) -> list[Any]:
    rest: list[Mapping[str, Any]] = [dict(state.mailbox.row), dict(state.mailbox.sections)]
    seen = [to_ms(state.start), state.mod, state.base, state.mark, list(state.unread)]
    return [*seen, fingerprint(rest)]


def _digests(root: Path) -> list[Any]:
    return [file.name for file in (root / "items").glob("*/*")]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
