"""A scan, the power lost somewhere in it, the recovery, the next scan: what has to hold then."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from backupng.engine.backuppath import values
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BackupError
from backupng.engine.model import EntryKind, ItemId, ItemState, to_ms
from tests.engine.backuppath.boots import begun, booted
from tests.engine.backuppath.calls import watched
from tests.engine.backuppath.crashfs import Recording
from tests.engine.backuppath.samples import (
    ACCOUNT,
    NOON,
    deletion,
    entry,
    files,
    is_kept,
    mailbox,
    message,
    new_path,
)

Acknowledge = Callable[[str], None]

SCAN, SCANNER = "scan", "scanner"
BEGAN = NOON + timedelta(hours=1)
SHORT = 2048
"""Bytes of a body at most, while these scans run: what is longer goes into a blob, in no time."""
FIRST, SECOND = f"scan:{to_ms(NOON)}", f"scan:{to_ms(BEGAN)}"
HISTORIES = {257: [11, 12, 15], 258: [12, 13], 259: [14, 21], 260: [16], 261: [22, 23]}
OF_FIRST, OF_GROUP = {257: 1}, {257: 2, 258: 2, 259: 1}
OF_SCAN = {257: 3, 258: 2, 259: 1, 260: 1}
BUILT_UPON = ItemId(262)
ALL = {item: len(mods) for item, mods in HISTORIES.items()}


def prepare(root: Path) -> None:
    """Make what the scan finds: an earlier one."""
    with new_path(root) as path, path.writer(SCAN) as writer:
        digest, length, _ = writer.add_blob([b"first"])
        writer.add_states(ACCOUNT, [message(257, 11, digest=digest, size=length, source=FIRST)])
        writer.add_entry(entry())
        writer.commit()
        writer.add_mailbox(mailbox(11))
        writer.commit()
        writer.set_checkpoint({"smartscan": {"started": to_ms(NOON), "ended": to_ms(NOON)}})


def scan(root: Path, acknowledge: Acknowledge) -> None:
    """Scan a second time: two groups, the mailbox, an entry, the checkpoint."""
    with new_path(root) as path, path.writer(SCAN) as writer:

        def add(plain: bytes, item: int, mod: int, source: str = SECOND) -> None:
            digest, length, _ = writer.add_blob([plain])
            state = message(item, mod, digest=digest, size=length, source=source)
            writer.add_states(ACCOUNT, [state])

        add(b"second", 257, 12)
        add(b"third", 258, 12)
        writer.add_states(ACCOUNT, [message(258, 13, name="x" * (2 * SHORT), source=SECOND)])
        add(b"fourth", 259, 14)
        writer.commit()
        acknowledge("group")
        writer.add_states(ACCOUNT, [replace(deletion(257, 15), source=SECOND)])
        add(b"fourth", 260, 16)
        writer.commit()
        acknowledge("items")
        if len(path.mailbox_history(ACCOUNT)) < 2:
            writer.add_mailbox(replace(mailbox(16), start=BEGAN))
            writer.commit()
        acknowledge("mailbox")
        if len(path.entry_history(EntryKind.ACCOUNT, ACCOUNT)) < 2:
            writer.add_entry(entry(cn=b"Alice"))
            writer.commit()
        acknowledge("entry")
        writer.set_checkpoint({"smartscan": {"started": to_ms(BEGAN), "ended": to_ms(BEGAN)}})
        acknowledge("checkpoint")


def follow(root: Path, acknowledge: Acknowledge) -> None:
    """Follow the redo log for one group, after the scan."""
    with new_path(root) as path, path.writer(SCANNER) as writer:
        for plain, item, mod in ((b"fifth", 259, 21), (b"sixth", 261, 22), (b"seventh", 261, 23)):
            digest, length, _ = writer.add_blob([plain])
            source = f"log:1:{mod}"
            writer.add_states(
                ACCOUNT, [message(item, mod, digest=digest, size=length, source=source)]
            )
        writer.commit()
        acknowledge("followed")
        said = {"uncertain": path.scanner().get("uncertain", {}), "at": to_ms(BEGAN)}
        writer.set_scanner({"log": {"sequence": 1, "offset": 24, "open_ops": []}, **said})
        acknowledge("position")


def work(root: Path, acknowledge: Acknowledge) -> None:
    """Do both, one after the other."""
    scan(root, acknowledge)
    follow(root, acknowledge)


def build_upon(root: Path, acknowledge: Acknowledge) -> None:
    """Append to histories to which another writer has appended, and which it has not synced.

    That one has also made the folders they lie in, published their blobs, and is killed then.
    """
    with (
        new_path(root) as theirs,
        new_path(root) as path,
        suppress(Killed),
        theirs.writer(SCANNER) as scanner,
        path.writer(SCAN) as writer,
    ):

        def interfere(name: str, args: tuple[Any, ...]) -> None:
            if name != "fdatasync" or len(path.history(ACCOUNT, BUILT_UPON)) != len(states):
                return
            writer.add_states(ACCOUNT, [replace(last, mod=33, unread=True, source=SECOND)])
            writer.commit()
            acknowledge("built upon")
            raise Killed

        digests = [scanner.add_blob([plain])[0] for plain in (b"eighth", b"ninth")]
        states = [
            message(BUILT_UPON, mod, digest=digest, source=f"log:1:{mod}")
            for mod, digest in zip((31, 32), digests, strict=True)
        ]
        last = states[-1]
        scanner.add_states(ACCOUNT, states)
        with watched(interfere):
            scanner.commit()


def wrong(root: Path, acknowledged: set[str]) -> str:
    """Return what is wrong with a tree whose recovery is done; empty if nothing is."""
    try:
        with BackupPath.open(root) as path:
            return _wrong(path, acknowledged)
    except BackupError as error:
        return str(error)


def _wrong(path: BackupPath, acknowledged: set[str]) -> str:
    states = {item: path.history(ACCOUNT, ItemId(item)) for item in HISTORIES}
    found = {item: [state.mod for state in each] for item, each in states.items()}
    if any(HISTORIES[item][: len(mods)] != mods for item, mods in found.items()):
        return f"no part of the truth: {found}"
    if not all(_is_whole(path, state) for each in states.values() for state in each):
        return "a state without its blob"
    checkpoint = path.checkpoint().get("smartscan", {}).get("started")
    entries = len(path.entry_history(EntryKind.ACCOUNT, ACCOUNT))
    told = _told(path, acknowledged, checkpoint)
    mailboxes = len(path.mailbox_history(ACCOUNT))
    if any(len(found[item]) < count for item, count in _least(told).items()):
        return f"{sorted(told)}, but {found}"
    if mailboxes < 1 + ("mailbox" in told) or entries < 1 + ("entry" in told):
        return f"{sorted(told)}, but {mailboxes} scans and {entries} entries"
    if checkpoint != to_ms(BEGAN if "checkpoint" in told else NOON):
        return f"{sorted(told)}, but the checkpoint says {checkpoint}"
    return "" if "position" not in told or path.scanner().get("log") else "no position"


def _told(path: BackupPath, acknowledged: set[str], checkpoint: object) -> set[str]:
    """Return what somebody was told to be durable, or what the tree itself says is."""
    told = set(acknowledged)
    if checkpoint == to_ms(BEGAN):
        told |= {"items", "mailbox", "entry", "checkpoint"}
    if path.scanner().get("log"):
        told |= {"followed", "position"}
    if len(path.mailbox_history(ACCOUNT)) > 1 and not _will_look(path):
        told.add("items")
    return told


def _least(told: set[str]) -> dict[int, int]:
    """Return how many states of each item have to be there."""
    found = dict(OF_FIRST)
    for word, more in (("group", OF_GROUP), ("items", OF_SCAN), ("followed", ALL)):
        found |= more if word in told else {}
    return found


def _will_look(path: BackupPath) -> bool:
    return ACCOUNT in path.scanner().get("uncertain", {})


def _is_whole(path: BackupPath, state: ItemState) -> bool:
    with suppress(BackupError):
        return is_kept(path, state)
    return False


def content(root: Path) -> dict[str, bytes]:
    """Return what a tree holds in the end, whatever happened on the way."""
    left_out = ("format", "quarantine/", "checkpoint/")
    return {name: data for name, data in files(root).items() if not name.startswith(left_out)}


class Killed(BaseException):
    """The writer is gone: nothing that it would have done comes any more."""


@dataclass
class Kill:
    """Kills at the call number `left`; from then on no call does anything."""

    left: int

    def __call__(self, _name: str, _args: tuple[Any, ...]) -> None:
        """Count one call."""
        self.left -= 1
        if self.left <= 0:
            raise Killed


@contextmanager
def short_bodies() -> Iterator[None]:
    """Have long bodies be short ones."""
    longest, values.LONGEST_BODY = values.LONGEST_BODY, SHORT
    try:
        yield
    finally:
        values.LONGEST_BODY = longest


@dataclass
class Losses:
    """Draws power losses of recorded runs: one that was left alone, some killed and run again.

    `folder` is where their trees lie.
    """

    folder: Path
    seed: int
    killed: int = 4

    def __post_init__(self) -> None:
        random = Random(self.seed)  # noqa: S311  # drawn again from the seed
        self.recordings = [self._recorded("lived", 0)]
        self.complete = content(self.folder / "lived")
        calls = len(self.recordings[0].events)
        self.recordings += [
            self._recorded(f"killed{number}", random.randint(10, calls))
            for number in range(self.killed)
        ]

    def _recorded(self, name: str, killed_at: int) -> Recording:
        root = self.folder / name
        with short_bodies():
            prepare(root)
            recording = Recording(root)
            with recording.running():
                with suppress(Killed), watched(Kill(killed_at) if killed_at else None):
                    work(root, recording.acknowledge)
                if killed_at:
                    work(root, recording.acknowledge)
        return recording

    def failure(self, number: int) -> str:
        """Lose power once, or also during the recovery; return what is wrong afterwards."""
        with short_bodies():
            random = Random(f"{self.seed}:{number}")  # noqa: S311  # drawn again from the seed
            return self._failure(random, number)

    def _failure(self, random: Random, number: int) -> str:
        recording = random.choice(self.recordings)
        ordered = number % 2 == 0
        at = random.randint(0, len(recording.events))
        acknowledged = recording.acknowledged(at)
        image = recording.after_power_loss(at, random, ordered=ordered)
        root = self.folder / "lost"
        shutil.rmtree(root, ignore_errors=True)
        image.lay_out(root)
        if number % 4 >= 2:
            root = self._lost_again(root, random, ordered=ordered)
        try:
            begun(root, "third")
            found = wrong(root, acknowledged) or self._incomplete(root)
        except BackupError as error:
            found = f"{type(error).__name__}: {error}"
        return found and f"seed {self.seed}, number {number}, at {at}: {found}"

    def _lost_again(self, root: Path, random: Random, *, ordered: bool) -> Path:
        recording = Recording(root)
        with recording.running():
            begun(root, "second")
        at = random.randint(0, len(recording.events))
        again = self.folder / "again"
        shutil.rmtree(again, ignore_errors=True)
        recording.after_power_loss(at, random, ordered=ordered).lay_out(again)
        return again

    def _incomplete(self, root: Path) -> str:
        """Return what the next scan does not bring back; empty if it is all there."""
        with booted("third"):
            work(root, lambda _word: None)
        found = content(root)
        if found == self.complete:
            return ""
        names = {
            name for name in found | self.complete if found.get(name) != self.complete.get(name)
        }
        return f"after the next scan {sorted(names)} are not what they should be"
