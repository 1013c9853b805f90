"""A throw-away directory server: slapd on a free port of loopback, filled with what a test gives.

Its schema has the names of the classes that the engine looks for and one attribute type for every
attribute it is given, of a syntax that takes any bytes: what is loaded comes back as it was.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import ldap3
from ldap3.core import exceptions as ldap_errors

from backupng.engine.model import DirectoryEntry, EntryKind
from tests.processes import lives, own_port, until
from tests.services import require

ADMIN = "uid=zimbra,cn=admins,cn=zimbra"
PASSWORD = "only for tests: s3cret"
READER = "uid=reader,cn=admins,cn=zimbra"
"""A login that may read everything but passwords."""
OUTSIDER = "uid=outsider,cn=zimbra"
"""A login that may read nothing."""

_ROOT = ("cn=config", "of this one server")
_RELAX = ("1.3.6.1.4.1.4203.666.5.12", True, None)
_SCHEMAS = Path("/etc/ldap/schema")
_INCLUDED = ("core", "cosine", "inetorgperson", "dyngroup")
_ONLY_HERE = frozenset({"objectClass", "dc", "o"})
_CLASSES = {
    EntryKind.ACCOUNT: ("inetOrgPerson", "zimbraAccount"),
    EntryKind.DOMAIN: ("dcObject", "organization", "zimbraDomain"),
    EntryKind.COS: ("zimbraCOS",),
    EntryKind.LIST: ("zimbraDistributionList",),
    EntryKind.SERVER: ("zimbraServer",),
    EntryKind.CONFIG: ("organizationalRole", "zimbraGlobalConfig"),
    EntryKind.IDENTITY: ("zimbraIdentity",),
    EntryKind.SIGNATURE: ("zimbraSignature",),
    EntryKind.DATA_SOURCE: ("zimbraImapDataSource",),
}
_AUXILIARY = (
    *("zimbraAccount", "zimbraDomain", "zimbraGlobalConfig", "zimbraGroup"),
    *("zimbraGroupDynamicUnit", "zimbraCalendarResource"),
)
_STRUCTURAL = (
    *("zimbraCOS", "zimbraDistributionList", "zimbraServer", "zimbraIdentity"),
    *("zimbraSignature", "zimbraDataSource", "zimbraGroupStaticUnit", "zimbraAlias"),
)
_PREFIX = "backupng-slapd-"
_SURELY_STARTED_S = 60.0
_ALWAYS = ("zimbraId", "zimbraMailHost", "zimbraServiceHostname")
"""Attributes that are asked for in every search of their class."""
_OWN_OIDS = "1.3.6.1.4.1.4203.666.77"  # of OpenLDAP's arc for experiments
_NAME = re.compile(r"NAME\s+(?:'([^']+)'|\(([^)]*)\))")

_CONFIG = """\
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload dynlist
{includes}
include {folder}/zimbra.schema
pidfile {folder}/pid
{tls}
database config
rootdn "{root}"
rootpw "{password}"
database mdb
suffix ""
rootdn "{root}"
directory {folder}/data
maxsize 67108864
dbnosync
sizelimit unlimited
index objectClass eq
access to attrs=userPassword by anonymous auth by dn.exact="{reader}" none
  by dn.children="cn=admins,cn=zimbra" write
