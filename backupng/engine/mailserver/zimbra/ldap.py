"""The directory of a real server: what `zimbra-provisioning.md` §2 says lies where.

Zimbra/zm-mailbox, below `store/src/java/com/zimbra/cs/account/ldap/`: `LdapDIT.java`,
`LdapObjectClass.java`, `LdapProvisioning.java`.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from backupng.engine.errors import MailServerError, MailServerRefused
from backupng.engine.mailserver.zimbra.ldapclient import (
    GRANT,
    Found,
    LdapClient,
    Scope,
    Search,
    escape,
)
from backupng.engine.model import DirectoryEntry, EntryKind

OVERLAP: Final = timedelta(minutes=2)
"""How much further back `changed_since` looks: clocks differ, and a replica gets changes late."""
FEW: Final = 50
"""Up to so many changed entries are asked for their children one by one."""

_CONFIG_DN: Final = "cn=config,cn=zimbra"
_CONFIG_ID: Final = "config"
_SERVERS_DN: Final = "cn=servers,cn=zimbra"

_CONDITIONS: Final[Mapping[EntryKind, str]] = {
    EntryKind.ACCOUNT: "(objectClass=zimbraAccount)(zimbraMailHost={host})",
    EntryKind.DOMAIN: "(objectClass=zimbraDomain)",
    EntryKind.COS: "(objectClass=zimbraCOS)",
    EntryKind.LIST: "(|(objectClass=zimbraDistributionList)(objectClass=zimbraGroup))",
    EntryKind.SERVER: "(objectClass=zimbraServer)",
    EntryKind.CONFIG: "(objectClass=zimbraGlobalConfig)",
}
_CHILDREN: Final[Mapping[EntryKind, str]] = {
    EntryKind.ACCOUNT: "(|(objectClass=zimbraIdentity)(objectClass=zimbraSignature)"
    "(objectClass=zimbraDataSource))",
    EntryKind.LIST: "(|(objectClass=zimbraGroupDynamicUnit)(objectClass=zimbraGroupStaticUnit))",
}
_CHILD_OF_RDN: Final[Mapping[str, tuple[EntryKind, str]]] = {
    "zimbraprefidentityname": (EntryKind.IDENTITY, "zimbraPrefIdentityId"),
    "zimbrasignaturename": (EntryKind.SIGNATURE, "zimbraSignatureId"),
    "zimbradatasourcename": (EntryKind.DATA_SOURCE, "zimbraDataSourceId"),
    "cn": (EntryKind.GROUP_UNIT, "zimbraId"),
}
"""What an entry below an account or a group is, by the attribute that names it; and its id."""
_NAMES: Final[Mapping[EntryKind, str]] = {
    EntryKind.ACCOUNT: "zimbraMailDeliveryAddress",
    EntryKind.DOMAIN: "zimbraDomainName",
    EntryKind.COS: "cn",
    EntryKind.SERVER: "cn",
    EntryKind.CONFIG: "cn",
}
_RDN: Final = re.compile(r"([^=]+)=((?:[^,\\]|\\.)*),?", re.DOTALL)
_log = logging.getLogger(__name__)
_DC: Final = re.compile(r"(?:^|,)dc=((?:[^,\\]|\\.)*)", re.IGNORECASE | re.DOTALL)


class LdapDirectory:
    """Reads a real directory; implements `zimbra.source.Directory`. A context manager.

    `url` may be several, separated by blanks. With `mail_host`, accounts are those whose mail lies
    on that host (its `zimbraServiceHostname`); accounts without any host never count. Every method
    raises MailServerUnreachable when the directory does not answer and MailServerRefused when it
    lets the login in or look no further.
    """

    def __init__(
        self,
        url: str,
        *,
        bind_dn: str,
        password: str,
        starttls: bool = False,
        ca_file: Path | None = None,
        mail_host: str = "",
    ) -> None:
        self._client = LdapClient(
            urls=url.split(),
            bind_dn=bind_dn,
            password=password,
            starttls=starttls,
            ca_file=ca_file,
        )
        self._host = escape(mail_host) if mail_host else "*"

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def entries(self, kind: EntryKind) -> Iterator[DirectoryEntry]:
        """Yield all entries of a kind in the directory's order, children with their entry."""
        children = self._all_children(kind)
        for found in self._client.search(Search(condition=self._condition(kind))):
            yield self._entry(kind, found, children.get(_key(found.dn), ()))

    def ids(self, kind: EntryKind) -> set[str]:
        """Return the ids of all entries of a kind; little is read for it."""
        wanted = Search(condition=self._condition(kind), attributes=("zimbraId",))
        return {self._id(kind, found) for found in self._client.search(wanted)}

    def has_account(self, account_id: str) -> bool:
        """Say whether an account of that id exists, whatever its host."""
        condition = f"(&(objectClass=zimbraAccount)(zimbraId={escape(account_id)}))"
        wanted = Search(condition=condition, attributes=("1.1",), page=1)
        return any(True for _ in self._client.search(wanted))

    def changed_since(self, kind: EntryKind, moment: datetime) -> Iterator[DirectoryEntry]:
        """Yield the entries of a kind that were made or changed at `moment` or later.

        Some that changed up to `OVERLAP` earlier are among them. An entry counts as changed with
        its children, but for one that lost a child: only `entries` shows that. Deleted entries are
        not here: compare `ids`.
        """
        since = f"(modifyTimestamp>={moment.astimezone(UTC) - OVERLAP:%Y%m%d%H%M%SZ})"
        changed = self._client.search(Search(condition=self._condition(kind, since)))
        found = {_key(each.dn): each for each in changed}
        if kind in _CHILDREN:
            for parent in self._parents(f"(&{_CHILDREN[kind]}{since})") - found.keys():
                found |= {_key(each.dn): each for each in self._at(parent, kind)}
        many = self._all_children(kind) if len(found) > FEW else None
        for key, each in found.items():
            below = self._children_below(kind, each.dn) if many is None else many.get(key, ())
            yield self._entry(kind, each, below)

    def server(self, name: str) -> DirectoryEntry:
        """Return the entry of the server of that name. Raises MailServerError if there is none."""
        text = escape(name)
        condition = self._condition(
            EntryKind.SERVER, f"(|(cn={text})(zimbraServiceHostname={text}))"
        )
        wanted = Search(base=_SERVERS_DN, scope=Scope.ONE, condition=condition)
        for found in self._client.search(wanted):
            return self._entry(EntryKind.SERVER, found, ())
        known = sorted(entry.name for entry in self.entries(EntryKind.SERVER))
        raise MailServerError(
            f"{self._client.where} knows no server {name}.",
            code="no_such_server",
            hint=f"It knows: {', '.join(known)}." if known else GRANT,
        )

    def config(self) -> DirectoryEntry | None:
        """Return the global configuration, which servers inherit from; None if it is not shown."""
        for found in self._at(_CONFIG_DN, EntryKind.CONFIG):
            return self._entry(EntryKind.CONFIG, found, ())
        return None

    def shows_passwords(self) -> bool:
        """Say whether password hashes can be read: of an account, or else of anybody."""
        accounts = self._condition(EntryKind.ACCOUNT, "(userPassword=*)")
        for condition in (accounts, "(&(objectClass=zimbraAccount)(userPassword=*))"):
            wanted = Search(condition=condition, attributes=("userPassword",), page=1)
            if any("userPassword" in found.attributes for found in self._client.search(wanted)):
                return True
        return False

    def _condition(self, kind: EntryKind, more: str = "") -> str:
        return f"(&{_CONDITIONS[kind].format(host=self._host)}{more})"

    def _at(self, dn: str, kind: EntryKind) -> Iterator[Found]:
        """Yield the entry of that DN if it is there and of that kind."""
        wanted = Search(base=dn, scope=Scope.BASE, condition=self._condition(kind))
        return self._client.search(wanted)

    def _parents(self, condition: str) -> set[str]:
        wanted = Search(condition=condition, attributes=("1.1",))
        return {_key(_parent(found.dn)) for found in self._client.search(wanted)}

    def _all_children(self, kind: EntryKind) -> Mapping[str, Iterable[Found]]:
        """Return what lies below the entries of a kind, by the DN of those.

        One search for all: one for each account would be a hundred thousand.
        """
        below: dict[str, list[Found]] = defaultdict(list)
        if kind in _CHILDREN:
            for found in self._client.search(Search(condition=_CHILDREN[kind])):
                below[_key(_parent(found.dn))].append(found)
        return below

    def _children_below(self, kind: EntryKind, dn: str) -> Iterable[Found]:
        if kind not in _CHILDREN:
            return ()
        return self._client.search(Search(base=dn, scope=Scope.ONE, condition=_CHILDREN[kind]))

    def _entry(self, kind: EntryKind, found: Found, children: Iterable[Found]) -> DirectoryEntry:
        made = (child for each in children if (child := _child(each)) is not None)
        return DirectoryEntry(
            kind=kind,
            entry_id=self._id(kind, found),
            name=_name(kind, found),
            dn=found.dn,
            attributes=found.attributes,
            children=tuple(sorted(made, key=lambda each: (each.kind, each.name))),
        )

    def _id(self, kind: EntryKind, found: Found) -> str:
        if kind is EntryKind.CONFIG:
            return _CONFIG_ID
        if entry_id := _first(found, "zimbraId"):
            return entry_id
        raise MailServerRefused(
            f"{self._client.where} does not show the id of {found.dn}.", hint=GRANT
        )


