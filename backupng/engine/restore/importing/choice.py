"""Who and what of a source is imported: domains, classes of service, lists, accounts.

Reads the directory of the source's Backup Path as it was last; decides by the request alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.mailserver.zimbra.systemaccounts import is_system_account, named_by
from backupng.engine.model import DirectoryEntry, EntryKind, EntryState

_DEFAULT_COS: Final = "default"
_ADDRESS: Final = re.compile(
    r"[^\s@,<>()\"\\\x00-\x1f\x7f]{1,64}@[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
)
_DOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_DELETED: Final = "deleted at the source"
_PLAIN: Final = re.compile(r"[^\x00-\x1f\x7f]{1,255}")
_NAMES: Final = {
    EntryKind.ACCOUNT: _ADDRESS,
    EntryKind.LIST: _ADDRESS,
    EntryKind.DOMAIN: _DOMAIN,
    EntryKind.COS: _PLAIN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What of a source is asked for; empty `domains` or `accounts` mean all of them."""

    domains: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    with_deleted: bool = False
    with_system_accounts: bool = False
    with_lists: bool = True
    with_coses: bool = True


@dataclass(frozen=True, slots=True)
class Lost:
    """An entry that cannot be imported, and why."""

    kind: EntryKind
    entry_id: str
    name: str
    why: str


@dataclass(slots=True)
class Choice:
    """What is imported: domains before their aliases, accounts in the order of their restore.

    `left_out` counts what the request leaves out, by reason; `lost` is what was wanted and cannot
    be had. `names` are the names of all domains and classes of service of the source by their ids.
    """

    domains: list[DirectoryEntry] = field(default_factory=list)
    coses: list[DirectoryEntry] = field(default_factory=list)
    lists: list[DirectoryEntry] = field(default_factory=list)
    accounts: list[DirectoryEntry] = field(default_factory=list)
    left_out: Counter[tuple[EntryKind, str]] = field(default_factory=Counter)
    lost: list[Lost] = field(default_factory=list)
    names: dict[tuple[EntryKind, str], str] = field(default_factory=dict)


