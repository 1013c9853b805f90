"""Bodies of directory entry, mailbox, `format` and checkpoint files <-> their values (pure)."""

from __future__ import annotations

import base64
import re
import shlex
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from backupng.engine.backuppath import values
from backupng.engine.errors import (
    BackupPathBroken,
    BackupPathUnwritable,
    BrokenItem,
    NotABackupPath,
    UnsupportedFormat,
)
from backupng.engine.model import (
    AccountId,
    DirectoryEntry,
    EntryKind,
    EntryState,
    ItemId,
    Mailbox,
    MailboxState,
    to_ms,
)

FORMAT_MAJOR = 1
FORMAT_MINOR = 0

_VERSION = re.compile(rb"backupng ([0-9]{1,4})\.([0-9]{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What the `format` file says: whose tree this is and what a reader must know."""

    tree_id: str
    server_id: str
    server_name: str
    created: datetime
    minor: int = FORMAT_MINOR
    read_only: bool = False
    incomplete: str = ""
    """What an export that has not come to its end is of; empty for every other tree."""

    @property
    def version(self) -> str:
        """The version of the format, as the file spells it."""
        return f"{FORMAT_MAJOR}.{self.minor}"


def spell_format(form: Format) -> bytes:
    """Spell the `format` file: `key value` lines, the last one a CRC-32 over those before."""
    # A name with a line break must not become a line of its own.
    text = (
        f"backupng {form.version}\n"
        f"tree {form.tree_id}\n"
        f"server {form.server_id} {' '.join(form.server_name.split())}\n"
        f"created {to_ms(form.created)}\n"
        + (f"incomplete {form.incomplete}\n" if form.incomplete else "")
    ).encode("utf-8", "replace")
    return text + f"#{zlib.crc32(text):08x}\n".encode("ascii")


def parse_format(data: bytes, *, where: str) -> Format:
    """Read a `format` file.

    Raises UnsupportedFormat for another major version or a feature unknown here, BackupPathBroken
    for a damaged file. The version is looked at first: a later one may seal its file differently.
    """
    first, _, _ = data.partition(b"\n")
    version = _version(first, where=where)
    if version[0] != FORMAT_MAJOR:
        raise UnsupportedFormat(
            f"{where} has format {version[0]}.{version[1]}; this version reads format"
            f" {FORMAT_MAJOR}.",
            hint="Use a version of Backup NG that knows this format. Nothing was changed.",
        )
    text, _, digits = data.rpartition(b"#")
    if digits != f"{zlib.crc32(text):08x}\n".encode("ascii"):
        raise _broken(where)
    try:
        # Not splitlines, which also splits at characters that a server's name may hold.
        said = dict(line.split(" ", 1) for line in text.decode("utf-8").split("\n")[1:-1])
        server_id, server_name = said["server"].split(" ", 1)
        return Format(
            tree_id=said["tree"],
            server_id=server_id,
            server_name=server_name,
            created=values.moment(int(said["created"])),
            minor=version[1],
            read_only=_only_readable(said.get("features", ""), where=where),
            incomplete=said.get("incomplete", ""),
        )
    except (ValueError, KeyError) as error:
        raise _broken(where) from error


def require_complete(form: Format, root: Path) -> None:
    """Raise NotABackupPath for an export that has not come to its end: it is no backup yet."""
    if form.incomplete:
        raise NotABackupPath(
            f"{root} holds an export that has not come to its end.",
            hint="Where it was made, go on with it: backupng backup doExport"
            f" {shlex.quote(str(root))} resume true",
        )


def spell_entry(state: EntryState, number: int) -> dict[str, Any]:
    """Return the body of a directory entry's state as line `number` of its history."""
    body: dict[str, Any] = {"n": number, "t": to_ms(state.start), **_entry_body(state.entry)}
    if state.deleted:
        body["deleted"] = True
    return body | ({"reason": state.reason} if state.reason else {})


def parse_entry(kind: EntryKind, entry_id: str, body: Mapping[str, Any]) -> EntryState:
    """Return the state that `body` spells in the history of that entry. Raises BrokenItem."""
    try:
        state = EntryState(
            start=values.moment(body["t"]),
            entry=_entry(body),
            deleted=values.flag(body.get("deleted", False)),
            reason=values.text(body.get("reason", "")),
        )
    except (KeyError, ValueError) as error:
        raise BrokenItem(f"{kind} {entry_id} has missing or impossible values") from error
    if (state.entry.kind, state.entry.entry_id) != (kind, entry_id):
        raise BrokenItem(f"the history of {kind} {entry_id} speaks of another entry")
    return state


def spell_mailbox(state: MailboxState, number: int) -> dict[str, Any]:
    """Return the body of a mailbox state as line `number` of its history."""
    body: dict[str, Any] = {
        "n": number,
        "mod": state.mod,
        "t": to_ms(state.start),
        "mark": state.mark,
        "row": dict(state.mailbox.row),
        "sections": dict(state.mailbox.sections),
    }
    more = {"unread": list(state.unread), "base": state.base}
    return body | {key: value for key, value in more.items() if value}


def parse_mailbox(account: AccountId, body: Mapping[str, Any]) -> MailboxState:
    """Return the mailbox state that `body` spells. Raises BrokenItem."""
    try:
        row = values.row(body["row"])
        return MailboxState(
            start=values.moment(body["t"]),
            mod=values.integer(body["mod"]),
            mailbox=Mailbox(
                mailbox_id=values.integer(row["id"]),
                account_id=account,
                group_id=values.integer(row["group_id"]),
                row=row,
                sections=values.texts(body["sections"]),
            ),
            mark=values.text(body["mark"]),
            unread=tuple(
                ItemId(values.integer(item)) for item in values.array(body.get("unread", []))
            ),
            base=values.integer(body.get("base", 0)),
        )
    except (KeyError, ValueError) as error:
        raise BrokenItem(f"the mailbox of {account} has missing or impossible values") from error


def spell_checkpoint(said: Mapping[str, Any], *, longest: int = values.LONGEST_CHECKPOINT) -> bytes:
    """Spell a checkpoint file: one JSON object on one line, sealed like a history line.

    Raises BackupPathUnwritable above `longest` bytes: `parse_checkpoint` would not read it.
    """
    body = values.dump_body(said)
    data = body + f" #{zlib.crc32(body):08x}\n".encode("ascii")
    if len(data) > longest:
        raise BackupPathUnwritable(
            f"A checkpoint of {len(data)} bytes is longer than the {longest} that the format"
            " allows.",
            hint="The one before it is still there, and nothing was lost.",
        )
    return data


def parse_checkpoint(
    data: bytes, *, where: str, longest: int = values.LONGEST_CHECKPOINT
) -> Mapping[str, Any]:
    """Read a checkpoint file of at most `longest` bytes. Raises BackupPathBroken."""
    body, _, digits = data.rpartition(b" #")
    if digits != f"{zlib.crc32(body):08x}\n".encode("ascii"):
        raise _broken(where)
    try:
        said = values.load_body(body, longest=longest)
        for moment in values.mapping(said.get("smartscan", {})).values():
            values.moment(moment)
    except (BrokenItem, ValueError) as error:
        raise _broken(where) from error
    return said


def _entry_body(entry: DirectoryEntry) -> dict[str, Any]:
    body: dict[str, Any] = {
        "kind": entry.kind.value,
        "id": entry.entry_id,
        "name": entry.name,
        "dn": entry.dn,
        "attributes": {
            name: [_spell_value(value) for value in found]
            for name, found in entry.attributes.items()
        },
    }
    if entry.children:
        body["children"] = [_entry_body(child) for child in entry.children]
    return body


def _entry(body: Mapping[str, Any]) -> DirectoryEntry:
    return DirectoryEntry(
        kind=EntryKind(body["kind"]),
        entry_id=values.text(body["id"]),
        name=values.text(body["name"]),
        dn=values.text(body["dn"]),
        attributes={
            name: tuple(_parse_value(value) for value in values.array(found))
            for name, found in values.mapping(body["attributes"]).items()
        },
        children=tuple(
            _entry(values.mapping(child)) for child in values.array(body.get("children", []))
        ),
    )


def _spell_value(value: bytes) -> str | dict[str, str]:
    """Text stays text for grep; bytes that are no UTF-8 travel as base64."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode("ascii")}


def _parse_value(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8")
    return base64.b64decode(values.text(values.mapping(value)["base64"]), validate=True)


def _version(line: bytes, *, where: str) -> tuple[int, int]:
    match = _VERSION.fullmatch(line)
    if match is None:
        raise _broken(where)
    return int(match[1]), int(match[2])


def _only_readable(features: str, *, where: str) -> bool:
    """Say whether a later minor version's features allow reading only.

    Each is `name:rule`; the rule says what a version that does not know it may do: `compat` all,
    `ro-compat` read, `incompat` nothing. Version 1.0 knows none.
    """
    rules = [feature.partition(":")[::2] for feature in features.split()]
    for name, rule in rules:
        if rule not in ("compat", "ro-compat"):
            raise UnsupportedFormat(
                f"{where} needs the feature {name!r}, which this version does not know.",
                hint="Use a newer version of Backup NG. Nothing was changed.",
            )
    return any(rule == "ro-compat" for _, rule in rules)


def _broken(where: str) -> BackupPathBroken:
    return BackupPathBroken(
        f"{where} is damaged.",
        hint="Copy it from an off-site copy of the same Backup Path. Nothing was changed.",
    )
