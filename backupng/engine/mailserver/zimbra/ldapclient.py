"""Searches in a directory server: paged, raw values, lost connections made anew.

The one module that imports ldap3; an other client would change nothing but this.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import ldap3
from ldap3.core import exceptions as ldap_errors
from ldap3.utils.conv import escape_filter_chars

from backupng.engine.errors import MailServerError, MailServerRefused, MailServerUnreachable

_PAGE: Final = 1000
_CONNECT_S: Final = 10
_ANSWER_S: Final = 60
_PAGED_RESULTS: Final = "1.2.840.113556.1.4.319"
_MANAGE_DSA_IT: Final = ("2.16.840.1.113730.3.4.2", False, None)
"""Asks for entries as they are stored: without it slapd adds the members of dynamic groups."""

_LOST = (ldap_errors.LDAPCommunicationError, ldap_errors.LDAPResponseTimeoutError, OSError)
_LATER = (
    ldap_errors.LDAPBusyResult,
    ldap_errors.LDAPUnavailableResult,
    ldap_errors.LDAPTimeLimitExceededResult,
    ldap_errors.LDAPUnwillingToPerformResult,
)
_LIMITS = (
    ldap_errors.LDAPSizeLimitExceededResult,
    ldap_errors.LDAPAdminLimitExceededResult,
)
_NO_TLS = (ldap_errors.LDAPStartTLSError, ldap_errors.LDAPProtocolErrorResult)
_DENIED = (
    ldap_errors.LDAPInvalidCredentialsResult,
    ldap_errors.LDAPInsufficientAccessRightsResult,
    ldap_errors.LDAPNoSuchObjectResult,
    ldap_errors.LDAPInvalidDNSyntaxResult,
    ldap_errors.LDAPInappropriateAuthenticationResult,
    ldap_errors.LDAPConfidentialityRequiredResult,
    ldap_errors.LDAPStrongerAuthRequiredResult,
    ldap_errors.LDAPPasswordIsMandatoryError,
)
GRANT: Final = (
    "Take zimbra_ldap_userdn and zimbra_ldap_password of localconfig.xml: zmlocalconfig -s"
    " zimbra_ldap_password shows whether it is still the right one."
)

escape: Final = escape_filter_chars
"""Spells a text as a value in a filter."""


class Scope(StrEnum):
    """How far below its base a search goes."""

    BASE = ldap3.BASE
    ONE = ldap3.LEVEL
    ALL = ldap3.SUBTREE


@dataclass(frozen=True, slots=True)
class Found:
    """An entry as the directory gave it: values raw, in the server's order."""

    dn: str
    attributes: Mapping[str, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is asked for: `attributes` are the names wanted, `*` all that are not operational."""

    base: str = ""
    scope: Scope = Scope.ALL
    condition: str
    attributes: Sequence[str] = ("*",)
    page: int = _PAGE


@dataclass(slots=True, kw_only=True)
class LdapClient:
    """Binds and searches; `urls` are tried in their order.

    Connections are opened at need. Each search has one of its own while it runs: slapd keeps one
    place in one paged search for each. Whom `ca_file` signed is trusted, and whom the system does.
    """

    urls: Sequence[str]
    bind_dn: str
    password: str = field(repr=False)
    starttls: bool = False
    ca_file: Path | None = None
    _idle: list[Any] = field(default_factory=list, repr=False)

    @property
    def where(self) -> str:
        """The directory in the words of a message."""
        return f"The directory {' '.join(self.urls)}"

    def close(self) -> None:
        """Close all connections that no search is using."""
        while self._idle:
            _drop(self._idle.pop())

    def search(self, wanted: Search) -> Iterator[Found]:
        """Yield what is found; nothing where the base is not there.

        Raises MailServerUnreachable when the directory cannot be reached or is lost on the way,
        MailServerRefused when it lets us in or look no further.
        """
        connection, fresh, cookie = *self._take(), b""
        try:
            while True:
                try:
                    page, cookie = _page(connection, wanted, cookie)
                except _LOST:
                    # An idle connection may have been closed by the other side long ago.
                    if fresh:
                        raise
                    _drop(connection)
                    connection, fresh = self._open(), True
                    continue
                fresh = True
                yield from page
                if not cookie:
                    break
        except ldap_errors.LDAPNoSuchObjectResult:
            pass
        except (ldap_errors.LDAPExceptionError, OSError) as error:
            _drop(connection)
            raise self._translated(error) from error
        except BaseException:
            _drop(connection)
            raise
        self._idle.append(connection)

    def _take(self) -> tuple[Any, bool]:
        return (self._idle.pop(), False) if self._idle else (self._open(), True)

    def _open(self) -> Any:
        """Connect to the first server that answers, and bind."""
        failure: MailServerError = self._unreachable()
        cause: BaseException | None = None
        for url in self.urls:
            try:
                return self._bound(url)
            except _DENIED as error:
                # Not tried elsewhere: a wrong password may lock a login.
                raise MailServerRefused(
                    f"{self.where} refuses the login {self.bind_dn}.", hint=GRANT
                ) from error
            except (ldap_errors.LDAPExceptionError, OSError) as error:
                if cause is None:
                    failure, cause = self._translated(error), error
        raise failure from cause

    def _bound(self, url: str) -> Any:
        connection = ldap3.Connection(
            self._server(url),
            user=self.bind_dn,
            password=self.password,
            authentication=ldap3.SIMPLE,
            check_names=False,
            raise_exceptions=True,
            read_only=True,
            receive_timeout=_ANSWER_S,
        )
        try:
            if self._upgrades(url):
                connection.start_tls()
            connection.bind()
        except BaseException:
            _drop(connection)
            raise
        return connection

    def _upgrades(self, url: str) -> bool:
        return self.starttls and url.lower().startswith("ldap:")

    def _server(self, url: str) -> Any:
        encrypts = self._upgrades(url) or url.lower().startswith("ldaps:")
        try:
            trust = _Trust(self.ca_file) if encrypts else None
        except OSError as error:
            raise self._distrusted() from error
        try:
            return ldap3.Server(
                url,
                tls=trust,
                get_info=ldap3.NONE,
                connect_timeout=_CONNECT_S,
                # A first address that refuses leaves a socket behind, and slapd listens on IPv4.
                mode=ldap3.IP_V4_PREFERRED,
            )
        except ldap_errors.LDAPExceptionError as error:
            raise MailServerError(f"{url!r} is no URL of a directory.") from error

    def _translated(self, error: BaseException) -> MailServerError:
        if isinstance(error, _NO_TLS) or _is_about_trust(error):
            return self._distrusted()
        if isinstance(error, (*_LOST, *_LATER)):
            return self._unreachable()
        if isinstance(error, _LIMITS):
            return MailServerRefused(
                f"{self.where} gives only a part of its entries to {self.bind_dn}.",
                hint="Bind as zimbra_ldap_userdn, or lift the limits of that login in slapd.",
            )
        if isinstance(error, _DENIED):
            return MailServerRefused(
                f"{self.where} lets {self.bind_dn} read too little.", hint=GRANT
            )
        return MailServerError(f"{self.where} answers with an error: {error}.")

    def _unreachable(self) -> MailServerUnreachable:
        return MailServerUnreachable(
            f"{self.where} does not answer.",
            hint="See whether it runs (ldap status, or zmcontrol status), and ldap_url in"
            " localconfig.xml.",
        )

    def _distrusted(self) -> MailServerRefused:
        trusted = f"{self.ca_file} must be there and" if self.ca_file else "The system must"
        return MailServerRefused(
            f"{self.where} offers no encrypted connection that can be trusted.",
            hint=f"{trusted} hold the authority that signed the directory's certificate, whose"
            " name must be the one in the URL.",
        )


class _Trust(ldap3.Tls):  # type: ignore[misc]  # ships no types
    """Encrypts a connection as Python does it: certificate and name are checked in the handshake.

    ldap3 itself compares names by a function that Python 3.12 no longer has.
    """

    def __init__(self, ca_file: Path | None) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = ssl.create_default_context(cafile=ca_file)
        if ca_file:
            self._context.load_default_certs()

    # The name of the second argument is ldap3's.
    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # noqa: FBT001, FBT002
        """Put the encrypted socket in the place of the plain one."""
        host = connection.server.host
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=host)


def _page(connection: Any, wanted: Search, cookie: bytes) -> tuple[list[Found], bytes]:
    """Ask for the next page; return it and the cookie of the one after it, empty at the end."""
    connection.search(
        wanted.base,
        wanted.condition,
        search_scope=wanted.scope.value,
        attributes=list(wanted.attributes),
        paged_size=wanted.page,
        paged_cookie=cookie or None,
        controls=[_MANAGE_DSA_IT],
    )
    found = [
        Found(
            each["dn"],
            {name: tuple(values) for name, values in each["raw_attributes"].items() if values},
        )
        for each in connection.response
        if each["type"] == "searchResEntry"
    ]
    control = connection.result.get("controls", {}).get(_PAGED_RESULTS)
    return found, control["value"]["cookie"] if control else b""


def _drop(connection: Any) -> None:
    with suppress(ldap_errors.LDAPExceptionError, OSError):
        connection.unbind()
    # After some failures ldap3 forgets it open.
    if connection.socket is not None:
        connection.socket.close()


def _is_about_trust(error: BaseException) -> bool:
    """Say whether a connection was not made for its certificate: ldap3 keeps only the words."""
    text = str(error).lower()
    return isinstance(error, _LOST) and ("ssl" in text or "certificate" in text)
