"""The way to a folder that somebody typed: each component opened from the one before, no link.

Beside `typed`, which says what such a folder has to be, nobody uses it.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Final

from backupng.engine.backuppath.disk import reason, unpermitted, user_name
from backupng.engine.backuppath.layout import FORMAT
from backupng.engine.errors import BadRequest

Identity = tuple[int, int]
"""Device and inode."""
_PATIENCE_S = 5.0
_MAGIC: Final = b"backupng "
_STEP: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def identity(found: os.stat_result) -> Identity:
    """Return what an open folder is known by again, whatever it is called."""
    return found.st_dev, found.st_ino


def how_to_make(path: Path) -> str:
    """Return the commands that make a folder for us."""
    quoted, user = shlex.quote(str(path)), user_name()
    return f"Make it: mkdir -p {quoted} and then chown -R {user}:{user} {quoted}"


def refused(path: Path, problem: str, *, code: str, hint: str) -> BadRequest:
    """Return the refusal of a typed folder, as one sentence."""
    return BadRequest(f"{path} {problem}.", code=code, hint=hint, path=str(path))


def opened_folder(path: Path, roots: Sequence[Path], *, missing: str) -> int:
    """Open a folder; links are followed above the innermost of the roots alone.

    A disk behind a network that does not answer is not waited for. Raises BadRequest, with the hint
    `missing` for a folder that is not there.
    """
    found: list[int | BadRequest] = []
    is_too_late = Event()

    def walk() -> None:
        try:
            descriptor = _walk(path, roots, missing)
        except BadRequest as error:
            found.append(error)
        else:
            found.append(descriptor)
            if is_too_late.is_set():
                os.close(descriptor)

    walker = Thread(target=walk, daemon=True)
    walker.start()
    walker.join(_PATIENCE_S)
    match found:
        case [BadRequest() as error]:
            raise error
        case [int() as descriptor]:
            return descriptor
    is_too_late.set()
    raise refused(
        path,
        f"does not answer within {_PATIENCE_S:g} seconds",
        code="path_not_readable",
        hint="See whether its disk or network is there, then run the command again.",
    )


def _walk(path: Path, roots: Sequence[Path], missing: str) -> int:
    """Open a folder, each component from the one before. Raises BadRequest."""
    root = max(
        filter(path.is_relative_to, roots),
        key=lambda each: len(each.parts),
        default=Path("/"),
    )
    with answering(path, root, missing):
        descriptor = os.open(root, _STEP)
    place = root
    for name in path.relative_to(root).parts:
        try:
            with answering(path, place, missing):
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                place /= name
                _require_folder(path, place, found)
                inner = os.open(name, _STEP | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    try:
        with answering(path, path, missing):
            return os.open(".", _FOLDER, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _require_folder(path: Path, place: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise refused(
            path,
            "is a link" if place == path else f"leads through the link {place}",
            code="path_not_allowed",
            hint="Name the folder that the link leads to.",
        )
    if not stat.S_ISDIR(found.st_mode):
        raise refused(
            path,
            "is not a folder" if place == path else f"leads through {place}, which is no folder",
            code="path_missing",
            hint="Name a folder.",
        )


@contextmanager
def answering(path: Path, folder: Path, missing: str) -> Iterator[None]:
    """Turn a refusal of the disk into ours.

    `folder` is the one whose mode may keep us out, `missing` what to do about one that is not
    there.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise refused(path, "does not exist", code="path_missing", hint=missing) from error
    except PermissionError as error:
        raise _unpermitted(folder) from error
    except OSError as error:
        raise refused(
            path,
            f"cannot be opened: {reason(error)}",
            code="path_not_readable",
            hint="See whether its disk or network is there, then run the command again.",
        ) from error


def _unpermitted(folder: Path) -> BadRequest:
    found = folder
    while found != found.parent:
        with suppress(OSError):
            return unpermitted(found, "read", found.stat(), code="path_not_readable")
        found = found.parent
    return refused(folder, "cannot be read", code="path_not_readable", hint="")


def identities(tree: Path) -> tuple[Identity | None, list[Identity]]:
    """Return that of a tree and those of the folders around it; none of one that is not there."""
    try:
        descriptor = os.open(tree, _STEP)
    except OSError:
        return None, []
    try:
        return identity(os.fstat(descriptor)), above(descriptor)[0]
    finally:
        os.close(descriptor)


def above(descriptor: int) -> tuple[list[Identity], bool]:
    """Return the folders around one, innermost first, and whether one of them is a tree."""
    found = [identity(os.fstat(descriptor))]
    is_in_a_tree, place = False, os.dup(descriptor)
    while True:
        try:
            upper = os.open("..", _STEP, dir_fd=place)
        finally:
            os.close(place)
        place, here = upper, identity(os.fstat(upper))
        if here == found[-1]:
            os.close(place)
            return found[1:], is_in_a_tree
        found.append(here)
        is_in_a_tree |= _is_tree(place)


def _is_tree(folder: int) -> bool:
    try:
        file = os.open(FORMAT, _FILE, dir_fd=folder)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(file).st_mode) and os.pread(file, 9, 0) == _MAGIC
    except OSError:
        return False
    finally:
        os.close(file)
