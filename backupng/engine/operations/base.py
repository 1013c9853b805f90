"""What every command is: a frozen dataclass of its parameters, one `check` and one `run`.

A field without a default is mandatory and typed by position, one with a default is optional and
typed as `name value`. The type of a field is a key of `words.WORDS`: grammar, help page, queue row,
wizard and mail are all derived from these dataclasses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol, get_type_hints

from backupng.engine.backuppath.blobs import Packer
from backupng.engine.backuppath.disk import Room
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.errors import BackupError, BadRequest, DamagedBackup, ItemError, LostBlob
from backupng.engine.mailserver.port import Destination, Source
from backupng.engine.model import ItemId


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The properties of one server that the engine acts on, resolved by the console."""

    zone: str = "UTC"
    packer: Packer = field(default_factory=Packer)
    skip_lists: bool = False
    space_threshold_mb: int = 2048
    retention_days: int = 30
    accounts_retention_days: int = 30
    """How long deleted items, and deleted accounts, are kept; 0: for ever."""
    backup_customizations: bool = True
    purge_customizations: bool = True
    """Whether archives of the configuration folders are made, and old ones removed."""
    allowed_paths: tuple[Path, ...] = ()
    """Below these lie the folders that may be typed in the console; empty: the usual ones."""
    closed_paths: tuple[Path, ...] = ()
    """The folders of the mail store and of the program itself: no place for a backup."""

    @property
    def least_free_bytes(self) -> int:
        """With less free space than that on the Backup Path nothing more is stored."""
        return self.space_threshold_mb << 20


class Level(StrEnum):
    """How much an entry of a log asks for attention."""

    INFO = "INFO"
    WARNING = "WARNING"


class Context(Protocol):
    """What an operation may use: the mail server, its Backup Path, the clock, a way to report."""

    @property
    def now(self) -> datetime:
        """The moment, aware, UTC."""

    @property
    def settings(self) -> Settings:
        """The server's properties."""

    @property
    def source(self) -> Source:
        """The mail server, read."""

    @property
    def destination(self) -> Destination:
        """The mail server, written."""

    @property
    def backup_path(self) -> Path:
        """Where the server's Backup Path lies, or is to lie."""

    @property
    def path(self) -> BackupPath:
        """The server's Backup Path, opened. Raises BadRequest or BackupPathError."""

    @property
    def catalog(self) -> Catalog:
        """The index of `path`: it answers what would take long to read there."""

    def check_owned_path(self) -> Room:
        """Refuse what `owned_path` and writing there would refuse; returns what is free there.

        Changes nothing.
        """

    def owned_path(self) -> BackupPath:
        """Return the server's Backup Path for a scan: made if its folder is empty."""

    def another(self) -> AbstractContextManager[tuple[Source, BackupPath]]:
        """Open mail server and Backup Path once more, for a process of its own."""

    def twin(self) -> AbstractContextManager[Context]:
        """Open all of it once more, for a process of its own; nobody hears what it reports."""

    def announce_phase1(self, said: Mapping[str, Any]) -> None:
        """Tell what phase 1 of an import came to, in values of JSON: it is mailed once."""

    def tick(
        self, done: int, total: int, *, phase: str, counts: Mapping[str, int] | None = None
    ) -> None:
        """Report progress. Raises Stopped when an admin has asked for the end.

        `counts` are the report's counters so far: `restored`, `skipped`, `unrestored` of a restore,
        those of a scan by their names.
        """

    def log(self, line: str, *, level: Level = Level.INFO) -> None:
        """Add an entry to the operation's log."""


