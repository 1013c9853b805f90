"""class MariaDatabase: a mail server's databases, read over TCP or its socket, never written."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.converters import encoders

from backupng.engine.errors import MailServerError, MailServerRefused, MailServerUnreachable

_NUMBERS: Final = (
    FIELD_TYPE.TINY,
    FIELD_TYPE.SHORT,
    FIELD_TYPE.INT24,
    FIELD_TYPE.LONG,
    FIELD_TYPE.LONGLONG,
)
# Everything else stays the text that the database sends, DATETIME and DECIMAL too.
_CONVERSIONS: Final = {**encoders, **dict.fromkeys(_NUMBERS, int)}
_AT_FIRST: Final = (
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    # Columns come as they are stored: converted, a damaged text would look like a sound one.
    "SET SESSION character_set_results = NULL",
)
_BEGIN: Final = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

# Numbers of errors: mariadb.com/kb/en/mariadb-error-codes
_NO_CONNECTION: Final = 2003
_BROKEN_OFF: Final = 2013
_STRANGE_LOGIN: Final = 2059
_LOST: Final = frozenset(
    {0, 1053, 1152, 1159, 1161, 1184, 1927, 2006, _BROKEN_OFF, 2014, 2055, 4031}
)
_ANSWERS: Final[Sequence[tuple[frozenset[int], type[MailServerError], str, str]]] = (
    (
        frozenset(
            {1040, 1129, 1203, 1205, 1213, 1226, 1317, 1412, 1969, 2002, _NO_CONNECTION, 3024}
        ),
        MailServerUnreachable,
        "does not answer",
        "Check that the mail server's database runs and takes connections there.",
    ),
    (
        frozenset({1045, 1130, 1251, 1275, 1698, 1862, _STRANGE_LOGIN, 4151}),
        MailServerRefused,
        "refuses the login of {user}",
        "Check user and password of the database login.",
    ),
    (
        frozenset({1044, 1142, 1143, 1227, 1370}),
        MailServerRefused,
        "lets {user} read too little",
        "Grant the login SELECT on zimbra.* and on all mboxgroup databases.",
    ),
    (
        frozenset({1049, 1051, 1054, 1146}),
        MailServerError,
        "lacks something",
        "Check that it is the database of this mail server, and whole.",
    ),
)
"""What an error means, in the words of a message, and what helps."""

# What the driver comes to when it is told something that no database says.
_NO_ANSWER: Final = (struct.error, ValueError, LookupError, pymysql.InternalError)


class _ConnectionLost(MailServerUnreachable):
    """The connection is gone; a new one may answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where the database is and who asks: over `socket` if that names one, else over TCP."""

    user: str
    password: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 7306
    socket: str = ""

    @property
    def place(self) -> str:
        """Name the database in a sentence."""
        return self.socket or f"{self.host}:{self.port}"


class MariaDatabase:
    """One connection, made at the first question; implements `rows.Database`.

    Values are int, str or None; bytes where a text column holds what is no text, for the reader to
    call broken. A question outside of a snapshot sees what is committed by then; is the connection
    lost there, it is asked once more over a new one.
    """

    def __init__(
        self, login: Login, *, connect_timeout_s: int = 10, answer_timeout_s: int = 120
    ) -> None:
        self.login = login
        self._timeouts = {
            "connect_timeout": connect_timeout_s,
            "read_timeout": answer_timeout_s,
            "write_timeout": answer_timeout_s,
        }
        self._connection: Any = None
        self._in_snapshot = False

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        # After some errors the driver has closed it itself, and refuses to do so again.
        if connection is not None and connection.open:
            connection.close()

    def table(self, schema: str, name: str) -> str:
        """Spell a table's name."""
        return f"`{schema}`.`{name}`"

    def rows(self, sql: str, *parameters: Any) -> Iterator[dict[str, Any]]:
        """Run a query; yield its rows, all of them fetched before the first.

        Whoever reads may ask something else in between, and take all the time: no open result keeps
        the server waiting. Raises MailServerUnreachable, transient; MailServerRefused for a wrong
        password or a missing right, MailServerError for a missing table.
        """
        names, found = self._ask(sql.replace("%", "%%").replace("?", "%s"), parameters)
        found.reverse()
        while found:
            yield dict(zip(names, map(_value, found.pop()), strict=True))

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all queries inside see one moment; one within another sees the outer one's.

        A connection lost inside stays lost: no question there sees another moment.
        """
        if self._in_snapshot:
            yield
            return
        self._ask(_BEGIN, ())
        self._in_snapshot = True
        try:
            yield
        finally:
            self._end_snapshot()

    def _end_snapshot(self) -> None:
        self._in_snapshot = False
        try:
            if self._connection is not None:
                self._connection.rollback()
        except (pymysql.Error, OSError):
            # With its connection the transaction ends too.
            self.close()

    def _ask(self, query: str, parameters: tuple[Any, ...]) -> tuple[list[str], list[Any]]:
        fresh = self._connection is None
        try:
            return self._run(query, parameters)
        except _ConnectionLost:
            if fresh:
                raise
        return self._run(query, parameters)

    def _run(self, query: str, parameters: tuple[Any, ...]) -> tuple[list[str], list[Any]]:
        if self._connection is None:
            if self._in_snapshot:
                raise self._lost()
            self._connection = self._connect()
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(query, parameters)
                names = [column[0] for column in cursor.description or ()]
                return names, list(cursor.fetchall())
        except (pymysql.Error, OSError) as error:
            translated = self._translated(error)
            if isinstance(translated, _ConnectionLost) or not self._connection.open:
                self.close()
            raise translated from error

    def _connect(self) -> Any:
        login = self.login
        connection = pymysql.connect(
            **self._timeouts,
            host=login.host,
            port=login.port,
            user=login.user,
            # As text the driver would take it for Latin-1.
            password=login.password.encode(),
            charset="utf8mb4",
            autocommit=True,
            use_unicode=False,
            conv=_CONVERSIONS,
            ssl_disabled=bool(login.socket),
            defer_connect=True,
        )
        try:
            connection.connect(self._open_socket() if login.socket else None)
            with connection.cursor() as cursor:
                for statement in _AT_FIRST:
                    cursor.execute(statement)
        except _NO_ANSWER as error:
            raise MailServerError(
                f"What answers at {self._place} is no MariaDB.",
                hint="Check host and port of the database: mysql_port in localconfig.xml.",
            ) from error
        except (pymysql.Error, OSError, RuntimeError) as error:
            raise self._translated(error, connecting=True) from error
        return connection

    def _open_socket(self) -> socket.socket:
        """Connect to the database's socket: the driver would leave one open that fails."""
        opened = socket.socket(socket.AF_UNIX)
        opened.settimeout(self._timeouts["connect_timeout"])
        try:
            opened.connect(self.login.socket)
        except BaseException:
            opened.close()
            raise
        return opened

    @property
    def _place(self) -> str:
        return self.login.place

    def _lost(self) -> _ConnectionLost:
        return _ConnectionLost(f"The connection to the database at {self._place} is lost.")

    def _translated(self, error: Exception, *, connecting: bool = False) -> MailServerError:
        number = error.args[0] if error.args and isinstance(error.args[0], int) else None
        if isinstance(error, OSError):
            number = _NO_CONNECTION if connecting else _BROKEN_OFF
        elif number is None:
            # Without a number it is the driver that speaks, of a way to log in it does not know.
            number = _STRANGE_LOGIN if connecting else _BROKEN_OFF
        if number in _LOST:
            return self._lost()
        text = _text(error)
        for numbers, kind, words, hint in _ANSWERS:
            if number in numbers:
                words = words.format(user=self.login.user)
                return kind(f"The database at {self._place} {words}: {text}.", hint=hint)
        return MailServerError(f"The database at {self._place} refuses a question: {text}.")


def _value(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _text(error: Exception) -> str:
    """Return the server's own words, of a failed connection those of the system."""
    cause = getattr(error, "original_exception", error)
    if isinstance(cause, OSError):
        return cause.strerror or str(cause)
    return str(cause.args[-1] if cause.args else cause).rstrip(".")
