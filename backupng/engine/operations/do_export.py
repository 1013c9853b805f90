"""doExport."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Final
from zoneinfo import ZoneInfo

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.typed import TypedFolder
from backupng.engine.errors import BackupPathUnwritable, BadRequest, ItemError, OperationError
from backupng.engine.model import DirectoryEntry, EntryKind, ItemId
from backupng.engine.operations import export_folder, parameters
from backupng.engine.operations.base import Context, Level, Operation, Report
from backupng.engine.operations.extent import Extent, named
from backupng.engine.operations.smart_scan import SmartScan
from backupng.engine.operations.words import ALL_DOMAINS, NO_ADDRESSES, Addresses, Domains, Words
from backupng.engine.restore.export import Export, before_of, entries_at
from backupng.engine.scan.directory import LEFT_OUT, DirectoryScan, read_directory
from backupng.engine.scan.smartscan import ROLE

_NAMED: Final = 10
_ALL: Final = "all"
_CHECKED: Final = "{} was looked through at the end: {} items and their blobs are there."
_EVERY: Final = Words(())


@dataclass(frozen=True, slots=True, kw_only=True)
class DoExport(Operation):
    """Write a backup of its own, for a migration: everything as it is now, in an empty folder."""

    command: ClassVar[str] = "doExport"
    title: ClassVar[str] = "Export Backup"
    summary: ClassVar[str] = (
        "Export Backup: writes the server as it is now into a folder, for a migration"
    )
    examples: ClassVar[tuple[str, ...]] = (
        (
            "backupng backup doexport /opt/zimbra/backup/ domains example.com notifications"
            " john@example.com"
        ),
        "backupng backup doExport /mnt/export resume true",
    )
    after_interruption: ClassVar[str] = (
        "Go on with it: give the same command again, with resume true. Nothing is copied twice."
    )

    destination_path: Path
    domains: Domains = field(default=ALL_DOMAINS, metadata={"default": _ALL})
    notifications: Addresses = NO_ADDRESSES
    cos: Words = field(default=_EVERY, metadata={"default": _ALL})
    threshold: int | None = field(default=None, metadata={"values": "MB", "default": "none"})
    read_error_threshold: int | None = field(default=None, metadata={"default": "unlimited"})
    skip_items: bool = field(default=False, metadata={"values": "true|false"})
    resume: bool = field(default=False, metadata={"values": "true|false"})

    def check(self, ctx: Context) -> None:
        """Refuse a folder that cannot be written into, unknown names, and what a scan refuses."""
        with export_folder.held(ctx, self._place) as (folder, begun):
            self._require_room(folder)
            self._extent(
                list(ctx.source.entries(EntryKind.DOMAIN)), list(ctx.source.entries(EntryKind.COS))
            )
            if begun is None:
                SmartScan().check(ctx)

    def run(self, ctx: Context) -> Report:
        """Bring the Backup Path up to the mail server, then copy what it holds of now."""
        report = Report()
        with export_folder.held(ctx, self._place) as (folder, begun):
            if begun is not None:
                self._copy(ctx, begun, folder, report)
                return report
            self._scan(ctx, report)
            with export_folder.begun(ctx, self._place) as target:
                self._copy(ctx, target, folder, report)
        return report

    @property
    def _place(self) -> export_folder.Place:
        chosen = (",".join(sorted(names)) for names in (self.domains, self._coses))
        domains, coses = (names.lower() or _ALL for names in chosen)
        items = str(not self.skip_items).lower()
        said = f"domains {domains} cos {coses} items {items}"
        return export_folder.Place(self.destination_path, said, goes_on=self.resume)

    def _require_room(self, folder: TypedFolder) -> None:
        if self.threshold is not None and folder.room.bytes < self.threshold << 20:
            raise BadRequest(
                f"Only {folder.room.bytes >> 20} MB are free on the disk of {folder.path}.",
                code="no_space",
                hint=f"Make room: the threshold asks for {self.threshold} MB.",
            )

    @property
    def _coses(self) -> tuple[str, ...]:
        return () if tuple(map(str.lower, self.cos)) == (_ALL,) else tuple(self.cos)

    def _extent(self, domains: list[DirectoryEntry], coses: list[DirectoryEntry]) -> Extent:
        """Return what is taken of a directory. Raises BadRequest (no_such_domain, no_such_cos)."""
        return Extent(
            domains=domains,
            coses=coses,
            chosen_domains=named(domains, self.domains, code="no_such_domain", what="domain"),
            chosen_coses=named(coses, self._coses, code="no_such_cos", what="class of service"),
        )

    def _scan(self, ctx: Context, report: Report) -> None:
        """Bring the Backup Path up to the mail server."""
        if self.skip_items:
            with ctx.owned_path().writer(ROLE, packer=ctx.settings.packer) as writer:
                skip_lists = ctx.settings.skip_lists
                DirectoryScan(
                    ctx.source, ctx.owned_path(), writer, started=ctx.now, skip_lists=skip_lists
                ).run()
                writer.commit()
            return
        scanned = SmartScan(read_error_threshold=self.read_error_threshold).run(ctx)
        report.warnings += scanned.warnings
        numbers = {
            name: scanned.counters[f"items_{name}"] for name in ("new", "updated", "deleted")
        }
        told = ", ".join(f"{number} {name}" for name, number in numbers.items())
        ctx.log(f"The Backup Path was brought up to the mail server: {told}.")

    def _copy(self, ctx: Context, target: BackupPath, folder: TypedFolder, report: Report) -> None:
        folder.require_same(target.tree)
        source = ctx.owned_path()
        target.host, target.opened = source.host, ctx.now
        target.least_free_bytes = (self.threshold or 0) << 20
        before = before_of(target)
        extent = self._extent(
            entries_at(source, EntryKind.DOMAIN, before), entries_at(source, EntryKind.COS, before)
        )
        for warning in folder.warnings(_needed(source, extent) if not self.skip_items else 0):
            ctx.log(warning, level=Level.WARNING)
        self._tell_left_out(ctx, extent, report)
        export = Export(
            source=source,
            target=target,
            wants=extent.takes,
            fails=partial(self._fail, ctx, report),
            tick=ctx.tick,
            with_items=not self.skip_items,
        )
        try:
            export.run(now=lambda: ctx.now)
        except BackupPathUnwritable as error:
            raise self._full(target, error) from error
        except OperationError as error:
            error.hint = error.hint or self._resume_hint
            raise
        finally:
            report.counters |= _counters(export.counts)
        report.notes.append(_CHECKED.format(self.destination_path, export.counts["items_verified"]))

    def _fail(
        self, ctx: Context, report: Report, name: str, item: ItemId, error: ItemError
    ) -> None:
        ctx.log(f"{name}, item {item}: {error}", level=Level.WARNING)
        report.unreadable[name].append((item, error.cause))
        report.suspect(name, [(item, error)])
        report.count("read_errors")
        errors = report.counters["read_errors"]
        if self.read_error_threshold is not None and errors > self.read_error_threshold:
            raise OperationError(
                f"{errors} items could not be read, more than the {self.read_error_threshold}"
                " allowed.",
                hint=f"The log names them. {self._resume_hint}",
            )

    def _tell_left_out(self, ctx: Context, extent: Extent, report: Report) -> None:
        """Name the accounts that no backup is kept of."""
        reading = read_directory(ctx.source, skip_lists=True)
        everybody = reading.entries[EntryKind.ACCOUNT]
        left_out = [
            each.name
            for each in everybody
            if each.entry_id in reading.left_out and extent.lies_in(each)
        ]
        report.counters["accounts_left_out"] = len(left_out)
        for name in left_out:
            ctx.log(f"{name} is left out: {LEFT_OUT}.")
        if left_out:
            report.notes.append(f"Left out, as {LEFT_OUT}: {_listed(sorted(left_out))}.")

    def _full(self, target: BackupPath, error: BackupPathUnwritable) -> BackupPathUnwritable:
        if error.code != "no_space":
            error.hint = f"Repair the disk. {self._resume_hint}"
            return error
        free = target.tree.room().bytes >> 20
        return BackupPathUnwritable(
            f"There is no room for more in {self.destination_path}: {free} MB are free.",
            code="no_space",
            hint=f"Make room there. {self._resume_hint}",
        )

    @property
    def _resume_hint(self) -> str:
        given = parameters.spell(self, ZoneInfo("UTC")) | {"resume": "true"}
        path = given.pop("destination_path")
        words = (word for pair in given.items() for word in pair)
        return "Go on with it: " + shlex.join(("backupng", "backup", self.command, path, *words))


def _needed(source: BackupPath, extent: Extent) -> int:
    """Return how many bytes an export of everything takes at most; 0 for one of a part of it."""
    return source.measure_blobs()[1] if extent.is_whole else 0


def _counters(counts: Mapping[str, int]) -> dict[str, int]:
    return {
        "accounts_exported": counts["accounts"],
        "items_exported": counts["items"],
        "skipped": counts["skipped"],
        "items_verified": counts["items_verified"],
        "blobs_new": counts["blobs_new"],
        "bytes_read": counts["bytes_read"],
        "bytes_written": counts["bytes_written"],
        "domains": counts[EntryKind.DOMAIN],
        "classes_of_service": counts[EntryKind.COS],
        "lists": counts[EntryKind.LIST],
    }


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