class Chooser:
    """Reads the directory of a source and chooses from it."""

    def __init__(self, path: BackupPath, wanted: Wanted) -> None:
        self._path = path
        self._wanted = wanted
        self._choice = Choice()
        self._taken: dict[str, EntryState] = {}

    def run(self) -> Choice:
        """Choose. Raises BadRequest (no_such_domain, no_such_account, bad_value)."""
        domains = {state.entry.name: state for state in self._states(EntryKind.DOMAIN)}
        accounts = list(self._states(EntryKind.ACCOUNT))
        chosen = self._chosen_domains(domains.keys(), accounts)
        self._choose_accounts(accounts, chosen, domains.values())
        for state in domains.values():
            self._choice.names[EntryKind.DOMAIN, state.entry.entry_id] = state.entry.name
        needed = chosen & {each.name.partition("@")[2] for each in self._choice.accounts}
        self._choose_domains(domains, needed if self._wanted.accounts else chosen)
        self._choose_coses()
        self._choose_lists(chosen)
        return self._choice

    def _states(self, kind: EntryKind) -> Iterator[EntryState]:
        """Yield the last state of every entry of a kind; those that cannot be read are lost."""
        for entry_id in self._path.entry_ids(kind):
            try:
                history = self._path.entry_history(kind, entry_id)
            except ItemError as error:
                self._lose(kind, entry_id, entry_id, f"its entry cannot be read: {error}")
                continue
            if not history:
                if kind is not EntryKind.ACCOUNT or self._has_items(entry_id):
                    self._lose(kind, entry_id, entry_id, "the backup has no entry of it")
                continue
            entry = history[-1].entry
            if not _NAMES[kind].fullmatch(entry.name):
                self._lose(kind, entry_id, entry.name, "its name cannot be one of a mail server")
                continue
            yield history[-1]

    def _has_items(self, account: str) -> bool:
        known = next((each for each in self._path.accounts() if each == account), None)
        return known is not None and next(self._path.items(known), None) is not None

    def _lose(self, kind: EntryKind, entry_id: str, name: str, why: str) -> None:
        if self._wanted.accounts and name == entry_id and entry_id not in self._wanted.accounts:
            # Nobody asked for it, and its name cannot be told.
            return
        self._choice.lost.append(Lost(kind, entry_id, name, why))

    # Domains

    def _chosen_domains(
        self, known: Iterable[str], accounts: Iterable[EntryState]
    ) -> frozenset[str]:
        """Return the names of the domains that things are taken from."""
        of_accounts = {state.entry.name.partition("@")[2] for state in accounts}
        there = frozenset(known) | of_accounts
        if not self._wanted.domains:
            return there
        for name in self._wanted.domains:
            if name.lower() not in there:
                raise BadRequest(
                    f"There is no domain {name} in {self._path.tree.root}.",
                    code="no_such_domain",
                    hint=f"There are: {', '.join(sorted(there))}.",
                )
        return frozenset(name.lower() for name in self._wanted.domains)

    def _choose_domains(self, domains: Mapping[str, EntryState], chosen: Iterable[str]) -> None:
        for name in sorted(set(chosen) & domains.keys()):
            state = domains[name]
            if state.deleted and not self._wanted.with_deleted:
                self._choice.left_out[EntryKind.DOMAIN, _DELETED] += 1
            else:
                self._choice.domains.append(state.entry)
        self._choice.domains.sort(key=is_alias_domain)

    # Accounts

    def _choose_accounts(
        self,
        states: list[EntryState],
        chosen: frozenset[str],
        domains: Iterable[EntryState],
    ) -> None:
        config = [state.entry for state in self._states_of_config()]
        entries = [*config, *(state.entry for state in domains), *(s.entry for s in states)]
        named = named_by(entries)
        listed = self._listed(states, chosen)
        for state in states:
            entry = state.entry
            in_domain = entry.name.partition("@")[2] in chosen
            is_system = is_system_account(entry, named)
            by_name = self._wanted.accounts and entry.entry_id not in listed
            if not in_domain or (by_name and not (is_system and self._wanted.with_system_accounts)):
                continue
            if is_system and not self._wanted.with_system_accounts and entry.entry_id not in listed:
                self._choice.left_out[EntryKind.ACCOUNT, "system account"] += 1
            elif state.deleted and not self._wanted.with_deleted:
                self._choice.left_out[EntryKind.ACCOUNT, state.reason or _DELETED] += 1
            else:
                self._take_account(state)
        self._order(listed)

    def _states_of_config(self) -> Iterator[EntryState]:
        for entry_id in self._path.entry_ids(EntryKind.CONFIG):
            try:
                yield from self._path.entry_history(EntryKind.CONFIG, entry_id)[-1:]
            except ItemError:
                # Without it fewer system accounts are known by reference; their flags remain.
                continue

    def _listed(self, states: list[EntryState], chosen: frozenset[str]) -> dict[str, int]:
        """Return the ids of the accounts that are asked for, each with its place in the request."""
        found: dict[str, int] = {}
        lost = {each.entry_id for each in self._choice.lost}
        going_by: dict[str, list[EntryState]] = {}
        for state in states:
            for word in _words(state.entry):
                going_by.setdefault(word, []).append(state)
        for place, name in enumerate(self._wanted.accounts):
            fitting = going_by.get(name.lower(), [])
            if not fitting and name not in lost:
                raise BadRequest(
                    f"There is no account {name} in {self._path.tree.root}.",
                    code="no_such_account",
                    hint="getAvailableAccounts with backup_path lists them.",
                )
            for state in fitting:
                if state.entry.name.partition("@")[2] not in chosen:
                    raise BadRequest(
                        f"The account {state.entry.name} lies outside the chosen domains.",
                        code="bad_value",
                        hint=f"Add its domain, or leave it out. Chosen: "
                        f"{', '.join(sorted(chosen))}.",
                    )
                found.setdefault(state.entry.entry_id, place)
        return found

    def _take_account(self, state: EntryState) -> None:
        """Take an account; of several of one name the living one, else the one deleted last."""
        name = state.entry.name
        older, newer = sorted([self._taken.get(name, state), state], key=_age)
        self._taken[name] = newer
        if older is not newer:
            why = f"another account of this name, {newer.entry.entry_id}, is imported"
            self._lose(EntryKind.ACCOUNT, older.entry.entry_id, name, why)

    def _order(self, listed: Mapping[str, int]) -> None:
        last = len(listed)
        self._choice.accounts = sorted(
            (state.entry for state in self._taken.values()),
            key=lambda entry: (listed.get(entry.entry_id, last), entry.name),
        )

    # Classes of service and lists

    def _choose_coses(self) -> None:
        """Choose the classes that the accounts use: their own, else their domain's."""
        states = {state.entry.entry_id: state for state in self._states(EntryKind.COS)}
        for cos in states.values():
            self._choice.names[EntryKind.COS, cos.entry.entry_id] = cos.entry.name
        default = next((each for each in states if states[each].entry.name == _DEFAULT_COS), "")
        of_domain = {
            domain.name: domain.first("zimbraDomainDefaultCOSId", default)
            for domain in self._choice.domains
        }
        used = {
            account.first("zimbraCOSId") or of_domain.get(account.name.partition("@")[2], default)
            for account in self._choice.accounts
        }
        needed = [states[each].entry for each in sorted(used) if each in states]
        if self._wanted.with_coses:
            self._choice.coses = sorted(needed, key=lambda entry: entry.name)
        elif needed:
            self._choice.left_out[EntryKind.COS, "skip_coses"] += len(needed)

    def _choose_lists(self, chosen: frozenset[str]) -> None:
        for state in self._states(EntryKind.LIST):
            if state.entry.name.partition("@")[2] not in chosen or state.deleted:
                continue
            if self._wanted.with_lists:
                self._choice.lists.append(state.entry)
            else:
                self._choice.left_out[EntryKind.LIST, "skip_distribution_lists"] += 1
        self._choice.lists.sort(key=lambda entry: entry.name)


def is_alias_domain(domain: DirectoryEntry) -> bool:
    """Say whether a domain only stands for another one."""
    return domain.first("zimbraDomainType") == "alias"


def _words(entry: DirectoryEntry) -> set[str]:
    """Return what an account goes by: its id, address, local part and aliases, in lower case."""
    names = (entry.entry_id, entry.name, *entry.values("zimbraMailAlias"))
    return {name.lower() for name in (*names, entry.name.partition("@")[0])}


def _age(state: EntryState) -> tuple[bool, float]:
    return not state.deleted, state.start.timestamp()
