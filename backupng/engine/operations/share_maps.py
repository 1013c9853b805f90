"""The maps of imports as shares are checked and mended by, and how a broken share is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path

from backupng.engine.backuppath import layout, mapfile
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.mapfile import ItemMap, Mapped, MappedItems
from backupng.engine.errors import BackupError, BadRequest
from backupng.engine.mailserver.port import Target
from backupng.engine.model import AccountId, EntryKind, ItemId
from backupng.engine.operations.base import Context, Report
from backupng.engine.upkeep.shares import Flaw, MapOf, Problem

_NAMED = 50
_LISTED = 5
_KEPT = 4
_COUNTERS = {
    Flaw.DANGLING: "dangling_ids",
    Flaw.WRONG_ID: "wrong_ids",
    Flaw.NO_TARGET: "missing_targets",
    Flaw.NO_GRANT: "missing_grants",
}


def maps_there(ctx: Context) -> list[str]:
    """Return the names of the maps in the server's Backup Path; none without one."""
    try:
        return mapfile.maps_of(ctx.path.tree)
    except BackupError:
        return []


def load(ctx: Context, name: str) -> MapOf:
    """Read a map, or a copy of one, by its name in the Backup Path, or by its full path.

    Raises BadRequest (path_missing, bad_value), BackupPathError for what is no map of ours.
    """
    if not name.startswith("/") and "/" in name:
        raise _no_name(name)
    file = Path(name) if name.startswith("/") else ctx.backup_path / name
    with _naming(ctx):
        written, entries = mapfile.read_entries(file, maps_there(ctx))
    server_id = layout.server_of_map(written)
    if server_id is None:
        raise _no_name(name)
    return _map_of(file, server_id, entries)


def _no_name(name: str) -> BadRequest:
    return BadRequest(
        f"{name} is no name of a map.",
        hint="A map is called map_<source server id>; it lies in the Backup Path.",
    )


def read_map(ctx: Context, file: Path) -> tuple[list[Mapped], list[MappedItems]]:
    """Read a map of entries or of items by its path.

    Raises BadRequest, which names the maps that are there, and others as `mapfile` does.
    """
    with _naming(ctx):
        if file.name == layout.ID_MAPPER:
            return [], mapfile.read_items(file)
        return mapfile.read_entries(file, maps_there(ctx))[1], []


@contextmanager
def _naming(ctx: Context) -> Iterator[None]:
    """Name the maps that are there to whom a file is missing."""
    try:
        yield
    except BadRequest as error:
        names = maps_there(ctx) if error.code == "path_missing" else []
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            error.hint = f"In {ctx.backup_path} there are: {', '.join(names[:_LISTED])}{more}."
        raise


def _map_of(file: Path, server_id: str, entries: Iterable[Mapped]) -> MapOf:
    """Return a map of entries with those of items in the Backup Path that it lies in."""
    new = {(each.kind, each.old): each.new for each in entries}

    def new_id(kind: EntryKind, old: str) -> str | None:
        return new.get((kind, old))

    def items_of(old: str, owner: AccountId) -> Mapping[ItemId, ItemId]:
        with closing(Tree(file.parent)) as tree:
            return ItemMap(tree, owner, server_id=server_id, source=AccountId(old)).items

    return MapOf(file.name, new_id, lru_cache(_KEPT)(items_of))


def describe(problem: Problem) -> str:
    """Tell a broken share in a sentence: whose, which, who is named, what a map proposes."""
    what = "grant" if problem.grant is not None else "mountpoint"
    named = problem.named or "nobody"
    said = (
        f"{problem.owner.name} ({problem.owner.entry_id}), {what} {problem.path}: {problem.flaw},"
        f" {named}"
    )
    if isinstance(problem.remedy, Target):
        said += f"; {problem.map_name} says {problem.remedy.owner}, folder {problem.remedy.folder}"
    elif problem.remedy is not None:
        said += f"; {problem.map_name} says {problem.remedy.grantee}"
    return f"{said}."


def tell(report: Report, problems: list[Problem]) -> None:
    """Put broken shares into a report."""
    for flaw, name in _COUNTERS.items():
        report.counters[name] = sum(1 for each in problems if each.flaw is flaw)
    for each in problems:
        report.unreadable[each.owner.name].append((each.item.item_id, each.flaw.value))
    report.warnings += [describe(each) for each in problems[:_NAMED]]
    if len(problems) > _NAMED:
        report.warnings.append(f"And {len(problems) - _NAMED} more: the log has all.")
