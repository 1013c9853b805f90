"""The course of an External Restore: its phases, one after the other, and what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.mapfile import IdMap
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BackupError, BackupPathBroken, ItemError, MailServerRefused
from backupng.engine.mailserver.port import Destination
from backupng.engine.model import AccountId, EntryKind, ItemId
from backupng.engine.operations import tether
from backupng.engine.operations.base import Context, Level
from backupng.engine.restore.importing.choice import Choice
from backupng.engine.restore.importing.left import Only
from backupng.engine.restore.importing.maps import Maps
from backupng.engine.restore.importing.phase1 import (
    FAILED,
    Failure,
    Options,
    Phase1,
    Phase1Result,
    Placed,
)
from backupng.engine.restore.importing.phase2 import (
    Amount,
    Counts,
    Imported,
    ItemsImport,
    amount_of,
    ids_of,
)
from backupng.engine.restore.importing.phase3 import Phase3
from backupng.engine.restore.importing.rehearsal import Rehearsal
from backupng.engine.restore.importing.shares import Shares, SharesResult, folders_there
from backupng.engine.scan.crew import Crew, Done, Tell, Work

ROLE: Final = "import"
READING: Final = "reading the backup"
PHASE_1: Final = "phase 1: domains, classes of service, lists, accounts"
PHASE_2: Final = "phase 2: items"
PHASE_3: Final = "phase 3: mountpoints and data sources"
KINDS: Final = (EntryKind.DOMAIN, EntryKind.COS, EntryKind.LIST, EntryKind.ACCOUNT)
NOT_HERE: Final = "the account does not exist here"
LEFT: Final = "the account could not be imported"
_WHY: Final[Mapping[type[BackupError], str]] = {
    BackupPathBroken: "its map is damaged",
    MailServerRefused: "refused by the mail server",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How an import goes, beside what is chosen and how entries are made.

    A `dry` one goes the same way, but only remembers. A retry brings nothing but what is `left`.
    """

    concurrent: int = 1
    largest_bytes: int | None = None
    with_data_sources: bool = True
    at_home: bool = False
    dry: bool = False
    left: Mapping[AccountId, Only] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What all phases came to; `accounts` are by name at the source."""

    expected: dict[AccountId, Amount] = field(default_factory=dict)
    phase1: Phase1Result = field(default_factory=Phase1Result)
    accounts: dict[str, Imported] = field(default_factory=dict)
    shares: SharesResult = field(default_factory=SharesResult)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)


class Import:
    """One External Restore from an opened source into the context's mail server."""

    def __init__(
        self, ctx: Context, path: BackupPath, choice: Choice, options: Options, course: Course
    ) -> None:
        self._ctx, self._path, self._choice = ctx, path, choice
        self._options, self._course = options, course
        self._destination: Destination = ctx.destination
        if course.dry:
            self._destination = Rehearsal(ctx.destination, ctx.source)
        self.outcome = Outcome()
        self._done: Counter[str] = Counter()
        self._now: dict[int, Counts] = {}
        """What became of the accounts that are done, and of those that are being restored."""

    @property
    def zone(self) -> ZoneInfo:
        """The zone that moments are told in."""
        return ZoneInfo(self._ctx.settings.zone)

    def expect(self) -> None:
        """Count what is to be restored, before anything is written."""
        accounts = self._choice.accounts
        for number, account in enumerate(accounts):
            self._ctx.tick(number, len(accounts), phase=READING)
            account_id = AccountId(account.entry_id)
            try:
                amount = amount_of(self._path, account_id, self._course.left.get(account_id))
                self.outcome.expected[account_id] = amount
            except ItemError as error:
                self._ctx.log(f"{account.name}: {error}", level=Level.WARNING)

    @contextmanager
    def mapped(self) -> Iterator[IdMap]:
        """Open this server's own Backup Path to note where things go; a dry run only reads it."""
        server_id = self._path.form.server_id
        if self._course.dry:
            with closing(Tree(self._ctx.backup_path)) as self._own:
                yield IdMap(self._own, server_id, dry=True)
            return
        own = self._ctx.owned_path()
        self._own = own.tree
        with own.writer(ROLE):
            yield IdMap(own.tree, server_id)

    def provision(self, id_map: IdMap) -> Phase1:
        """Do phase 1."""
        total, made = len(self._choice.accounts), iter(range(1 << 60))
        phase = Phase1(
            self._destination,
            self._choice,
            self._options,
            known=id_map,
            note=lambda mapped: id_map.note(mapped, self._ctx.now),
            tick=lambda _name: self._ctx.tick(min(next(made), total), total, phase=PHASE_1),
            states_of=partial(self._path.entry_history, EntryKind.ACCOUNT),
        )
        self.outcome.phase1 = phase.run()
        id_map.sync()
        return phase

    # Phase 2

    def restore_items(self, phase: Phase1) -> None:
        """Bring all items, several accounts at once if that is asked for."""
        placed = self.outcome.phase1.accounts
        accounts = self._accounts(placed)
        for job, imported in self._work(placed, accounts):
            name = placed[job].source.name
            self.outcome.accounts[name] = imported
            self._now.pop(job, None)
            self._done.update(_counts(imported))
            for item, error in imported.errors:
                self._ctx.log(f"{name}, item {item}: {error}", level=Level.WARNING)
            self._tell()
        self._note_missing(placed)

    def _take(self, job: int, counts: Counts) -> None:
        self._now[job] = counts
        self._tell()

    def _accounts(self, placed: list[Placed]) -> dict[AccountId, AccountId]:
        return {AccountId(each.source.entry_id): AccountId(each.here.entry_id) for each in placed}

    def _work(
        self, placed: list[Placed], accounts: Mapping[AccountId, AccountId]
    ) -> Iterator[tuple[int, Imported]]:
        """Yield what becomes of each account, by its number."""
        count = min(self._course.concurrent, len(placed))
        if count < 2 or self._course.dry:
            items = self._items(self._ctx, self._path, self._own)
            for job, each in enumerate(placed):
                yield job, _import_one(items, each, accounts, partial(self._take, job))
            return
        begin = partial(self._begin, placed, accounts)
        with Crew(count, begin, tether.die_with_parent) as crew:
            for said in crew.run(range(len(placed)), self._tell):
                if isinstance(said, Done):
                    yield said.job, said.result
                else:
                    self._take(said.job, said.what)

    @contextmanager
    def _begin(
        self, placed: list[Placed], accounts: Mapping[AccountId, AccountId]
    ) -> Iterator[Work]:
        """Open everything once more, in a process of its own."""
        with (
            self._ctx.twin() as ctx,
            BackupPath.open(self._path.tree.root) as path,
            ctx.owned_path().writer(ROLE),
        ):
            items = self._items(ctx, path, ctx.owned_path().tree)

            def work(job: int, tell: Tell) -> Imported:
                return _import_one(items, placed[job], accounts, tell)

            yield work

    def _items(self, ctx: Context, path: BackupPath, own: Tree) -> ItemsImport:
        return ItemsImport(
            path=path,
            own=own,
            destination=self._destination if self._course.dry else ctx.destination,
            source=ctx.source,
            now=lambda: ctx.now,
            at_home=self._course.at_home,
            dry=self._course.dry,
            largest_bytes=self._course.largest_bytes,
            left=self._course.left,
        )

    def _tell(self) -> None:
        counts = Counter(self._done)
        for each in self._now.values():
            counts.update(each)
        total = sum(amount.items for amount in self.outcome.expected.values())
        done = min(sum(counts.values()), total)
        told = _three(counts) | ({"restored": 0} if self._course.dry else {})
        self._ctx.tick(done, total, phase=PHASE_2, counts=told)

    def _note_missing(self, placed: list[Placed]) -> None:
        """Count the items of accounts that are not here as unrestored: they were wanted."""
        here = {each.source.entry_id for each in placed}
        for account in self._choice.accounts:
            if account.entry_id not in here:
                self._lose(account.name, AccountId(account.entry_id), NOT_HERE)
        for lost in self._choice.lost:
            if lost.kind is EntryKind.ACCOUNT and lost.entry_id in self._path.accounts():
                # Of two accounts of one name the other one may be here.
                name = lost.entry_id if lost.name in self.outcome.accounts else lost.name
                self._lose(name, AccountId(lost.entry_id), LEFT)

    def _lose(self, name: str, account: AccountId, why: str) -> None:
        items = ids_of(self._path, account, self._course.left.get(account))
        found = self.outcome.accounts.setdefault(name, Imported())
        found.planned += len(items)
        found.unrestored += [(item, why) for item in items]

    # Phase 3

    def complete(self, phase: Phase1, *, with_items: bool) -> None:
        """Do what comes last: shares, data sources, what was held back."""
        result = self.outcome.phase1
        third = Phase3(
            self._destination,
            phase.new_id,
            with_data_sources=self._course.with_data_sources and with_items,
            with_rights=self._options.with_rights,
        )
        items = self._items(self._ctx, self._path, self._own) if with_items else None
        maps = Maps(
            self._own,
            self._path.form.server_id,
            phase.new_id,
            at_home=self._in_place(),
            foretold=self._foretold(),
        )
        for number, placed in enumerate(result.accounts):
            self._ctx.tick(number, len(result.accounts), phase=PHASE_3)
            moved: Mapping[ItemId, ItemId] = {}
            if items is not None:
                moved = self._share(items, placed, maps)
            if self._options.create_accounts:
                third.complete(placed, moved)
        for here, attributes in result.domains_later:
            third.set_later(here, attributes)
        self.outcome.counts.update(third.counts)
        self.outcome.failures += third.failures

    def _in_place(self) -> dict[AccountId, frozenset[ItemId]] | None:
        """Return what is there under its own id, for a backup of the server itself."""
        if not self._course.at_home:
            return None
        return {account: imported.in_place for account, imported in self._imported()}

    def _foretold(self) -> dict[AccountId, Mapping[ItemId, ItemId]]:
        """Return what a dry run has found to become of folders."""
        if not self._course.dry:
            return {}
        found = self._imported()
        return {account: imported.folders for account, imported in found if imported.folders}

    def _imported(self) -> Iterator[tuple[AccountId, Imported]]:
        names = {each.source.name: each.source for each in self.outcome.phase1.accounts}
        for name, imported in self.outcome.accounts.items():
            if name in names:
                yield AccountId(names[name].entry_id), imported

    def _share(self, items: ItemsImport, placed: Placed, maps: Maps) -> Mapping[ItemId, ItemId]:
        """Restore the shares of one account; note what is left, return what became of the rest."""
        source = AccountId(placed.source.entry_id)
        try:
            known = items.map_of(source, placed.here)
        except (BackupPathBroken, ItemError) as error:
            # Phase 2 has counted its items as lost: nothing of it was imported now.
            why = f"{error} {error.hint}".rstrip(" .")
            self.outcome.failures.append(Failure("the map of", placed.source.name, why))
            return {}
        imported = self.outcome.accounts[placed.source.name]
        moved = maps.items_of(source) or known.items
        if imported.shared or imported.mountpoints:
            made = self._bring_shares(placed, imported, moved, maps)
            known.note(made, self._ctx.now)
            moved = {**moved, **made}
        known.leave((item for item, _ in imported.unrestored), self._ctx.now)
        return moved

    def _bring_shares(
        self, placed: Placed, imported: Imported, moved: Mapping[ItemId, ItemId], maps: Maps
    ) -> Mapping[ItemId, ItemId]:
        mailbox = self._ctx.source.mailbox(AccountId(placed.here.entry_id))
        shares = Shares(
            self._destination.shares(placed.here),
            there=folders_there(self._ctx.source, mailbox),
            items=moved,
            new_id=maps.new_id,
            items_of=maps.items_of,
            at_home=self._course.at_home,
        )
        result = shares.run(imported.shared, imported.mountpoints)
        self._take_shares(placed.source.name, imported, result)
        return result.made

    def _take_shares(self, name: str, imported: Imported, result: SharesResult) -> None:
        imported.planned += len(imported.mountpoints) - len(result.nowhere)
        imported.restored += result.mountpoints
        imported.skipped += result.mountpoints_there
        imported.unrestored += result.unrestored
        self.outcome.counts.update(
            mountpoints=result.mountpoints,
            mountpoints_there=result.mountpoints_there,
            mountpoints_to_nowhere=len(result.nowhere),
            grants=result.grants,
            grants_lost=result.grants_lost,
            shares_to_mend=result.dangling,
        )
        for item, error in result.errors:
            self._ctx.log(f"{name}, mountpoint {item}: {error}", level=Level.WARNING)
        for item, why in result.nowhere:
            self._ctx.log(f"{name}, mountpoint {item} is left out: {why}.")

    # What is told

    def entries(self) -> Counter[tuple[str, str]]:
        """Return what phase 1 counted, with what could not even be read at the source."""
        lost = Counter[tuple[str, str]]((each.kind, FAILED) for each in self._choice.lost)
        return self.outcome.phase1.counts + lost

    @property
    def is_incomplete(self) -> bool:
        """Whether more than items is missing: a domain, a class, a list or an account."""
        counts = self.entries()
        return any(counts[kind, FAILED] for kind in KINDS)

    def failures(self) -> Iterator[tuple[str, str, str]]:
        """Yield what was wanted and not achieved besides items: of what, its name, why."""
        for lost in self._choice.lost:
            yield lost.kind, lost.name, lost.why
        for each in (*self.outcome.phase1.failures, *self.outcome.failures):
            yield each.what, each.name, each.why


def _import_one(
    items: ItemsImport,
    placed: Placed,
    accounts: Mapping[AccountId, AccountId],
    tell: Callable[[Counts], None],
) -> Imported:
    """Import the items of one account; one that cannot be read is lost as a whole."""
    account = AccountId(placed.source.entry_id)
    try:
        return items.run(account, placed.here, accounts, tell)
    except (ItemError, BackupPathBroken, MailServerRefused) as error:
        lost = ids_of(items.path, account, items.left.get(account))
        why = error.cause if isinstance(error, ItemError) else _WHY[type(error)]
        failed = ItemError(str(error), hint=error.hint)
        return Imported(
            planned=len(lost),
            unrestored=[(item, why) for item in lost],
            errors=[(ItemId(0), failed)],
        )


def _counts(imported: Imported) -> dict[str, int]:
    return {
        "restored": imported.restored,
        "skipped": imported.skipped,
        "unrestored": len(imported.unrestored),
    }


def _three(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in ("restored", "skipped", "unrestored")}