access to * by dn.children="cn=admins,cn=zimbra" write by * none
overlay dynlist
dynlist-attrset groupOfURLs memberURL member
"""
_TLS = """\
TLSCertificateFile {folder}/certificate
TLSCertificateKeyFile {folder}/key
TLSCACertificateFile {folder}/certificate
"""


class Slapd:
    """One server for the tests of one process."""

    def __init__(self) -> None:
        self._program = require("slapd", "slapd")
        _remove_left_over()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        (self.folder / "data").mkdir()
        self.port = own_port()
        self._certify()
        self._types: list[str] = []
        self._write_schema(_ALWAYS)
        (self.folder / "slapd.conf").write_text(
            _CONFIG.format(
                folder=self.folder,
                includes="\n".join(f"include {_SCHEMAS}/{name}.schema" for name in _INCLUDED),
                tls=_TLS.format(folder=self.folder),
                root=_ROOT[0],
                password=_ROOT[1],
                reader=READER,
            )
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.loaded: object = None
        """What `load` loaded, as long as nothing of it was changed."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        """Its certificate, which is its own authority."""
        return self.folder / "certificate"

    def start(self) -> None:
        """Start it and wait until it answers."""
        # Tests that are killed take it along.
        tie = [require("setpriv", "util-linux"), "--pdeathsig", "KILL"]
        words = [self._program, "-f", self.folder / "slapd.conf", "-h", self.url, "-d", "0"]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*tie, *map(str, words)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # In a session of its own: Ctrl+C at the tests is not for it.
                start_new_session=True,
            )
        until(self._answers)

    def stop(self) -> None:
        """Stop it, whoever is connected."""
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(100)
            self._process = None

    def remove(self) -> None:
        """Stop it and delete all that it was."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def load(self, entries: Iterable[DirectoryEntry]) -> None:
        """Replace all it holds by what every directory has and these entries, children included.

        Domains must come before what lies in them.
        """
        entries = list(entries)
        self._learn(_attributes_of(entries))
        with self.as_root() as connection:
            for dn in self._dns(connection):
                connection.delete(dn)
            for dn, attributes in _frame():
                connection.add(dn, attributes=attributes)
            for entry in entries:
                _put(connection, entry)

    def put(self, dn: str, attributes: Mapping[str, object]) -> None:
        """Add an entry as it stands."""
        self._learn(attributes)
        with self.as_root() as connection:
            connection.add(dn, attributes=attributes)
        self.loaded = None

    def age(self, stamp: str) -> None:
        """Let everything have changed last at `stamp`, spelled as the directory spells it."""
        with self.as_root() as connection:
            changes = {"modifyTimestamp": [(ldap3.MODIFY_REPLACE, [stamp])]}
            for dn in self._dns(connection):
                connection.modify(dn, changes, controls=[_RELAX])
        self.loaded = None

    def modify(self, dn: str, **attributes: str) -> None:
        """Replace attributes of an entry."""
        self._learn(attributes)
        with self.as_root() as connection:
            changes = {name: [(ldap3.MODIFY_REPLACE, [attributes[name]])] for name in attributes}
            connection.modify(dn, changes)
        self.loaded = None

    @contextmanager
    def as_root(self) -> Iterator[Any]:
        """Yield a connection that may do everything."""
        connection = ldap3.Connection(
            ldap3.Server(self.url, get_info=ldap3.NONE),
            *_ROOT,
            check_names=False,
            raise_exceptions=True,
            auto_bind=True,
        )
        try:
            yield connection
        finally:
            connection.unbind()

    def _dns(self, connection: Any) -> list[str]:
        """Return the DNs of all entries, those below others first."""
        with suppress(ldap_errors.LDAPNoSuchObjectResult):
            connection.search("", "(objectClass=*)", attributes=["1.1"])
            dns = [each["dn"] for each in connection.response if each["dn"]]
            return sorted(dns, key=lambda dn: -dn.count(","))
        return []

    def _answers(self) -> bool:
        assert self._process
        log = (self.folder / "log").read_text() if self._process.poll() is not None else ""
        assert self._process.poll() is None, f"slapd has ended: {log}"
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        return False

    def _learn(self, attributes: Iterable[str]) -> None:
        """Give attributes that are new to it their types; slapd reads those when it starts."""
        if new := {each for each in attributes if self._is_new(each)}:
            self.stop()
            self._write_schema(sorted(new))
            self.start()

    def _is_new(self, attribute: str) -> bool:
        known = _standard_names() | {each.lower() for each in self._types}
        return attribute.partition(";")[0].lower() not in known

    def _write_schema(self, new: Iterable[str]) -> None:
        """Add attribute types; those that are there keep their numbers."""
        self._types += new
        (self.folder / "zimbra.schema").write_text(_schema(self._types))

    def _certify(self) -> None:
        openssl = require("openssl", "openssl")
        subprocess.run(
            [
                *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                *("-nodes", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-days", "3650", "-keyout", self.folder / "key", "-out", self.certificate),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )


def _remove_left_over() -> None:
    """Delete the folders of tests that were killed: their servers are gone with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError, ValueError):
            young = time.time() - folder.stat().st_mtime < _SURELY_STARTED_S
            pid = folder / "pid"
            if not young and not (pid.exists() and lives(int(pid.read_text()))):
                shutil.rmtree(folder, ignore_errors=True)


def plain(entry: DirectoryEntry) -> DirectoryEntry:
    """Return an entry without what a sandbox has no need of: classes, and the label of a domain."""
    kept = {name: each for name, each in entry.attributes.items() if name not in _ONLY_HERE}
    return replace(entry, attributes=kept, children=tuple(map(plain, entry.children)))


def _attributes_of(entries: Iterable[DirectoryEntry]) -> set[str]:
    found: set[str] = set()
    for entry in entries:
        found |= entry.attributes.keys() | _attributes_of(entry.children)
    return found


def _frame() -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield what every directory has: branches and the logins of administrators."""
    yield "cn=zimbra", {"objectClass": "organizationalRole", "cn": "zimbra"}
    for name in ("admins", "cos", "servers"):
        yield f"cn={name},cn=zimbra", {"objectClass": "organizationalRole", "cn": name}
    for dn in (ADMIN, READER, OUTSIDER):
        yield (
            dn,
            {
                "objectClass": ["inetOrgPerson", "zimbraAccount", "extensibleObject"],
                "cn": "zimbra",
                "sn": "zimbra",
                "userPassword": PASSWORD,
                "zimbraId": f"id of {dn}",
            },
        )


def _put(connection: Any, entry: DirectoryEntry) -> None:
    """Add an entry with its children, the branches above it where they are missing."""
    attributes: dict[str, object] = {name: list(each) for name, each in entry.attributes.items()}
    attributes.setdefault("objectClass", [*_CLASSES[entry.kind], "extensibleObject"])
    if entry.kind is EntryKind.DOMAIN:
        labels = entry.name.split(".")
        attributes |= {"dc": labels[0], "o": entry.name}
        for start in range(len(labels) - 1, 0, -1):
            label = {"objectClass": ["dcObject", "organization"], "dc": labels[start], "o": "above"}
            with suppress(ldap_errors.LDAPEntryAlreadyExistsResult):
                connection.add(",".join(f"dc={each}" for each in labels[start:]), attributes=label)
    connection.add(entry.dn, attributes=attributes)
    if entry.kind is EntryKind.DOMAIN:
        people = {"objectClass": "organizationalUnit", "ou": "people"}
        groups = {"objectClass": "organizationalRole", "cn": "groups"}
        connection.add(f"ou=people,{entry.dn}", attributes=people)
        connection.add(f"cn=groups,{entry.dn}", attributes=groups)
    for child in entry.children:
        _put(connection, child)


def _schema(attributes: Iterable[str]) -> str:
    """Return a schema with Zimbra's classes that count here, and a type for each attribute."""
    lines = [
        f"attributetype ( {_OWN_OIDS}.1.{number} NAME '{name}' EQUALITY octetStringMatch"
        f" SUBSTR octetStringSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )"
        for number, name in enumerate(attributes, start=1)
    ]
    sorts = [(name, "top", "AUXILIARY") for name in _AUXILIARY]
    sorts += [(name, "top", "STRUCTURAL") for name in _STRUCTURAL]
    sorts.append(("zimbraImapDataSource", "zimbraDataSource", "STRUCTURAL"))
    lines += [
        f"objectclass ( {_OWN_OIDS}.2.{number} NAME '{name}' SUP {above} {sort} )"
        for number, (name, above, sort) in enumerate(sorts, start=1)
    ]
    return "\n".join(lines) + "\n"


@cache
def _standard_names() -> frozenset[str]:
    """Return the names of all attributes that come with slapd, in small letters."""
    built_in = {"objectclass", "userpassword", "cn", "name", "uid", "dc", "labeleduri", "seealso"}
    built_in.add("description")
    texts = [(_SCHEMAS / f"{name}.schema").read_text() for name in _INCLUDED]
    found = _NAME.findall("\n".join(texts))
    names = {name for one, more in found for name in (one, *re.findall(r"'([^']+)'", more)) if name}
    return frozenset(name.lower() for name in names | built_in)
