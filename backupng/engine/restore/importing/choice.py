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
    """What of a source is asked for; empty `domains`, `accounts` and `listed` mean all of them.

    `accounts` are named one by one, so none of them may be left out; `listed` come from a list of
    what there is, and its deleted ones are treated as any other.
    """

    domains: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    with_deleted: bool = False
    with_system_accounts: bool = False
    with_lists: bool = True
    with_coses: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """All accounts that are asked for, in the order of their restore."""
        return self.accounts + self.listed


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
    be had. `names` are the names of all domains and classes of service of the source by their ids,
    `strangers` the addresses of accounts in the chosen domains that were not asked for.
    """

    domains: list[DirectoryEntry] = field(default_factory=list)
    coses: list[DirectoryEntry] = field(default_factory=list)
    lists: list[DirectoryEntry] = field(default_factory=list)
    accounts: list[DirectoryEntry] = field(default_factory=list)
    left_out: Counter[tuple[EntryKind, str]] = field(default_factory=Counter)
    lost: list[Lost] = field(default_factory=list)
    names: dict[tuple[EntryKind, str], str] = field(default_factory=dict)
    strangers: frozenset[str] = frozenset()


class Chooser:
    """Reads the directory of a source and chooses from it."""

    def __init__(self, path: BackupPath, wanted: Wanted) -> None:
        self._path = path
        self._wanted = wanted
        self._choice = Choice()
        self._taken: dict[str, list[EntryState]] = {}

    def run(self) -> Choice:
        """Choose. Raises BadRequest (no_such_domain, no_such_account, bad_value)."""
        domains = {state.entry.name: state for state in self._states(EntryKind.DOMAIN)}
        accounts = list(self._states(EntryKind.ACCOUNT))
        config = list(self._entries_of_config())
        chosen = self._chosen_domains(domains.keys(), accounts)
        listed = self._listed(accounts, chosen, config)
        if self._wanted.names:
            # Nothing comes of a domain of which nobody was asked for.
            named = (state for state in accounts if state.entry.entry_id in listed)
            chosen &= {_domain(state.entry) for state in named}
        entries = [*config, *(state.entry for state in (*domains.values(), *accounts))]
        self._choose_accounts(accounts, chosen, listed, named_by(entries))
        for state in domains.values():
            self._choice.names[EntryKind.DOMAIN, state.entry.entry_id] = state.entry.name
        self._choose_domains(domains, chosen)
        self._choose_coses()
        self._choose_lists(chosen)
        return self._choice

    def _states(self, kind: EntryKind) -> Iterator[EntryState]:
        """Yield the last state of every entry of a kind; those that cannot be read are lost."""
        for entry_id in self._path.entry_ids(kind):
            try:
                history = self._path.entry_history(kind, entry_id)
            except ItemError as error:
                self._miss(
                    kind, entry_id, entry_id, f"its entry cannot be read: {error}".rstrip(".")
                )
                continue
            if not history:
                if kind is not EntryKind.ACCOUNT or self._has_items(entry_id):
                    self._miss(kind, entry_id, entry_id, "the backup has no entry of it")
                continue
            entry = history[-1].entry
            if not _NAMES[kind].fullmatch(entry.name):
                self._miss(kind, entry_id, entry.name, "its name cannot be one of a mail server")
                continue
            yield history[-1]

    def _has_items(self, account: str) -> bool:
        known = next((each for each in self._path.accounts() if each == account), None)
        return known is not None and next(self._path.items(known), None) is not None

    def _miss(self, kind: EntryKind, entry_id: str, name: str, why: str) -> None:
        """Remember what cannot be had, unless others are asked for by name."""
        if not self._wanted.names or {entry_id, name} & {*self._wanted.names}:
            self._choice.lost.append(Lost(kind, entry_id, name, why))

    # Domains

    def _chosen_domains(
        self, known: Iterable[str], accounts: Iterable[EntryState]
    ) -> frozenset[str]:
        """Return the names of the domains that things are taken from."""
        of_accounts = {_domain(state.entry) for state in accounts}
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
        listed: Mapping[str, int],
        named: frozenset[str],
    ) -> None:
        strangers: set[str] = set()
        for state in states:
            entry = state.entry
            if _domain(entry) not in chosen:
                continue
            is_system = is_system_account(entry, named)
            is_listed = entry.entry_id in listed or not self._wanted.names
            if not is_listed and not (is_system and self._wanted.with_system_accounts):
                strangers |= {entry.name, *entry.values("zimbraMailAlias")}
            elif is_system and not (self._wanted.with_system_accounts or entry.entry_id in listed):
                self._choice.left_out[EntryKind.ACCOUNT, "system account"] += 1
            elif state.deleted and not self._wanted.with_deleted:
                self._choice.left_out[EntryKind.ACCOUNT, state.reason or _DELETED] += 1
            else:
                self._taken.setdefault(entry.name, []).append(state)
        self._choice.strangers = frozenset(strangers)
        self._order(listed)

    def _entries_of_config(self) -> Iterator[DirectoryEntry]:
        for entry_id in self._path.entry_ids(EntryKind.CONFIG):
            try:
                history = self._path.entry_history(EntryKind.CONFIG, entry_id)
            except ItemError:
                # Without it fewer system accounts are known by reference; their flags remain.
                continue
            yield from (state.entry for state in history[-1:])

    def _listed(
        self, states: list[EntryState], chosen: frozenset[str], config: Iterable[DirectoryEntry]
    ) -> dict[str, int]:
        """Return the ids of the accounts that are asked for, each with its place in the request."""
        found: dict[str, int] = {}
        going_by: dict[str, list[EntryState]] = {}
        for state in states:
            for word in _words(state.entry):
                going_by.setdefault(word, []).append(state)
        default = next((e.first("zimbraDefaultDomainName") for e in config), "").lower()
        for place, name in enumerate(self._wanted.names):
            fitting = going_by.get(name.lower(), [])
            if name not in {state.entry.entry_id for state in fitting}:
                fitting = _in_one_domain(name, fitting, default)
            self._require_had(name, fitting, chosen)
            for state in fitting:
                found.setdefault(state.entry.entry_id, place)
        return found

    def _require_had(self, name: str, fitting: list[EntryState], chosen: frozenset[str]) -> None:
        """Refuse a name of an account that there is not, or that would be left out."""
        if not fitting and all(name != each.entry_id for each in self._choice.lost):
            raise BadRequest(
                f"There is no account {name} in {self._path.tree.root}.",
                code="no_such_account",
                hint="getAvailableAccounts with backup_path lists them.",
            )
        for state in fitting:
            if _domain(state.entry) not in chosen:
                raise BadRequest(
                    f"The account {state.entry.name} lies outside the chosen domains.",
                    code="bad_value",
                    hint=f"Add its domain, or leave it out. Chosen: {', '.join(sorted(chosen))}.",
                )
        is_left_out = all(state.deleted for state in fitting) and not self._wanted.with_deleted
        if fitting and is_left_out and name in self._wanted.accounts:
            entry, why = fitting[0].entry, fitting[0].reason or _DELETED
            raise BadRequest(
                f"The account {entry.name} would be left out: {why}.",
                code="bad_value",
                hint="With filter_deleted false it is imported.",
            )

    def _order(self, listed: Mapping[str, int]) -> None:
        """Take of several of one name the living one, else the one deleted last."""
        last = len(listed)
        for name, states in self._taken.items():
            *others, taken = sorted(states, key=_age)
            self._choice.accounts.append(taken.entry)
            for other in others:
                account = other.entry.entry_id
                why = (
                    f"its id is {account}, and of this name {taken.entry.entry_id} is imported;"
                    f" doRestoreOnNewAccount {account} restores it under another name, with"
                    f" backup_path {self._path.tree.root}"
                )
                self._choice.lost.append(Lost(EntryKind.ACCOUNT, account, name, why))
        self._choice.accounts.sort(key=lambda entry: (listed.get(entry.entry_id, last), entry.name))

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
            account.first("zimbraCOSId") or of_domain.get(_domain(account), default)
            for account in self._choice.accounts
        }
        needed = [states[each].entry for each in sorted(used) if each in states]
        if self._wanted.with_coses:
            self._choice.coses = sorted(needed, key=lambda entry: entry.name)
        elif needed:
            self._choice.left_out[EntryKind.COS, "skip_coses"] += len(needed)

    def _choose_lists(self, chosen: frozenset[str]) -> None:
        for state in self._states(EntryKind.LIST):
            if _domain(state.entry) not in chosen or state.deleted:
                continue
            if self._wanted.with_lists:
                self._choice.lists.append(state.entry)
            else:
                self._choice.left_out[EntryKind.LIST, "skip_distribution_lists"] += 1
        self._choice.lists.sort(key=lambda entry: entry.name)


def is_alias_domain(domain: DirectoryEntry) -> bool:
    """Say whether a domain only stands for another one."""
    return domain.first("zimbraDomainType") == "alias"


def _domain(entry: DirectoryEntry) -> str:
    return entry.name.partition("@")[2]


def _in_one_domain(name: str, fitting: list[EntryState], default: str) -> list[EntryState]:
    """Return whom a name means: a bare one means that of the default domain of the source.

    Raises BadRequest (ambiguous_account) where that is not known.
    """
    domains = {_domain(state.entry) for state in fitting}
    if "@" in name or len(domains) < 2:
        return fitting
    if default not in domains:
        raise BadRequest(
            f"Accounts of several domains go by the name {name}.",
            code="ambiguous_account",
            hint=f"Give one of: {', '.join(sorted({state.entry.name for state in fitting}))}.",
        )
    return [state for state in fitting if _domain(state.entry) == default]


def _words(entry: DirectoryEntry) -> set[str]:
    """Return what an account goes by: its id, address, local part and aliases, in lower case."""
    names = (entry.entry_id, entry.name, *entry.values("zimbraMailAlias"))
    return {name.lower() for name in (*names, entry.name.partition("@")[0])}


def _age(state: EntryState) -> tuple[bool, float]:
    return not state.deleted, state.start.timestamp()
