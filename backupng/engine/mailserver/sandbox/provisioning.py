"""What a sandbox's administrator can do in its directory, under the rules of a real one.

The rules are those of the admin interface (`zimbra-provisioning.md` §6.1, `zimbra-soap.md` §8): one
refused attribute fails the whole request, names and addresses are unique over all kinds, classes of
service are named by their ids, and what the server keeps itself cannot be set.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Final

from backupng.engine.errors import InvalidItem, MailServerRefused
from backupng.engine.mailserver.port import Attributes
from backupng.engine.mailserver.sandbox.directory import dn_of
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.attributes import IMMUTABLE
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, to_ms

_ID_ATTRIBUTES: Final = {
    EntryKind.IDENTITY: "zimbraPrefIdentityId",
    EntryKind.SIGNATURE: "zimbraSignatureId",
    EntryKind.DATA_SOURCE: "zimbraDataSourceId",
}
_ATTRIBUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9;-]{0,127}")
_COS_REFERENCES: Final = ("zimbraCOSId", "zimbraDomainDefaultCOSId")
_CLOSED_DOMAIN: Final = frozenset({"suspended", "shutdown"})
_AT_CREATION: Final = frozenset({"zimbraDomainType", "zimbraIsACLGroup", "memberURL"})
"""Attributes that a request to create may set, and no later one."""
_MEMBERS: Final = "zimbraMailForwardingAddress"


class SandboxProvisioning:
    """Creates and changes directory entries of a sandbox: that half of `port.Destination`."""

    def __init__(self, sandbox: Sandbox, clock: Callable[[], datetime]) -> None:
        self._sandbox = sandbox
        self._clock = clock
        self._directory = sandbox.directory

    @property
    def mail_host(self) -> str:
        """The name of the server."""
        return self._sandbox.server().name

    def entry(self, kind: EntryKind, name: str) -> DirectoryEntry | None:
        """Return an entry by its name or id, an account or list also by an alias."""
        return self._directory.find(kind, name)

    def create(
        self, kind: EntryKind, name: str, attributes: Attributes, *, dynamic: bool = False
    ) -> DirectoryEntry:
        """Create a domain, class of service or list with a new id."""
        new_id = str(uuid.uuid4())
        values = _base_of(kind, name, new_id, is_dynamic=dynamic)
        with self._refusing(f"The {kind} {name}"), self._sandbox.locked():
            self._check(attributes, also=_AT_CREATION)
            if kind is EntryKind.LIST:
                self._require_domain(name)
            if self._directory.find(kind, name) or self._directory.is_taken(name):
                raise InvalidItem("it exists already", code="already_exists")
            entry = DirectoryEntry(
                kind=kind,
                entry_id=new_id,
                name=name,
                dn=dn_of(kind, name),
                attributes={**values, **attributes},
            )
            self._directory.add(entry)
            return entry

    def create_account(
        self, name: str, attributes: Attributes, *, account_id: AccountId | None = None
    ) -> DirectoryEntry:
        """Create an account and an empty mailbox, with a new id or with this one."""
        with self._refusing(f"The account {name}"):
            self._check(attributes)
            self._require_domain(name, room_for_one=True)
            return self._sandbox.create_account(
                name,
                account_id or str(uuid.uuid4()),
                now_ms=to_ms(self._clock()),
                attributes=dict(attributes),
            )

    def modify(self, entry: DirectoryEntry, changes: Attributes) -> None:
        """Replace attributes of an entry as it is now; an empty tuple removes one."""
        with self._changing(entry) as now:
            self._check(changes)
            self._directory.modify(now, changes)
            if changes.get("zimbraAccountStatus") == (b"closed",):
                self._leave_lists(now)

    def add_alias(self, entry: DirectoryEntry, alias: str) -> bool:
        """Give an account or list one more address; False if it has it already."""
        with self._changing(entry) as now:
            if alias in (now.name, *now.values("zimbraMailAlias")):
                return False
            self._require_domain(alias)
            if self._directory.is_taken(alias):
                raise InvalidItem(f"cannot have the alias {alias}: that address is in use")
            added = {name: _with(now, name, [alias]) for name in ("mail", "zimbraMailAlias")}
            self._directory.modify(now, added)
        return True

    def add_members(self, group: DirectoryEntry, members: Iterable[str]) -> int:
        """Add addresses to a list or dynamic group; return how many were new."""
        with self._changing(group) as now:
            if "memberURL" in now.attributes:
                return sum(self._join(now, member) for member in members)
            news = [each for each in members if each not in now.values(_MEMBERS)]
            self._directory.modify(now, {_MEMBERS: _with(now, _MEMBERS, news)} if news else {})
        return len(news)

    def add_child(self, account: DirectoryEntry, child: DirectoryEntry) -> None:
        """Add an identity or signature to an account, under a new id."""
        new_id = str(uuid.uuid4())
        attributes = {**child.attributes, _ID_ATTRIBUTES[child.kind]: (new_id.encode(),)}
        with self._sandbox.locked():
            self._add_child(account, replace(child, entry_id=new_id, attributes=attributes))

    def put_child(self, account: DirectoryEntry, child: DirectoryEntry) -> None:
        """Add an identity, signature or data source under its own id, or replace that of its name.

        Where the id is another one's it gets a new one, as a second copy of it would.
        """
        with self._sandbox.locked():
            now = self._now(account.kind, account.entry_id)
            for each in now.children:
                if each.kind is child.kind and each.name == child.name:
                    self._directory.remove(each)
            if self._directory.find(child.kind, child.entry_id) is not None:
                new_id = str(uuid.uuid4())
                attributes = {**child.attributes, _ID_ATTRIBUTES[child.kind]: (new_id.encode(),)}
                child = replace(child, entry_id=new_id, attributes=attributes)
            self._add_child(now, child)

    def set_notes(self, cos: DirectoryEntry, notes: str) -> None:
        """Replace the Notes of a class of service; an empty text removes them."""
        self.modify(cos, {"zimbraNotes": (notes.encode(),) if notes else ()})

    @contextmanager
    def _changing(self, entry: DirectoryEntry) -> Iterator[DirectoryEntry]:
        """Change an entry under the server's lock: all of it or nothing."""
        with self._refusing(f"The {entry.kind} {entry.name}"), self._sandbox.locked():
            yield self._now(entry.kind, entry.entry_id)

    @contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        try:
            yield
        except InvalidItem as error:
            said = str(error)
            text = said if said.startswith(what) else f"{what}: {said}"
            raise MailServerRefused(text, code=error.code) from error

    def _now(self, kind: EntryKind, entry_id: str) -> DirectoryEntry:
        found = self._directory.find(kind, entry_id)
        if found is None:
            raise InvalidItem("it is gone", code="no_such_entry")
        return found

    def _check(self, attributes: Attributes, *, also: frozenset[str] = frozenset()) -> None:
        """Refuse attributes that no request may set, and references to nothing."""
        for name in attributes:
            if name in IMMUTABLE - also:
                raise InvalidItem(f"the attribute {name} is immutable")
            if not _ATTRIBUTE.fullmatch(name):
                raise InvalidItem(f"there is no attribute {name!r}")
        for name in _COS_REFERENCES:
            for value in attributes.get(name, ()):
                cos = self._directory.find(EntryKind.COS, value.decode("utf-8", "replace"))
                if cos is None or cos.entry_id.encode() != value:
                    raise InvalidItem(f"its {name} names no class of service")

    def _require_domain(self, address: str, *, room_for_one: bool = False) -> None:
        """Refuse an address in a domain that is not here, or that takes none."""
        local, at, name = address.partition("@")
        domain = self._directory.find(EntryKind.DOMAIN, name) if local and at else None
        if domain is None or domain.name != name.lower():
            raise InvalidItem(f"the domain {name} does not exist", code="no_such_domain")
        if domain.first("zimbraDomainType") == "alias":
            raise InvalidItem(f"{name} is an alias domain: it has no addresses of its own")
        if domain.first("zimbraDomainStatus") in _CLOSED_DOMAIN:
            raise InvalidItem(f"the domain {name} is {domain.first('zimbraDomainStatus')}")
        most = int(domain.first("zimbraDomainMaxAccounts", "0") or 0)
        if room_for_one and most and self._count_accounts(name) >= most:
            raise InvalidItem(f"the account limit of the domain {name} is reached")

    def _count_accounts(self, domain: str) -> int:
        accounts = self._directory.entries(EntryKind.ACCOUNT)
        return sum(1 for each in accounts if each.name.endswith(f"@{domain}"))

    def _join(self, group: DirectoryEntry, member: str) -> bool:
        """Let an address be a member of a dynamic group: an account says so, others are listed."""
        account = self._directory.find(EntryKind.ACCOUNT, member)
        if account is not None:
            joined = group.entry_id in account.values("zimbraMemberOf")
            groups = _with(account, "zimbraMemberOf", [] if joined else [group.entry_id])
            self._directory.modify(account, {"zimbraMemberOf": groups})
            return not joined
        unit = next((each for each in group.children if each.name == "external"), None)
        if unit is None:
            self._directory.add(_unit_of(group, member))
            return True
        listed = member in unit.values(_MEMBERS)
        self._directory.modify(unit, {_MEMBERS: _with(unit, _MEMBERS, [] if listed else [member])})
        return not listed

    def _leave_lists(self, account: DirectoryEntry) -> None:
        """Take the addresses of a closed account off every list, as the real server does."""
        addresses = {account.name, *account.values("zimbraMailAlias")}
        for group in list(self._directory.entries(EntryKind.LIST)):
            kept = tuple(each.encode() for each in group.values(_MEMBERS) if each not in addresses)
            if len(kept) < len(group.values(_MEMBERS)):
                self._directory.modify(group, {_MEMBERS: kept})

    def _add_child(self, account: DirectoryEntry, child: DirectoryEntry) -> None:
        dn = dn_of(child.kind, child.name, parent=account.dn)
        self._directory.add(replace(child, dn=dn, children=()))


