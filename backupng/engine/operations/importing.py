"""The course of an External Restore: its phases, one after the other, and what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final

from backupng.engine.backuppath.mapfile import IdMap, Mapped
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BackupError, BackupPathBroken, ItemError
from backupng.engine.model import AccountId, EntryKind, ItemId
from backupng.engine.operations import tether
from backupng.engine.operations.base import Context, Level
from backupng.engine.restore.importing.choice import Choice
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
    Knows,
    amount_of,
    ids_of,
    nothing,
)
from backupng.engine.restore.importing.phase3 import Phase3
from backupng.engine.restore.importing.shares import Shares, SharesResult, folders_there
from backupng.engine.scan.crew import Crew, Done, Tell, Work

ROLE: Final = "import"
READING: Final = "reading the backup"
PHASE_1: Final = "phase 1: domains, classes of service, lists, accounts"
PHASE_2: Final = "phase 2: items"
PHASE_3: Final = "phase 3: mountpoints and data sources"
KINDS: Final = (EntryKind.DOMAIN, EntryKind.COS, EntryKind.LIST, EntryKind.ACCOUNT)
NOBODY: Final[Mapping[AccountId, Knows]] = MappingProxyType({})
NOT_HERE: Final = "the account could not be made"
LEFT: Final = "the account could not be imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How an import goes, beside what is chosen and how entries are made."""

    concurrent: int = 1
    largest_bytes: int | None = None
    with_data_sources: bool = True
    at_home: bool = False


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
        self.outcome = Outcome()
        self._done: Counter[str] = Counter()
        self._now: dict[int, Counts] = {}
        """What became of the accounts that are done, and of those that are being restored."""

    def expect(self, knowing: Mapping[AccountId, Knows] = NOBODY) -> None:
        """Count what is to be restored, before anything is written.

        `knowing` says of accounts which items went before: those are counted apart.
        """
        accounts = self._choice.accounts
        for number, account in enumerate(accounts):
            self._ctx.tick(number, len(accounts), phase=READING)
            account_id = AccountId(account.entry_id)
            try:
                knows = knowing.get(account_id, nothing)
                self.outcome.expected[account_id] = amount_of(self._path, account_id, knows)
            except ItemError as error:
                self._ctx.log(f"{account.name}: {error}", level=Level.WARNING)

    def known_map(self) -> list[Mapped]:
        """Return what earlier imports of this source noted; nothing is made for it."""
        try:
            return list(IdMap(self._ctx.path.tree, self._path.form.server_id))
        except BackupError:
            return []

    def rehearse(self, phase: Phase1) -> None:
        """Do what phase 1 of a dry run can, and count what phase 2 would meet."""
        result = self.outcome.phase1 = phase.run()
        self.expect(self._knowing(result.accounts))
        for each in result.accounts:
            amount = self.outcome.expected.get(AccountId(each.source.entry_id), Amount())
            found = Imported(planned=amount.items, skipped=amount.known)
            self.outcome.accounts[each.source.name] = found
        self._note_missing(result.accounts)

    def _knowing(self, placed: list[Placed]) -> dict[AccountId, Knows]:
        """Return what says of the accounts that are here which items went there before."""
        try:
            items = self._items(self._ctx, self._path, self._ctx.path)
        except BackupError:
            return {}
        is_here = partial(self._ctx.destination.entry, EntryKind.ACCOUNT)
        return {
            AccountId(each.source.entry_id): items.knows(AccountId(each.source.entry_id), each.here)
            for each in placed
            if is_here(each.here.entry_id)
        }

    @contextmanager
    def mapped(self) -> Iterator[IdMap]:
        """Open this server's own Backup Path to note where things go."""
        own = self._ctx.owned_path()
        with own.writer(ROLE):
            yield IdMap(own.tree, self._path.form.server_id)

    def provision(self, id_map: IdMap) -> Phase1:
        """Do phase 1."""
        total, made = len(self._choice.accounts), iter(range(1 << 60))
        phase = Phase1(
            self._ctx.destination,
            self._choice,
            self._options,
            known=id_map,
            note=lambda mapped: id_map.note(mapped, self._ctx.now),
            tick=lambda _name: self._ctx.tick(min(next(made), total), total, phase=PHASE_1),
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
        self,
        placed: list[Placed],
        accounts: Mapping[AccountId, AccountId],
    ) -> Iterator[tuple[int, Imported]]:
        """Yield what becomes of each account, by its number."""
        count = min(self._course.concurrent, len(placed))
        if count < 2:
            items = self._items(self._ctx, self._path)
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
            items = self._items(ctx, path)

            def work(job: int, tell: Tell) -> Imported:
                return _import_one(items, placed[job], accounts, tell)

            yield work

    def _items(self, ctx: Context, path: BackupPath, own: BackupPath | None = None) -> ItemsImport:
        return ItemsImport(
            path=path,
            own=own or ctx.owned_path(),
            destination=ctx.destination,
            source=ctx.source,
            now=lambda: ctx.now,
            at_home=self._course.at_home,
            largest_bytes=self._course.largest_bytes,
        )

    def _tell(self) -> None:
        counts = Counter(self._done)
        for each in self._now.values():
            counts.update(each)
        total = sum(amount.items for amount in self.outcome.expected.values())
        self._ctx.tick(
            min(sum(counts.values()), total), total, phase=PHASE_2, counts=_three(counts)
        )

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
        items = ids_of(self._path, account)
        found = self.outcome.accounts.setdefault(name, Imported())
        found.planned += len(items)
        found.unrestored += [(item, why) for item in items]

    # Phase 3

    def complete(self, phase: Phase1, *, with_items: bool) -> None:
        """Do what comes last: shares, data sources, what was held back."""
        result = self.outcome.phase1
        third = Phase3(
            self._ctx.destination,
            phase.new_id,
            with_data_sources=self._course.with_data_sources and with_items,
            with_rights=self._options.with_rights,
        )
        items = self._items(self._ctx, self._path) if with_items else None
        tree, server_id = self._ctx.owned_path().tree, self._path.form.server_id
        maps = Maps(tree, server_id, phase.new_id, self._in_place())
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
        names = {each.source.name: each.source for each in self.outcome.phase1.accounts}
        return {
            AccountId(names[name].entry_id): imported.in_place
            for name, imported in self.outcome.accounts.items()
            if name in names
        }

    def _share(
        self,
        items: ItemsImport,
        placed: Placed,
        maps: Maps,
    ) -> Mapping[ItemId, ItemId]:
        """Restore the shares of one account; return what became of its items."""
        source = AccountId(placed.source.entry_id)
        known = items.map_of(source, placed.here)
        imported = self.outcome.accounts[placed.source.name]
        moved = maps.items_of(source) or known.items
        if not (imported.shared or imported.mountpoints):
            return moved
        mailbox = self._ctx.source.mailbox(AccountId(placed.here.entry_id))
        shares = Shares(
            self._ctx.destination.shares(placed.here),
            there=folders_there(self._ctx.source, mailbox),
            items=moved,
            new_id=maps.new_id,
            items_of=maps.items_of,
            at_home=self._course.at_home,
        )
        result = shares.run(imported.shared, imported.mountpoints)
        known.note(result.made, self._ctx.now)
        self._take_shares(placed.source.name, imported, result)
        return {**moved, **result.made}

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
    except (ItemError, BackupPathBroken) as error:
        lost = ids_of(items.path, account)
        why = error.cause if isinstance(error, ItemError) else "its map is damaged"
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
