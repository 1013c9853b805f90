"""One SQLite file in the place of MariaDB."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from backupng.engine.errors import InvalidItem, MailServerUnreachable
from backupng.engine.mailserver.sandbox import schema
from backupng.engine.mailserver.zimbra.codes import folded, three_bytes

_TAKEN: Final = frozenset({sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY})
_STATEMENTS: Final = 48
"""Those that ask for many items at once are large, and seldom ask for as many once more."""
_UNBINDABLE: Final = (sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError)


class SqliteDatabase:
    """A connection to a sandbox's database; implements `rows.Database`.

    Every method raises MailServerUnreachable when the file does not answer, and InvalidItem for a
    value that no database could hold.
    """

    def __init__(self, file: Path, *, create: bool = False) -> None:
        mode = "rwc" if create else "rw"
        try:
            self._db = sqlite3.connect(
                f"{file.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=30,
                isolation_level=None,
                cached_statements=_STATEMENTS,
            )
        except sqlite3.Error as error:
            raise MailServerUnreachable(f"The sandbox database {file} cannot be opened.") from error
        self._db.row_factory = _as_dict
        self._db.create_collation("UTF8_GENERAL_CI", _compare)
        try:
            self._execute("PRAGMA journal_mode=WAL")
            self._execute("PRAGMA synchronous=FULL")
            if create:
                with self.transaction():
                    self._create("zimbra", schema.ZIMBRA_TABLES)
                    self._create(schema.DIRECTORY, schema.DIRECTORY_TABLES)
                    self._create(schema.SANDBOX, schema.SANDBOX_TABLES)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def table(self, schema_name: str, name: str) -> str:
        """Spell a table's name: one file holds all schemas."""
        return f'"{schema_name}__{name}"'

    def rows(self, sql: str, *parameters: Any) -> Iterator[dict[str, Any]]:
        """Run a query; yield its rows."""
        found = self._execute(sql, *parameters)
        try:
            yield from found
        except sqlite3.Error as error:
            raise MailServerUnreachable(f"The sandbox database does not answer: {error}") from error

    def one(self, sql: str, *parameters: Any) -> dict[str, Any] | None:
        """Return the first row of a query, or None."""
        return next(self.rows(sql, *parameters), None)

    def run(self, sql: str, *parameters: Any) -> None:
        """Run a statement. Raises InvalidItem when a key or value is refused."""
        self._execute(sql, *parameters)

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        """Insert a row; `table` as spelled by `table`."""
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        values = (three_bytes(value) for value in row.values())
        self.run(f"INSERT INTO {table} ({columns}) VALUES ({marks})", *values)

    def update(self, table: str, values: Mapping[str, Any], **key: Any) -> None:
        """Change the row with this key; without values nothing changes."""
        if not values:
            return
        columns = ", ".join(f"{name} = ?" for name in values)
        where = " AND ".join(f"{name} = ?" for name in key)
        changed = (three_bytes(value) for value in values.values())
        self.run(f"UPDATE {table} SET {columns} WHERE {where}", *changed, *key.values())

    def columns(self, table: str) -> frozenset[str]:
        """Return the column names of a table; empty if there is none of that name."""
        name = table.strip('"')
        return frozenset(row["name"] for row in self.rows(f'PRAGMA table_info("{name}")'))

    def ensure_group(self, group_id: int) -> None:
        """Make the tables of `mboxgroup<n>` if they are not there yet."""
        name = f"mboxgroup{group_id}"
        if not self.columns(self.table(name, "mail_item")):
            self._create(name, schema.GROUP_TABLES)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all queries inside see one moment."""
        self._execute("BEGIN")
        try:
            yield
        finally:
            self._roll_back()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write everything inside as one transaction, or nothing."""
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        finally:
            self._roll_back()

    def _create(self, schema_name: str, tables: Mapping[str, str]) -> None:
        for statement in schema.create_statements(schema_name, tables):
            self._execute(statement)

    def _roll_back(self) -> None:
        """Undo what is not committed; after some errors SQLite has done so itself."""
        if self._db.in_transaction:
            self._execute("ROLLBACK")

    def _execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        try:
            return self._db.execute(sql, parameters)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode in _TAKEN:
                message = "Something of that name or id is there already."
                raise InvalidItem(message, code="already_exists") from error
            raise InvalidItem(f"A value is refused: {error}.", code="bad_value") from error
        except (*_UNBINDABLE, OverflowError, UnicodeError) as error:
            raise InvalidItem(f"No database can hold this: {error}.", code="bad_value") from error
        except sqlite3.Error as error:
            raise MailServerUnreachable(f"The sandbox database does not answer: {error}") from error


def _compare(left: str, right: str) -> int:
    first, second = folded(left), folded(right)
    return (first > second) - (first < second)


def _as_dict(cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, values, strict=True)}
