"""getAvailableAccounts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.pending import lost_history
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.mailserver.zimbra.attributes import created_of
from backupng.engine.mailserver.zimbra.systemaccounts import is_system_account, named_by
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, EntryState, to_ms
from backupng.engine.operations.base import BackupPathLookup, Context, Document
from backupng.engine.operations.moments import before_of
from backupng.engine.operations.words import ALL_DOMAINS, LAST, Domains, Moment, Words
from backupng.engine.restore.select import state_at

UNREADABLE: Final = "unreadable"
"""Status of an account whose entry in the backup cannot be read: a Coherency Check is due."""

_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "accountMap": ("id", "name"),
    "accountList": ("name",),
    "accountIdList": ("id",),
    "accountAndIdList": ("name", "id"),
}
"""What each line of a section holds; an account is told by the first word of it."""
_NO_HEADERS: Final = Words(())
_OF_A_FILE: Final = ("accountList",)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetAvailableAccounts(BackupPathLookup):
    """List the accounts of a Backup Path."""

    command: ClassVar[str] = "getAvailableAccounts"
    title: ClassVar[str] = "Available accounts"
    summary: ClassVar[str] = "Available accounts: lists the accounts that can be restored"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup getAvailableAccounts domains example.com hide_deleted true",
        "backupng backup getAvailableAccounts backup_path /mnt/import/ output_file /tmp/names.txt",
    )

    date: Moment = field(default=LAST, metadata={"values": '"dd/MM/yyyy HH:mm:ss"|last'})
    domains: Domains = field(default=ALL_DOMAINS, metadata={"default": "all"})
    hide_deleted: bool = False
    hide_system_accounts: bool = True
    hide_existing_accounts: bool = False
    output_file: Path | None = None
    output_headers: Words = field(default=_NO_HEADERS, metadata={"values": "|".join(_HEADERS)})

    def look(self, path: BackupPath, ctx: Context) -> dict[str, Any]:
        """Return the accounts known at the date, by address, and the sections that are asked for.

        System accounts are as `systemaccounts` has them; existing are those that the mail server
        has now, under that id or that address.
        """
        sections = self._sections()
        hidden = _existing(ctx) if self.hide_existing_accounts else frozenset[str]()
        found = [each for each in self._accounts(path, ctx) if not _is_among(each, hidden)]
        accounts = sorted(found, key=lambda each: (each["name"], each["created"] or 0))
        return {"accounts": accounts} | {
            name: _section(name, accounts) for name in sections if self.output_headers
        }

    def document(self, response: Mapping[str, Any]) -> Document | None:
        """Return what `input_file` of doExternalRestore reads: accounts one a line, and headers."""
        if self.output_file is None:
            return None
        text = sections_text(self._sections(), response["accounts"])
        return Document(file=self.output_file, content=text.encode("utf-8", "replace"))

    def _sections(self) -> tuple[str, ...]:
        known = {name.lower(): name for name in _HEADERS}
        for word in self.output_headers:
            if word.lower() not in known:
                raise BadRequest(
                    f"output_headers: {word!r} is not accepted.",
                    hint=f"Expected: any of {', '.join(_HEADERS)}.",
                    parameter="output_headers",
                    value=word,
                )
        return tuple(known[word.lower()] for word in self.output_headers) or _OF_A_FILE

    def _accounts(self, path: BackupPath, ctx: Context) -> list[dict[str, Any]]:
        """Return the accounts of the date, system accounts left out if they are to be."""
        before = before_of(self.date, ctx.now)
        named = named_by(_last_entries(path, EntryKind.CONFIG, EntryKind.DOMAIN))
        found: list[dict[str, Any]] = []
        archives: set[str] = set()
        known: set[str] = set()
        for account, history in _histories(path):
            if not history:
                found += self._lost(path, account)
                continue
            known.add(domain_of(history[-1].entry))
            state = state_at(history, before)
            archives |= named_by([history[-1].entry])
            if state is None or not self._wanted(state):
                continue
            if not (self.hide_system_accounts and is_system_account(state.entry, named)):
                found.append(_shown(path, account, history, state))
        self._require_domains(known)
        hidden = archives if self.hide_system_accounts else frozenset()
        return [each for each in found if not _is_among(each, hidden)]

    def _lost(self, path: BackupPath, account: AccountId) -> Iterator[dict[str, Any]]:
        """Yield an account of which only the id is known; of no domain, then."""
        if not self.domains and has_lost_entry(path, account):
            names = {"name": str(account), "id": account, "server": path.form.server_name}
            yield names | {"status": UNREADABLE, "created": None, "deleted": None}

    def _require_domains(self, known: set[str]) -> None:
        """Refuse a domain that the Backup Path has no account of. Raises BadRequest."""
        for domain in self.domains:
            if domain.lower() not in known:
                raise BadRequest(
                    f"There is no account of the domain {domain} in the Backup Path.",
                    code="no_such_domain",
                    hint=f"There are: {', '.join(sorted(known))}.",
                )

    def _wanted(self, state: EntryState) -> bool:
        return not (self.hide_deleted and state.deleted) and (
            not self.domains or domain_of(state.entry) in {each.lower() for each in self.domains}
        )


def sections_text(sections: Sequence[str], accounts: Sequence[Mapping[str, Any]]) -> str:
    """Return sections as the text of a file: a header begins with `#`, a line is an account."""
    lines: list[str] = []
    for section in sections:
        lines.append(f"# {section}")
        lines += [" ".join(str(each[key]) for key in _HEADERS[section]) for each in accounts]
    return "".join(f"{line}\n" for line in lines)


def domain_of(account: DirectoryEntry) -> str:
    """Return the domain of an account's address, in lower case."""
    return account.name.lower().partition("@")[2]