def _child(found: Found) -> DirectoryEntry | None:
    """Return what lies below an entry; None if it is named as nothing known is."""
    rdn = _RDN.match(found.dn)
    attribute = rdn[1].lower() if rdn else ""
    if attribute not in _CHILD_OF_RDN:
        _log.warning("%s is left out: nothing is known that is named by %r", found.dn, attribute)
        return None
    kind, id_attribute = _CHILD_OF_RDN[attribute]
    names = {name.lower(): name for name in found.attributes}
    name = _first(found, names.get(attribute, ""))
    return DirectoryEntry(
        kind=kind,
        entry_id=_first(found, id_attribute) or name,
        name=name,
        dn=found.dn,
        attributes=found.attributes,
    )


def _name(kind: EntryKind, found: Found) -> str:
    """Return an entry's name; of lists, and accounts without an address, by where they lie."""
    named = _first(found, _NAMES.get(kind, ""))
    if named or kind not in (EntryKind.ACCOUNT, EntryKind.LIST):
        return named or found.dn
    local = _first(found, "uid") or _first(found, "cn")
    return f"{local}@{'.'.join(_DC.findall(found.dn))}"


def _first(found: Found, attribute: str) -> str:
    values = found.attributes.get(attribute, ())
    return values[0].decode("utf-8", "replace") if values else ""


def _parent(dn: str) -> str:
    return _RDN.sub("", dn, count=1)


def _key(dn: str) -> str:
    return dn.lower()
