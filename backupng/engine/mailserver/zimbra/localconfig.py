"""`localconfig.xml`: what a mail server's installation says of its database and directory.

    <localconfig>
      <key name="mysql_port"><value>7306</value></key>
    </localconfig>

A value may name others as `${key}`; keys that are not in the file have defaults. Zimbra/zm-mailbox
`common/src/java/com/zimbra/common/localconfig/LocalConfig.java` and `LC.java`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final
from xml.parsers import expat

from backupng.engine.errors import MailServerError

ZIMBRA_HOME: Final = Path("/opt/zimbra")
CARBONIO_HOME: Final = Path("/opt/zextras")

_DEFAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ldap_master_url": "",
        "ldap_starttls_required": "true",
        "ldap_starttls_supported": "0",
        "ldap_url": "",
        "mysql_bind_address": "127.0.0.1",
        "mysql_port": "7306",
        "mysql_socket": "${zimbra_home}/data/tmp/mysql/mysql.sock",
        "zimbra_ldap_userdn": "uid=zimbra,cn=admins,cn=zimbra",
        "zimbra_mailbox_groups": "100",
        "zimbra_relative_volume_path": "false",
        "zimbra_require_interprocess_security": "1",
        "zimbra_server_hostname": "localhost",
    }
)
_OF_PRODUCT: Final[Mapping[Path, Mapping[str, str]]] = MappingProxyType(
    {
        ZIMBRA_HOME: {"zimbra_user": "zimbra", "zimbra_mysql_user": "zimbra"},
        CARBONIO_HOME: {"zimbra_user": "zextras", "zimbra_mysql_user": "zextras"},
    }
)
_MAX_BYTES: Final = 1024 * 1024
_MAX_VALUE: Final = 64 * 1024
_REFERENCE: Final = re.compile(r"\$\{([^{}$]+)\}")
_TRUE: Final = frozenset({"true", "1", "yes"})
_PLACES: Final = (
    f"On Zimbra it is {ZIMBRA_HOME}/conf/localconfig.xml,"
    f" on Carbonio {CARBONIO_HOME}/conf/localconfig.xml."
)


class LocalConfig:
    """The settings in one `localconfig.xml`, passwords among them: values are in no message."""

    def __init__(self, path: Path, values: Mapping[str, str]) -> None:
        self.path = path
        root = path.parent.parent
        product = CARBONIO_HOME if root.name == CARBONIO_HOME.name else ZIMBRA_HOME
        place = root if path.parent.name == "conf" and root.is_absolute() else product
        self._values = {
            **_DEFAULTS,
            **_OF_PRODUCT[product],
            "zimbra_home": str(place),
            **values,
        }
        self._settled: dict[str, str] = {}

    @classmethod
    def read(cls, path: Path) -> LocalConfig:
        """Read the file. Raises MailServerError if it is missing, unreadable or something else."""
        text = _read(path)
        parser = _Parser()
        try:
            parser.parse(text)
        except (expat.ExpatError, LookupError, ValueError) as error:
            raise MailServerError(
                f"{path} is no localconfig.xml: {error}.", hint=_PLACES
            ) from error
        return cls(path, parser.values)

    def __repr__(self) -> str:
        return f"LocalConfig({str(self.path)!r})"

    def __contains__(self, key: str) -> bool:
        """Say whether the key has a value that is not empty."""
        return bool(self._values.get(key))

    def value(self, key: str) -> str:
        """Return a key's value. Raises MailServerError if it has none or it does not resolve."""
        if key not in self:
            raise MailServerError(
                f"{self.path} lacks the key {key}.",
                hint=f"As the mail server's user: zmlocalconfig {key} shows what it has.",
            )
        return self._resolve(key, ())

    def number(self, key: str, *, highest: int) -> int:
        """Return a value between 1 and `highest`. Raises MailServerError."""
        text = self.value(key).strip()
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        if not 1 <= number <= highest:
            raise self._bad(key, f"is no number from 1 to {highest}")
        return number

    def flag(self, key: str) -> bool:
        """Say whether a value means yes."""
        return self.value(key).strip().lower() in _TRUE

    @property
    def home(self) -> Path:
        """The install root."""
        home = Path(self.value("zimbra_home"))
        if not home.is_absolute():
            raise self._bad("zimbra_home", "is no absolute path")
        return home

    def _resolve(self, key: str, within: tuple[str, ...]) -> str:
        # What a value refers to is not named in an error: it may be a piece of a password.
        if key not in self._settled:
            if key in within:
                raise self._bad(within[0], "refers to itself")
            if key not in self._values:
                raise self._bad(within[0], "refers to a key that is not there")
            seen = (*within, key)
            found = _REFERENCE.sub(lambda match: self._resolve(match[1], seen), self._values[key])
            if len(found) > _MAX_VALUE:
                raise self._bad(seen[0], "is longer than any setting")
            self._settled[key] = found
        return self._settled[key]

    def _bad(self, key: str, why: str) -> MailServerError:
        return MailServerError(f"In {self.path} the value of {key} {why}.")


class _Parser:
    """Collects the keys; anything that could make the file grow or reach out is refused."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self._path: list[str] = []
        self._name: str | None = None
        self._text: list[str] = []
        self._expat = expat.ParserCreate()
        self._expat.StartDoctypeDeclHandler = self._refuse
        self._expat.StartElementHandler = self._start
        self._expat.CharacterDataHandler = self._add
        self._expat.EndElementHandler = self._end

    def parse(self, text: bytes) -> None:
        self._expat.Parse(text, True)  # noqa: FBT003 - takes no keyword

    def _refuse(self, *_: object) -> None:
        raise ValueError("it declares a document type")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._path.append(tag)
        if self._path[0] != "localconfig":
            raise ValueError("its root is not localconfig")
        if self._path == ["localconfig", "key"]:
            self._name = attributes.get("name")
        self._text.clear()

    def _add(self, text: str) -> None:
        self._text.append(text)

    def _end(self, _tag: str) -> None:
        if self._path == ["localconfig", "key", "value"] and self._name:
            self.values[self._name] = "".join(self._text)
        self._path.pop()


def _read(path: Path) -> bytes:
    # Nothing at that place may make us wait for the other end of a pipe.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        with open(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise MailServerError(f"{path} is no file.", hint=_PLACES)
            text = file.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise MailServerError(f"There is no {path}.", hint=_PLACES) from error
    except PermissionError as error:
        raise MailServerError(
            f"{path} may not be read.",
            hint="Only the mail server's own user may: run Backup NG as zimbra or zextras.",
        ) from error
    except IsADirectoryError as error:
        raise MailServerError(f"{path} is a folder, not a file.", hint=_PLACES) from error
    except OSError as error:
        raise MailServerError(f"{path} cannot be read: {error.strerror}.", hint=_PLACES) from error
    except ValueError as error:
        raise MailServerError(f"{str(path)!r} can be no file's name.", hint=_PLACES) from error
    if len(text) > _MAX_BYTES:
        raise MailServerError(f"{path} is no localconfig.xml: it is too long.", hint=_PLACES)
    return text
