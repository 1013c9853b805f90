"""Phase 1 of an import: domains, classes of service, lists and accounts, empty, then what they say.

The order is the manual's: empty domains, needed classes of service, empty lists, empty accounts;
then the attributes of accounts, of domains, of lists, with aliases and members. Every step finds
done what a run before it did, so a kill anywhere costs nothing but the run after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from backupng.engine.backuppath.mapfile import Mapped
from backupng.engine.errors import BadRequest, InvalidItem, ItemError, MailServerRefused
from backupng.engine.mailserver.port import Attributes, Destination
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, EntryState, to_ms
from backupng.engine.restore.importing.attributes import Carried, carry, taken_away
from backupng.engine.restore.importing.choice import Choice, is_alias_domain
from backupng.engine.restore.importing.setting import set_attributes

CREATED, THERE, FAILED, LEFT_OUT = "created", "already there", "failed", "left out"
ALIASES, ATTRIBUTES, MEMBERS = "aliases", "attributes", "members"
_MEMBERS: Final = "zimbraMailForwardingAddress"
_REQUIRED: Final = ("cn", "sn", "displayName", "zimbraCalResType", "zimbraAccountCalendarUserType")
"""What an account, or a resource, cannot be created without."""
_ADMIN_FLAGS: Final = ("zimbraIsAdminAccount", "zimbraIsDelegatedAdminAccount")
_REFUSALS: Final = (BadRequest, InvalidItem, MailServerRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How entries are imported."""

    with_rights: bool = False
    with_aliases: bool = True
    create_domains: bool = True
    create_accounts: bool = True
    by_id: bool = False
    """The source is this very server: an account is found by its id, whatever its name is now."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What was wanted and not achieved in phase 1: of what, and why."""

    what: str
    name: str
    why: str


