"""Folders typed by people: every case of the corpus `tests/hostile/typed_folders.json`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backupng.engine.backuppath import typed, typed_walk
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.typed import Bounds, folder_to_read, folder_to_write
from backupng.engine.errors import BadRequest
from backupng.engine.operations import words

CORPUS = Path(__file__).parents[2] / "hostile" / "typed_folders.json"
CASES: list[dict[str, Any]] = json.loads(CORPUS.read_text(encoding="utf-8"))
NOBODY = 65534
OK = "ok"


@dataclass(frozen=True)
class Place:
    """The folders of one case, and what has to be undone."""

    base: Path
    undo: ExitStack

    def __getitem__(self, text: str) -> str:
        """Put the folders into a text of the corpus."""
        root = self.base / "allowed"
        names = {
            "base": self.base,
            "root": root,
            "good": root / "good",
            "outside": self.base / "outside",
            "tree": self.base / "backup" / "ng",
            "closed": self.base / "data" / "state",
        }
        for name, path in names.items():
            text = text.replace(f"{{{name}}}", str(path))
        return text


@pytest.fixture
def place() -> Iterator[Place]:
    """Make the folders of a case, open to everybody on their way down."""
    with ExitStack() as undo:
        found = Place(Path(tempfile.mkdtemp()), undo)
        undo.callback(shutil.rmtree, found.base)
        found.base.chmod(0o755)
        for name in ("{good}", "{outside}", "{tree}", "{closed}"):
            Path(found[name]).mkdir(parents=True)
        yield found


def _mkdir(_place: Place, path: Path) -> None:
    path.mkdir(parents=True)


def _tree(_place: Place, path: Path) -> None:
    (path / "format").write_text("backupng 1.0\n")


def _socket(place: Place, path: Path) -> None:
    bound = place.undo.enter_context(socket.socket(socket.AF_UNIX))
    here = os.open(".", os.O_RDONLY)
    # The name of a socket is short: it is made from its own folder.
    os.chdir(path.parent)
    try:
        bound.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def _device(_place: Place, path: Path) -> None:
    try:
        os.mknod(path, 0o20600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


def _mount(place: Place, path: Path, *options: str) -> None:
    path.mkdir()
    command = [shutil.which("mount") or "/bin/mount", *options, str(path)]
    made = subprocess.run(command, check=False, capture_output=True)
    if made.returncode:
        pytest.skip(f"nothing can be mounted here: {made.stderr.decode().strip()}")
    unmount = [shutil.which("umount") or "/bin/umount", str(path)]
    place.undo.callback(subprocess.run, unmount, check=True)


def _fill(_place: Place, path: Path) -> None:
    with (path / "a").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


MAKERS: dict[str, Callable[..., None]] = {
    "mkdir": _mkdir,
    "tree": _tree,
    "file": lambda _place, path: path.touch(),
    "fifo": lambda _place, path: os.mkfifo(path),
    "socket": _socket,
    "device": _device,
    "link": lambda _place, path, target: path.symlink_to(target),
    "chmod": lambda _place, path, mode: path.chmod(mode),
    "mount": lambda place, path, options: _mount(
        place, path, "-t", "tmpfs", "-o", options, "tmpfs"
    ),
    "bind": lambda place, path, source: _mount(place, path, "--bind", source),
    "fill": _fill,
}


def make(place: Place, case: dict[str, Any]) -> None:
    """Make what the case wants to be there, then give modes back to who cleans up."""
    for verb, path, *rest in case.get("make", ()):
        values = [place[each] if isinstance(each, str) else each for each in rest]
        MAKERS[verb](place, Path(place[path]), *values)


def bounds(place: Place, case: dict[str, Any]) -> Bounds:
    """Return the bounds of the case."""
    roots = case.get("roots", ["{root}", "{base}/backup"])
    return Bounds(
        roots=tuple(Path(place[root]) for root in roots),
        tree=Path(place["{tree}"]),
        closed=(Path(place["{closed}"]),),
        is_confined=case.get("confined", False),
    )


@contextmanager
def as_said(case: dict[str, Any]) -> Iterator[None]:
    """Be nobody where the case wants it: nothing is closed to root."""
    user = os.geteuid()
    os.seteuid(NOBODY if case.get("nobody") and user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


def try_it(case: dict[str, Any], place: Place, how: str) -> tuple[str, str, str]:
    """Type the path, as on any page or command line; return code, sentence and hint."""
    limits = bounds(place, case)
    try:
        path: Path = words.parse(Path, place[case["path"]], name="path", zone=ZoneInfo("UTC"))
        check = (
            folder_to_write(path, limits, is_begun=case.get("is_begun", False))
            if how == "write"
            else folder_to_read(path, limits)
        )
        with check as found:
            if swap := case.get("swap"):
                Path(place[swap[0]]).rename(Path(place[swap[0]] + "-moved"))
                Path(place[swap[0]]).symlink_to(place[swap[1]])
            tree = Tree(path)
            try:
                found.require_same(tree)
            finally:
                tree.close()
            if "warns" in case:
                assert bool(found.warnings()) is case["warns"]
    except BadRequest as error:
        return error.code, str(error), error.hint
    return OK, "", ""


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_typed_folder_is_taken_or_refused_in_one_sentence(
    case: dict[str, Any], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(place, case)
    if case.get("hangs"):
        hang(place, monkeypatch)

    with as_said(case):
        said = {how: try_it(case, place, how) for how in ("write", "read") if how in case}

    assert {how: code for how, (code, _, _) in said.items()} == {how: case[how] for how in said}
    for how, (code, sentence, hint) in said.items():
        wanted = case.get(f"{how}_hint", case.get("hint", ""))
        assert code == OK or case.get("says", "") in sentence
        assert code == OK or (hint and place[wanted] in hint)
        assert code == OK or (sentence.endswith(".") and sentence.isprintable())


def hang(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the disk not answer until the end of the test."""
    answered = threading.Event()
    place.undo.callback(answered.set)

    def stat(*_: object, **__: object) -> None:
        answered.wait()
        raise FileNotFoundError

    monkeypatch.setattr(typed_walk, "_PATIENCE_S", 0.01)
    hanging = SimpleNamespace(**vars(os) | {"stat": stat})
    monkeypatch.setattr(typed_walk, "os", hanging)