def _with(entry: DirectoryEntry, attribute: str, more: Iterable[str]) -> tuple[bytes, ...]:
    return (*entry.attributes.get(attribute, ()), *(each.encode() for each in more))


def _base_of(
    kind: EntryKind, name: str, new_id: str, *, is_dynamic: bool
) -> dict[str, tuple[bytes, ...]]:
    """Return what a new entry has without being told."""
    base = {"zimbraId": new_id}
    if kind is EntryKind.DOMAIN:
        base |= {"zimbraDomainName": name, "zimbraDomainType": "local"}
    elif kind is EntryKind.COS or is_dynamic:
        base["cn"] = name.partition("@")[0]
    else:
        base["uid"] = name.partition("@")[0]
    if kind is EntryKind.LIST:
        base |= {"mail": name, "zimbraMailAlias": name}
    if is_dynamic:
        base["memberURL"] = f"ldap:///??sub?(zimbraMemberOf={new_id})"
    return {attribute: (value.encode(),) for attribute, value in base.items()}


def _unit_of(group: DirectoryEntry, member: str) -> DirectoryEntry:
    """Return the part of a dynamic group that lists who is no account here."""
    unit_id = str(uuid.uuid4())
    values = {"zimbraId": unit_id, "zimbraGroupId": group.entry_id, "cn": "external"}
    return DirectoryEntry(
        kind=EntryKind.GROUP_UNIT,
        entry_id=unit_id,
        name="external",
        dn=dn_of(EntryKind.GROUP_UNIT, "external", parent=group.dn),
        attributes={key: (value.encode(),) for key, value in values.items()}
        | {_MEMBERS: (member.encode(),)},
    )
