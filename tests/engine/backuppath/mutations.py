"""The rules of the order of writes, each of them taken away: the proofs must notice.

`with broken(rule):` takes one away from the code for a while.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from backupng.engine.backuppath import fsio, gate, metadata, writer
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import Place
from backupng.engine.backuppath.recovery import Recovery

_sync, _sync_file, _touch = Tree.sync, Tree._sync_file, Tree.touch


def _no_tail_cut(_: Recovery, _path: Place, data: bytes) -> int:
    return len(data)


def _no_pending_cut(_: Recovery, _path: Place, lines: metadata.Lines) -> int:
    return lines.good


def _no_sync_of_staged(tree: Tree, path: Place) -> None:
    if path.parts[0] != ".staging":
        _sync_file(tree, path)


def _no_sync_of_lines(tree: Tree) -> None:
    tree._dirty_files = {path for path in tree._dirty_files if path.parts[0] == ".staging"}
    _sync(tree)


def _no_sync_of_folders(tree: Tree) -> None:
    tree._folders.changed.clear()
    _sync(tree)


def _no_count_check(descriptor: int, data: bytes, cut_to: int | None) -> None:
    os.ftruncate(descriptor, cut_to or 0)
    os.write(descriptor, data)


def _no_mod_check(_last: Any, _state: Any) -> bool:
    return True


def _no_sum(line: bytes, digits: str) -> tuple[bytes | None, str]:
    del digits
    body, mark, own = line.rpartition(b" #")
    return (body if mark and len(own) == 8 else None), own.decode("ascii", "replace")


_seen: set[Place] = set()


def _no_second_look(tree: Tree, path: Place) -> bool:
    """Believe what was there once."""
    if path not in _seen and _touch(tree, path):
        _seen.add(path)
    return path in _seen


def _always_clean(_note: gate.Note) -> gate.Past:
    return gate.Past.CLEAN


RULES: Mapping[str, tuple[Any, str, Any]] = {
    "tail cut": (Recovery, "_good", _no_tail_cut),
    "cut of pending states": (Recovery, "_before_pending", _no_pending_cut),
    "sync before rename": (Tree, "_sync_file", _no_sync_of_staged),
    "sync before checkpoint": (Tree, "sync", _no_sync_of_lines),
    "sync of folders": (Tree, "sync", _no_sync_of_folders),
    "count check": (fsio, "append_whole", _no_count_check),
    "mod check": (writer, "_is_news", _no_mod_check),
    "chained sum": (metadata, "_unseal", _no_sum),
    "second look at a known blob": (Tree, "touch", _no_second_look),
    "recovery at all": (gate.Note, "past", property(_always_clean)),
}
"""By rule: where it is, its name there, and what stands there without it."""


@contextmanager
def broken(rule: str) -> Iterator[None]:
    """Take a rule away."""
    place, name, without = RULES[rule]
    kept: Callable[..., Any] = vars(place)[name]
    _seen.clear()
    setattr(place, name, without)
    try:
        yield
    finally:
        setattr(place, name, kept)
