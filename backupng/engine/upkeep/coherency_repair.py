"""fixBackup: move what is broken out of the way, into `quarantine/`, and destroy nothing.

Order (FORMAT.md, repair): broken checkpoints are moved; the accounts concerned are marked as
uncertain, so that the next scan compares them as a whole; then one thing after the other is moved,
each just after its line in the list. Whatever is interrupted is found again by the next check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from backupng.engine.backuppath import (
    customizations,
    disk,
    layout,
    mapfile,
    metadata,
    provisioning,
    values,
)
from backupng.engine.backuppath.blobs import CHUNK, Packer
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import Place
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.uncertain import (
    EVERY_ACCOUNT,
    NOTHING_KNOWN,
    REASON_SCANNER,
    make_uncertain,
    spell_uncertain,
)
from backupng.engine.backuppath.verifying import Verifier, unpack_twice
from backupng.engine.errors import BackupPathBroken, BrokenItem, ItemError, ReadError
from backupng.engine.model import AccountId, Digest, Mailbox, MailboxState
from backupng.engine.upkeep import coherency_metadata as reading
from backupng.engine.upkeep.coherency import late_digests
from backupng.engine.upkeep.coherency_findings import Finding, Findings, Flaw
from backupng.engine.upkeep.coherency_metadata import Examined, History

_ROLE: Final = "repair"
_LIST: Final = "list"
_REASON: Final = "a Coherency Check moved damaged parts of its backup into quarantine"
_PAUSE_EVERY: Final = 100
MOVED: Final = frozenset(
    {
        *(Flaw.BROKEN_METADATA, Flaw.WRONG_DIGEST, Flaw.WRONG_TYPE, Flaw.ORPHAN),
        *(Flaw.MISSING_BLOB, Flaw.MISSING_STATES),
    }
)
"""What `fixBackup` does something about; of what is missing only the account is noted."""
_LOSSES: Final = frozenset({Flaw.BROKEN_METADATA, Flaw.WRONG_TYPE, Flaw.MISSING_STATES})
_PARTS_OF_ACCOUNT: Final = 2
_NO_MAILBOX: Final = {"id": 0, "group_id": 0}


@dataclass(frozen=True, slots=True)
class _Step:
    """One thing to move, and what takes its place: nothing, or its intact part."""

    path: Place
    why: str
    stays: Callable[[], Iterable[bytes]] | None = None
    is_packed: bool = False
    """Whether that is the plain content of a blob, to be packed."""


@dataclass(slots=True)
class Repair:
    """One repair of what a check has found. Nobody writes to the tree meanwhile."""

    path: BackupPath
    findings: Findings
    started: datetime
    name: str
    """The folder of its own that it makes below `quarantine/`."""
    pause: Callable[[], None]
    flaws: frozenset[Flaw] = MOVED
    """The classes that something is done about."""
    differing: frozenset[AccountId] = frozenset()
    """Accounts of which the mail server has something else than the backup."""
    packer: Packer = field(default_factory=Packer)
    moved: list[tuple[Place, Place]] = field(default_factory=list)
    _listed: int | None = None
    """How many bytes the list has; None before its first line."""
    _verifier: Verifier = field(default_factory=Verifier)

    def run(self) -> Place | None:
        """Move what is still broken; return the folder it went to, None if there was nothing."""
        steps = list(self._steps())
        if not steps and not self._lost():
            return None
        with self.path.tree.staging(_ROLE):
            folder = self._folder()
            # A broken checkpoint goes first: who is uncertain is written into its place.
            steps.sort(key=lambda step: step.path.parts[0] != layout.CHECKPOINT.name)
            self._move_all(folder, [step for step in steps if _is_checkpoint(step)])
            self._make_uncertain()
            self._move_all(folder, [step for step in steps if not _is_checkpoint(step)])
        return folder if steps else None

    # What there is to do

    def _steps(self) -> Iterator[_Step]:
        """Look at every finding once more: a writer may have been at work since it was found."""
        orphans = self._orphans()
        ways: dict[Flaw, Callable[[Finding], _Step | None]] = {
            Flaw.BROKEN_METADATA: self._history,
            Flaw.ORPHAN: lambda each: _step(each) if each.path in orphans else None,
            Flaw.COMPRESSED_TWICE: self._twice,
            Flaw.WRONG_DIGEST: self._wrong,
            Flaw.WRONG_TYPE: self._wrong,
        }
        seen: set[Place] = set()
        for finding in self.findings.found:
            if finding.path not in seen and finding.flaw in self.flaws & ways.keys():
                seen.add(finding.path)
                self.pause()
                step = ways[finding.flaw](finding)
                if step is not None:
                    yield step

    def _orphans(self) -> set[Place]:
        found = {each.path for each in self.findings.found if each.flaw is Flaw.ORPHAN}
        if found:
            unread = Findings()
            for digest in late_digests(self.path, self.started, self.pause, unread):
                found.discard(layout.blob_file(digest))
            if unread.hides_references:
                # What those refer to, nobody knows.
                return set()
        return found

    def _wrong(self, finding: Finding) -> _Step | None:
        if not self.path.tree.mark(finding.path):
            return None
        if finding.flaw is Flaw.WRONG_TYPE:
            return _step(finding)
        try:
            file = self.path.tree.open(finding.path)
            if file is not None:
                self._verifier.verify(file, Digest(finding.path.name))
        except BrokenItem:
            return _step(finding)
        except ReadError:
            return None
        return None

    def _twice(self, finding: Finding) -> _Step | None:
        def packed() -> Iterator[bytes]:
            file = self.path.tree.open(finding.path)
            if file is not None:
                yield from unpack_twice(file, Digest(finding.path.name))

        return _Step(finding.path, str(finding.why), packed, is_packed=True)

    def _history(self, finding: Finding) -> _Step | None:
        if finding.path.parts[0] == layout.CHECKPOINT.name:
            return self._checkpoint(finding)
        if layout.is_map(finding.path):
            return self._whole(finding, mapfile.check)
        if customizations.is_archive(finding.path):
            return self._whole(finding, customizations.check)
        history = reading.history_at(finding.path)
        if history is None:
            return None
        frontier = reading.frontier_of(self.path, history.account)
        found = reading.examine(self.path, history, frontier)
        if found.flaw is not Flaw.BROKEN_METADATA:
            return None
        stays = found.raw[: found.good]
        if history.path.name == "mailbox":
            stays = self._begun_anew(history, found)
        why = f"{found.flaw}: {found.why}"
        return _Step(finding.path, why, (lambda: [stays]) if stays else None)

    def _whole(self, finding: Finding, check: Callable[[Tree, Place], int | None]) -> _Step | None:
        """Put a file aside as a whole. What a map of imports told is found again by its content."""
        try:
            check(self.path.tree, finding.path)
        except BrokenItem:
            return _step(finding)
        except ReadError:
            return None
        return None

    def _checkpoint(self, finding: Finding) -> _Step | None:
        """Put a checkpoint aside; in one step `*` takes the place of whom the scanner doubted."""
        if not reading.is_broken_checkpoint(self.path, finding.path):
            return None
        if finding.path != layout.scanner_file(self.path.form.server_id):
            return _step(finding)
        stays = spell_uncertain(
            self.path, NOTHING_KNOWN, [EVERY_ACCOUNT], since=self.started, reason=REASON_SCANNER
        )
        return replace(_step(finding), stays=lambda: [stays])

    def _begun_anew(self, history: History, found: Examined) -> bytes:
        """Return what stays of a mailbox history: its intact lines, and one that ends its era.

        The numbers that the lost lines told of are not known. A line of a mailbox that nobody has
        makes the next scan begin an era above all numbers there are.
        """
        last = found.states[-1] if found.states else None
        account = history.account or AccountId("")
        state = MailboxState(
            start=last.start if last else self.started,
            mod=max((last.mod if last else 0, *self._numbers(account))),
            mailbox=Mailbox(mailbox_id=0, account_id=account, group_id=0, row=_NO_MAILBOX),
            mark="",
            base=last.base if last else 0,
        )
        lines = metadata.read_lines(found.raw[: found.good], layout.chain_seed(history.path))
        body = values.dump_body(provisioning.spell_mailbox(state, len(lines.bodies) + 1))
        line, _ = metadata.seal(lines.digits, body)
        return found.raw[: found.good] + line

    def _numbers(self, account: AccountId) -> Iterator[int]:
        for item in self.path.items(account):
            try:
                history = self.path.history(account, item)
            except ItemError:
                continue
            yield from (state.mod for state in history[-1:])

    def _lost(self) -> set[AccountId]:
        """Return the accounts whose items lack what the mail server may still have."""
        return set(self.differing) | {
            each.account
            for each in self.findings.found
            if each.account is not None and (each.is_current or each.flaw in _LOSSES)
        }

    # Doing it

    def _folder(self) -> Place:
        folder, number = layout.QUARANTINE / self.name, 1
        while self.path.tree.mark(folder):
            number += 1
            folder = layout.QUARANTINE / f"{self.name}-{number}"
        return folder

    def _note(self, folder: Place, step: _Step) -> None:
        """Write what is about to be moved into the list: from, to and why, with tabs between."""
        line = f"{step.path}\t{folder / step.path}\t{_on_one_line(step.why)}\n"
        data = line.encode("utf-8", "backslashreplace")
        self.path.tree.append(folder / _LIST, data, cut_to=self._listed)
        self._listed = (self._listed or 0) + len(data)

    def _make_uncertain(self) -> None:
        """Have the accounts concerned compared as a whole by the next scan of each."""
        lost: set[str] = set(map(str, self._lost()))
        scanner = layout.scanner_file(self.path.form.server_id)
        lost |= {EVERY_ACCOUNT} if any(source == scanner for source, _ in self.moved) else set()
        # Where the scanner's own file is broken and stays so, there is no place for it.
        with suppress(BackupPathBroken):
            make_uncertain(self.path, lost, since=self.started, reason=_REASON, role=_ROLE)

    def _move_all(self, folder: Place, steps: Iterable[_Step]) -> None:
        for number, step in enumerate(steps, 1):
            self._note(folder, step)
            self._stamp(step.path)
            self._move(step, folder / step.path)
            self.moved.append((step.path, folder / step.path))
            if number % _PAUSE_EVERY == 0:
                self.path.tree.sync()
                self.pause()
        self.path.tree.sync()

    def _stamp(self, path: Place) -> None:
        """Give the account that a path lies in a new stamp: others see that it has changed."""
        if path.parts[0] == layout.ACCOUNTS.name and len(path.parts) > _PARTS_OF_ACCOUNT:
            # Let go at once: nobody else writes here, and `publish` locks folders itself.
            with self.path.tree.locked(layout.lock_folder(path)):
                pass

    def _move(self, step: _Step, target: Place) -> None:
        tree = self.path.tree
        if step.stays is None:
            tree.move(step.path, target)
            return
        # First the whole file is there for certain, then its intact part takes its place.
        with tree.stage(_ROLE) as copy:
            for chunk in self._chunks(step.path):
                copy.write(chunk)
        with tree.stage(_ROLE) as file:
            if step.is_packed:
                self.packer.pack(step.stays(), file.write)
            else:
                for chunk in step.stays():
                    file.write(chunk)
        tree.publish(copy.path, target)
        tree.sync()
        tree.publish(file.path, step.path)

    def _chunks(self, path: Place) -> Iterator[bytes]:
        file = self.path.tree.open(path)
        if file is not None:
            with file, disk.reading(self.path.tree.root, path):
                yield from iter(lambda: file.read(CHUNK), b"")


def _step(finding: Finding) -> _Step:
    return _Step(finding.path, f"{finding.flaw}: {finding.why}")


def _is_checkpoint(step: _Step) -> bool:
    return step.path.parts[0] == layout.CHECKPOINT.name


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