def has_lost_entry(path: BackupPath, account: AccountId) -> bool:
    """Say whether an account has an entry that cannot be read, or had one when it was scanned."""
    try:
        return bool(path.tree.mark(layout.account_file(account)) or lost_history(path, account))
    except ItemError:
        return True


def _section(name: str, accounts: Sequence[Mapping[str, Any]]) -> Any:
    """Return a section as JSON has it: a map of ids to names, or a list."""
    keys = _HEADERS[name]
    if name == "accountMap":
        return {each["id"]: each["name"] for each in accounts}
    if len(keys) == 1:
        return [each[keys[0]] for each in accounts]
    return [{key: each[key] for key in keys} for each in accounts]


def _existing(ctx: Context) -> frozenset[str]:
    """Return the ids and addresses of the accounts that the mail server has now."""
    accounts = ctx.source.entries(EntryKind.ACCOUNT)
    return frozenset(word for each in accounts for word in (each.entry_id, each.name.lower()))


def _is_among(account: Mapping[str, Any], known: Collection[str]) -> bool:
    return account["id"] in known or account["name"].lower() in known


def _histories(path: BackupPath) -> Iterator[tuple[AccountId, tuple[EntryState, ...]]]:
    """Yield every account with its entry's history, empty if that cannot be read."""
    for account in path.accounts():
        try:
            yield account, path.entry_history(EntryKind.ACCOUNT, account)
        except ItemError:
            # One damaged entry does not hide the others.
            yield account, ()


def _last_entries(path: BackupPath, *kinds: EntryKind) -> Iterator[DirectoryEntry]:
    for kind in kinds:
        for entry_id in path.entry_ids(kind):
            with suppress(ItemError):
                yield from (state.entry for state in path.entry_history(kind, entry_id)[-1:])


def _shown(
    path: BackupPath, account: AccountId, history: Sequence[EntryState], state: EntryState
) -> dict[str, Any]:
    entry = state.entry
    return {
        "name": entry.name,
        "id": account,
        "server": entry.first("zimbraMailHost", path.form.server_name),
        "status": entry.first("zimbraAccountStatus", "active"),
        "created": to_ms(created_of(entry) or history[0].start),
        "deleted": to_ms(state.start) if state.deleted else None,
    }