@dataclass(slots=True)
class Report:
    """What an operation did, in numbers and lists.

    `counters` keep their order; `unrestored` maps account name to (item id, cause); `notes` are
    sentences for the admin, `warnings` those that ask for a look. Losses are anything listed in
    `unrestored` or `unreadable`; `incomplete` says that more than items is missing: accounts,
    domains, lists.
    """

    counters: dict[str, int] = field(default_factory=dict)
    unrestored: dict[str, list[tuple[ItemId, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    unreadable: dict[str, list[tuple[ItemId, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    suspected: dict[str, list[ItemId]] = field(default_factory=lambda: defaultdict(list))
    """Items whose backup was found damaged, by account: a Coherency Check is due."""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    incomplete: bool = False

    def suspect(self, account: str, failures: Iterable[tuple[ItemId, ItemError]]) -> None:
        """Take in what of these failures is a damage of the Backup Path."""
        found = [item for item, error in failures if isinstance(error, DamagedBackup | LostBlob)]
        if found:
            self.suspected[account] += sorted(found)

    def count(self, name: str, more: int = 1) -> None:
        """Add to a counter."""
        self.counters[name] = self.counters.get(name, 0) + more

    @property
    def losses(self) -> bool:
        """True when something that should have been saved or restored was not."""
        return bool(self.unrestored or self.unreadable or self.incomplete)

    def as_json(self) -> dict[str, Any]:
        """Return the report as the end event and the queue row carry it."""
        return {
            "losses": self.losses,
            "counters": dict.fromkeys(ALWAYS_COUNTED, 0) | self.counters,
            "unrestored": {name: list(items) for name, items in self.unrestored.items()},
            "unreadable": {name: list(items) for name, items in self.unreadable.items()},
            "suspected": {name: list(items) for name, items in self.suspected.items()},
            "notes": self.notes,
            "warnings": self.warnings,
        }


ALWAYS_COUNTED = (
    "planned",
    "restored",
    "skipped",
    "unrestored",
    "accounts_scanned",
    "items_new",
    "items_updated",
    "items_deleted",
    "read_errors",
)
"""Counters that every operation's answer carries, zero where they mean nothing to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a command as grammar and help page see it."""

    name: str
    type: Any
    values: str
    default: str
    mandatory: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of the command line: its parameters are its fields.

    `command` is its name, `title` its name in words, `summary` the first line of its help page,
    `examples` are whole lines as an admin types them. Parameters are typed by their `aliases`;
    `other_names` are understood, too. `may_stand_first` is the optional parameter whose value may
    be typed without its name, before the other optional ones.
    """

    command: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    examples: ClassVar[tuple[str, ...]]
    aliases: ClassVar[Mapping[str, str]] = {}
    other_names: ClassVar[Mapping[str, str]] = {}
    may_stand_first: ClassVar[str] = ""

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """Return the parameters in order, mandatory ones first."""
        types = get_type_hints(cls)
        found = (
            Parameter(
                name=each.name,
                type=types[each.name],
                values=each.metadata.get("values", ""),
                default=each.metadata.get("default", _shown(each.default)),
                mandatory=each.default is MISSING and each.default_factory is MISSING,
            )
            for each in fields(cls)
        )
        return tuple(sorted(found, key=lambda each: not each.mandatory))


def _shown(default: object) -> str:
    """Spell a default for the help page; empty lists and absent values stay empty."""
    if default is MISSING or default in (None, "", ()):
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Command):
    """Work that is queued, one at a time per server, in a process of its own.

    `after_interruption` tells an admin what to do when it was cut off.
    """

    after_interruption: ClassVar[str] = "Run it again: what is done already is not done twice."

    def check(self, ctx: Context) -> None:
        """Refuse what cannot be met, before anything is queued. Raises BadRequest."""

    def source_name(self, _ctx: Context) -> str:
        """Return what the account is called that a parameter gives by its id; empty without one.

        Called after `check`.
        """
        return ""

    def run(self, ctx: Context) -> Report:
        """Do it. Called after `check`; raises OperationError when it cannot go on."""
        raise NotImplementedError


def open_named(root: Path) -> BackupPath:
    """Open a tree that a parameter names, refused in words that fit. Raises what `open` raises."""
    try:
        return BackupPath.open(root)
    except BackupError as error:
        if error.code in _NOT_THERE:
            error.hint = "Name the folder of a Backup Path."
        if error.code == "path_missing" and root.exists():
            hint = error.hint
            raise BadRequest(f"{root} is not a folder.", code=error.code, hint=hint) from error
        raise


_NOT_THERE = frozenset({"not_initialized", "path_missing", "path_not_a_backup"})


class IncompleteAnswer(BackupError):
    """A lookup's answer of which a part cannot be had: shown, and the command fails."""

    code = "incomplete"

    def __init__(self, message: str, response: dict[str, Any], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.response = response


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a lookup wants written to a file that one of its parameters names."""

    file: Path
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup(Command):
    """A question answered at once, never queued."""

    def answer(self, ctx: Context) -> dict[str, Any]:
        """Return the `response` of the JSON envelope. Raises IncompleteAnswer.

        A list in it that may be long is a Spool.
        """
        raise NotImplementedError

    def document(self, response: Mapping[str, Any]) -> Document | None:
        """Return the file to write with this answer; None where none was asked for."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPathLookup(Lookup):
    """A question to a Backup Path: the server's own, or that of `backup_path`."""

    backup_path: Path | None = field(default=None, metadata={"default": "the active Backup Path"})

    def answer(self, ctx: Context) -> dict[str, Any]:
        """Open the Backup Path and look."""
        if self.backup_path is None:
            return self.look(ctx.path, ctx)
        with open_named(self.backup_path) as path:
            return self.look(path, ctx)

    @contextmanager
    def catalog(self, path: BackupPath, ctx: Context) -> Iterator[Catalog]:
        """Return the catalog of what is looked at; a copy elsewhere has none, and needs none."""
        if self.backup_path is None:
            yield ctx.catalog
            return
        with Catalog(path) as temporary:
            yield temporary

    def look(self, path: BackupPath, ctx: Context) -> dict[str, Any]:
        """Return the `response` of the JSON envelope. Raises IncompleteAnswer."""
        raise NotImplementedError