def test_a_check_leaves_nothing_behind(place: Place) -> None:
    good = Path(place["{good}"])

    with folder_to_write(good, bounds(place, {})) as found:
        assert not list(good.iterdir())

    assert found.warnings(10**18)[-1].endswith(" MB are free.")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(found.descriptor)


def test_outside_the_roots_nobody_learns_what_is_there(place: Place) -> None:
    limits = bounds(place, {"confined": True})
    there, nothing = place["{outside}"], place["{base}/not-there"]

    said = set()
    for path in (there, nothing):
        with pytest.raises(BadRequest) as refused, folder_to_read(Path(path), limits):
            pass
        said.add(str(refused.value).replace(path, "X") + refused.value.hint)

    assert len(said) == 1


def test_who_is_on_the_host_may_name_any_folder_and_links_above_the_innermost_root(
    place: Place,
) -> None:
    base = Path(place["{base}"])
    (base / "linked").symlink_to(place["{root}"])
    inner = base / "linked" / "good"
    limits = Bounds(roots=(base, inner, base / "linked"), tree=Path(place["{tree}"]))

    with folder_to_write(inner, limits):
        pass
    with folder_to_write(Path(place["{outside}"]), bounds(place, {})):
        pass
    with (
        pytest.raises(BadRequest, match="leads through the link"),
        folder_to_read(inner, Bounds(roots=(base,), tree=limits.tree)),
    ):
        pass


def test_a_file_that_is_called_as_one_of_ours_makes_no_backup_path(place: Place) -> None:
    Path(place["{root}"], "format").write_text("A4, landscape\n")

    with folder_to_write(Path(place["{good}"]), bounds(place, {})) as found:
        # What is needed fits to the byte.
        assert found.warnings(found.room.bytes) == found.warnings()


def test_the_usual_roots_are_the_folders_of_mounts() -> None:
    assert list(map(str, typed.USUAL_ROOTS)) == ["/mnt", "/srv", "/media"]