@dataclass(slots=True)
class Placed:
    """An account at its place: its entry at the source and here, and what comes after its items.

    `is_ours`: an import of this source has made it, so what it says is what the source says; `gone`
    names what it says no more because the source does not, either.
    """

    source: DirectoryEntry
    here: DirectoryEntry
    is_ours: bool = False
    later: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    of_items: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Phase1Result:
    """What phase 1 came to.

    `counts` are by what (an entry kind, `aliases`, `attributes`, `members`) and outcome. `rights`
    counts the attributes left out because they give rights, by name. `domains_later` are attributes
    of domains that come last.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    rights: Counter[str] = field(default_factory=Counter)
    accounts: list[Placed] = field(default_factory=list)
    domains_later: list[tuple[DirectoryEntry, dict[str, tuple[bytes, ...]]]] = field(
        default_factory=list
    )
    renamed: list[tuple[str, str]] = field(default_factory=list)
    kept_passwords: list[str] = field(default_factory=list)


class Phase1:
    """Imports the entries of a choice into a destination."""

    def __init__(
        self,
        destination: Destination,
        choice: Choice,
        options: Options,
        *,
        known: Iterable[Mapped],
        note: Callable[[Mapped], None],
        tick: Callable[[str], None],
        states_of: Callable[[str], Iterable[EntryState]],
    ) -> None:
        """`known` is what earlier imports of that source noted; `note` is told where things go.

        `tick` is told the name of what is made next, and may raise Stopped. `states_of` gives the
        states of an account at the source, or raises ItemError.
        """
        self._destination, self._choice, self._options = destination, choice, options
        self._note, self._tick, self._states_of = note, tick, states_of
        known = list(known)
        self._new = {(each.kind, each.old): each.new for each in known}
        self._ours = {(each.kind, each.old) for each in known if not each.own}
        self._since = {each.old: each.since for each in known if each.kind is EntryKind.ACCOUNT}
        self._result = Phase1Result()
        self._groups: list[tuple[DirectoryEntry, DirectoryEntry]] = []
        self._domains: list[tuple[DirectoryEntry, DirectoryEntry, bool]] = []

    def run(self) -> Phase1Result:
        """Make everything, in the manual's order."""
        self._map_known_names()
        for domain in self._choice.domains:
            self._make_domain(domain)
        for cos in self._choice.coses:
            self._make_cos(cos)
        for group in self._choice.lists:
            self._make_list(group)
        for account in self._choice.accounts:
            self._place_account(account)
        self._set_attributes()
        return self._result

    def new_id(self, kind: EntryKind, old: str) -> str | None:
        """Return the id here of an entry of the source; None for one without a counterpart."""
        return self._new.get((kind, old))

    # Empty entries

    def _map_known_names(self) -> None:
        """Let ids of domains and classes that are not imported mean those of their names here."""
        for (kind, old), name in self._choice.names.items():
            found = self._destination.entry(kind, name)
            if found is not None and (kind, old) not in self._new:
                self._new[kind, old] = found.entry_id

    def _make_domain(self, source: DirectoryEntry) -> None:
        with self._attempt(EntryKind.DOMAIN, source.name):
            found = self._destination.entry(EntryKind.DOMAIN, source.name)
            is_ours = (EntryKind.DOMAIN, source.entry_id) in self._ours
            if found is None:
                if not self._options.create_domains:
                    raise InvalidItem("it does not exist here, and domains are not created")
                found, is_ours = self._create_domain(source), True
                self._count(EntryKind.DOMAIN, CREATED)
            else:
                if is_alias_domain(found) != is_alias_domain(source):
                    kind = "an alias domain" if is_alias_domain(found) else "a local domain"
                    raise InvalidItem(f"a domain of this name exists, and it is {kind}")
                self._count(EntryKind.DOMAIN, THERE)
            self._take(source, found, own=not is_ours)
            self._domains.append((source, found, is_ours))

    def _create_domain(self, source: DirectoryEntry) -> DirectoryEntry:
        attributes: dict[str, tuple[bytes, ...]] = {}
        if is_alias_domain(source):
            attributes["zimbraDomainType"] = (b"alias",)
            target = self.new_id(EntryKind.DOMAIN, source.first("zimbraDomainAliasTargetId"))
            if target is None:
                raise InvalidItem("the domain that it stands for is not here")
            found = self._destination.entry(EntryKind.DOMAIN, target)
            attributes["zimbraDomainAliasTargetId"] = (target.encode(),)
            attributes["zimbraMailCatchAllAddress"] = (f"@{source.name}".encode(),)
            if found is not None:
                forward = f"@{found.name}".encode()
                attributes["zimbraMailCatchAllForwardingAddress"] = (forward,)
        return self._destination.create(EntryKind.DOMAIN, source.name, attributes)

    def _make_cos(self, source: DirectoryEntry) -> None:
        """Make a class of service; one of that name is kept as it is."""
        with self._attempt(EntryKind.COS, source.name):
            found = self._destination.entry(EntryKind.COS, source.name)
            if found is None:
                found = self._destination.create(EntryKind.COS, source.name, {})
                self._count(EntryKind.COS, CREATED)
                carried = self._carry(source)
                # A real server copies those of `default`, the notes with the backup's own marker.
                notes = {"zimbraNotes": carried.now.get("zimbraNotes", ())}
                self._set(found, carried.now | carried.later | notes)
            else:
                self._count(EntryKind.COS, THERE)
            self._take(source, found)

    def _make_list(self, source: DirectoryEntry) -> None:
        with self._attempt(EntryKind.LIST, source.name):
            found = self._destination.entry(EntryKind.LIST, source.name)
            if found is not None and found.name != source.name:
                raise InvalidItem(f"its address is an alias of {found.name}")
            if found is None:
                self._require_free(source.name, EntryKind.ACCOUNT)
                is_group = "memberURL" in source.attributes
                found = self._destination.create(EntryKind.LIST, source.name, {}, dynamic=is_group)
                self._count(EntryKind.LIST, CREATED)
                self._ours.add((EntryKind.LIST, source.entry_id))
            else:
                self._count(EntryKind.LIST, THERE)
            self._take(source, found, own=(EntryKind.LIST, source.entry_id) not in self._ours)
            self._groups.append((source, found))

    def _place_account(self, source: DirectoryEntry) -> None:
        with self._attempt(EntryKind.ACCOUNT, source.name):
            found = self._find_account(source)
            is_ours = (EntryKind.ACCOUNT, source.entry_id) in self._ours or found is None
            if found is None:
                if not self._options.create_accounts:
                    raise InvalidItem("it does not exist here, and accounts are not created")
                found = self._create_account(source)
                self._count(EntryKind.ACCOUNT, CREATED)
            else:
                self._count(EntryKind.ACCOUNT, THERE)
                if found.name != source.name:
                    self._result.renamed.append((source.name, found.name))
            self._take(source, found, own=not is_ours)
            self._result.accounts.append(Placed(source, found, is_ours=is_ours))

    def _find_account(self, source: DirectoryEntry) -> DirectoryEntry | None:
        """Return the account that is filled: the one of an earlier import, or of the same name."""
        known = self.new_id(EntryKind.ACCOUNT, source.entry_id)
        known = known or (source.entry_id if self._options.by_id else None)
        found = self._destination.entry(EntryKind.ACCOUNT, known) if known else None
        if found is not None and found.entry_id == known:
            return found
        found = self._destination.entry(EntryKind.ACCOUNT, source.name)
        if found is not None and found.name != source.name:
            raise InvalidItem(f"its address is an alias of {found.name}")
        if found is None:
            self._require_free(source.name, EntryKind.LIST)
        return found

    def _create_account(self, source: DirectoryEntry) -> DirectoryEntry:
        """Create an account under its old id, so that shares go on leading to it, if it is free."""
        carried = carry(source, self.new_id, with_rights=self._options.with_rights)
        base = {name: values for name, values in carried.now.items() if name in _REQUIRED}
        old = AccountId(source.entry_id)
        is_free = self._destination.entry(EntryKind.ACCOUNT, old) is None
        return self._destination.create_account(
            source.name, base, account_id=old if is_free else None
        )

    def _require_free(self, address: str, kind: EntryKind) -> None:
        found = self._destination.entry(kind, address)
        if found is not None:
            raise InvalidItem(f"its address is taken by the {kind} {found.name}")

    # What they say

    def _set_attributes(self) -> None:
        if self._options.create_accounts:
            for placed in self._result.accounts:
                with self._attempt(EntryKind.ACCOUNT, placed.source.name, done=True):
                    self._set_account(placed)
        if not self._options.create_domains:
            return
        for source, here, is_ours in self._domains:
            with self._attempt(EntryKind.DOMAIN, source.name, done=True):
                self._set_domain(source, here, is_ours=is_ours)
        if self._options.with_aliases:
            for placed in self._result.accounts:
                self._add_aliases(placed.source, placed.here)
        for source, here in self._groups:
            with self._attempt(EntryKind.LIST, source.name, done=True):
                self._set_list(source, here)

    def _set_account(self, placed: Placed) -> None:
        carried = self._carry(placed.source)
        is_admin = any(placed.here.first(name) == "TRUE" for name in _ADMIN_FLAGS)
        if is_admin and not self._options.with_rights and "userPassword" in carried.now:
            # Whoever made the backup would be an administrator here.
            del carried.now["userPassword"]
            self._result.kept_passwords.append(placed.here.name)
        self._set(placed.here, carried.now)
        placed.later, placed.of_items = carried.later, carried.of_items
        if placed.is_ours:
            placed.gone = taken_away(placed.source, placed.here, self._earlier(placed.source))
            placed.later |= dict.fromkeys(placed.gone, ())

    def _earlier(self, source: DirectoryEntry) -> Iterator[DirectoryEntry]:
        """Yield what an account has said at the source since its first import, and no more now."""
        since = self._since.get(source.entry_id)
        if since is None:
            return
        with suppress(ItemError):
            for state, after in pairwise(self._states_of(source.entry_id)):
                if to_ms(after.start) >= since:
                    yield state.entry

    def _set_domain(self, source: DirectoryEntry, here: DirectoryEntry, *, is_ours: bool) -> None:
        """Set what a domain says; one that was here before the first import keeps its own."""
        carried = self._carry(source)
        own = {} if is_ours else self._now(here).attributes
        self._set(here, {k: v for k, v in carried.now.items() if k not in own})
        later = {k: v for k, v in carried.later.items() if k not in own}
        if later:
            self._result.domains_later.append((here, later))

    def _set_list(self, source: DirectoryEntry, here: DirectoryEntry) -> None:
        carried = self._carry(source)
        is_ours = (EntryKind.LIST, source.entry_id) in self._ours
        own = {} if is_ours else self._now(here).attributes
        self._set(here, {k: v for k, v in (carried.now | carried.later).items() if k not in own})
        self._add_aliases(source, here)
        for member in self._members(source):
            if self._is_stranger(member):
                self._count(MEMBERS, LEFT_OUT)
                continue
            try:
                self._destination.add_members(here, [member])
            except _REFUSALS as error:
                self._fail(EntryKind.LIST, source.name, f"member {member}: {error}")

    def _members(self, source: DirectoryEntry) -> Iterator[str]:
        """Yield the addresses of a list's members; of a group also its accounts."""
        for entry in (source, *source.children):
            yield from entry.values(_MEMBERS)
        if "memberURL" in source.attributes:
            for placed in self._result.accounts:
                if source.entry_id in placed.source.values("zimbraMemberOf"):
                    yield placed.here.name

    def _is_stranger(self, address: str) -> bool:
        """Say whether it is an account's that was not asked for, and that is not here either."""
        is_asked_for = address.lower() not in self._choice.strangers
        return not is_asked_for and self._destination.entry(EntryKind.ACCOUNT, address) is None

    def _add_aliases(self, source: DirectoryEntry, here: DirectoryEntry) -> None:
        for alias in source.values("zimbraMailAlias"):
            if alias in (source.name, here.name):
                continue
            try:
                added = self._destination.add_alias(here, alias)
                self._count(ALIASES, CREATED if added else THERE)
            except _REFUSALS as error:
                self._fail(ALIASES, alias, str(error))
                self._count(ALIASES, FAILED)

    def _carry(self, source: DirectoryEntry) -> Carried:
        carried = carry(source, self.new_id, with_rights=self._options.with_rights)
        self._result.rights.update(carried.rights)
        for why in carried.dropped:
            self._fail(source.kind, source.name, why)
        return carried

    def _set(self, here: DirectoryEntry, attributes: Attributes) -> None:
        """Set attributes; those that are refused do not keep the others away."""
        refused = list(set_attributes(self._destination, here, attributes))
        same = {k for k, v in attributes.items() if here.attributes.get(k) == v}
        same -= {name for name, _ in refused}
        self._count(ATTRIBUTES, THERE, len(same))
        self._count(ATTRIBUTES, CREATED, len(attributes) - len(refused) - len(same))
        self._count(ATTRIBUTES, FAILED, len(refused))
        for name, why in refused:
            self._fail(here.kind, here.name, f"attribute {name}: {why}; the others are set")

    def _now(self, entry: DirectoryEntry) -> DirectoryEntry:
        return self._destination.entry(entry.kind, entry.entry_id) or entry

    # What came of it

    @contextmanager
    def _attempt(self, kind: EntryKind, name: str, *, done: bool = False) -> Iterator[None]:
        """Do one step; what is refused is told of, and the next one is done.

        `done`: the entry itself is there already, whatever comes of the step.
        """
        self._tick(name)
        try:
            yield
        except _REFUSALS as error:
            if not done:
                self._count(kind, FAILED)
            self._fail(kind, name, str(error))

    def _take(self, source: DirectoryEntry, here: DirectoryEntry, *, own: bool = False) -> None:
        self._new[source.kind, source.entry_id] = here.entry_id
        self._note(
            Mapped(
                kind=source.kind,
                old=source.entry_id,
                new=here.entry_id,
                name=source.name,
                here=here.name,
                own=own,
            )
        )

    def _count(self, what: str, outcome: str, more: int = 1) -> None:
        self._result.counts[what, outcome] += more

    def _fail(self, what: str, name: str, why: str) -> None:
        self._result.failures.append(Failure(what, name, why.rstrip(".")))
