"""The floors of the house and its other rules, proved by reading the source.

Each rule is a function from one module to the problems found in it. `test_a_rule_catches` shows
every rule a module that breaks it, so no rule can pass by seeing nothing.
"""

from __future__ import annotations

import ast
import gc
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.modules import Module, functions, is_inside, statements

ROOT = Path(__file__).resolve().parent.parent

MODULE_LINES = 400
FUNCTION_LINES = 40

# Lowest first. A room imports from its own floor only itself, and anything from below.
FLOORS = (
    ("backupng.engine.errors",),
    ("backupng.engine.model",),
    ("backupng.engine.redolog", "backupng.engine.backuppath"),
    ("backupng.engine.catalog", "backupng.engine.mailserver"),
    ("backupng.engine.scan", "backupng.engine.restore", "backupng.engine.upkeep"),
    ("backupng.engine.operations", "console.capture", "console.timetable"),
    ("console.models", "console.properties", "console.hosting"),
    ("console.migrations", "console.roles", "console.bells", "console.database"),
    ("console.access", "console.progress", "console.outcomes", "console.charts"),
    ("console.audit", "console.connect", "console.telling", "console.calendar", "console.standing"),
    ("console.remedies",),
    ("console.letter",),
    ("console.browse", "console.notify", "console.overview", "console.logbook"),
    ("console.alerting",),
    ("console.suspicion",),
    ("console.queue", "console.supervisor", "console.housekeeping"),
    ("console.asking", "console.scheduling", "console.ledger"),
    ("console.wizard", "console.scanner"),
    ("console.forms", "console.cosflags", "console.summary"),
    ("console.transfers",),
    ("console.wizards",),
    ("console.tasks", "console.templatetags", "console.again", "console.looking"),
    ("console.verdict",),
    ("console.views", "console.management", "console.cli"),
    ("console.urls", "console.apps"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Packages whose import would open every room at once.
WHOLE_HOUSES = {"backupng", "backupng.engine", "console"}

CLIENTS = {"ldap3", "pymysql"}
CLIENTS_ROOM = "backupng.engine.mailserver.zimbra"

TREE_READERS = tuple(
    f"backupng.engine.{room}" for room in ("backuppath", "scan", "restore", "upkeep", "operations")
)
DOORS = (
    *("fsio", "casing", "folders", "disk", "ground", "removal", "sharing", "typed", "typed_walk"),
)
TREE_DOORS = tuple(f"backupng.engine.backuppath.{door}" for door in DOORS)
FILE_MODULES = {"shutil", "tempfile", "fileinput", "mmap"}
OS_CALLS = {
    *("open", "fdopen", "write", "writev", "pwrite", "rename", "renames", "replace", "link"),
    *("symlink", "unlink", "remove", "rmdir", "removedirs", "mkdir", "makedirs", "mkfifo"),
    *("truncate", "ftruncate", "fsync", "fdatasync", "sync", "chmod", "fchmod", "utime"),
}
PATH_CALLS = {
    *("read_text", "read_bytes", "write_text", "write_bytes", "rmdir"),
    *("symlink_to", "hardlink_to"),
}
# fsio has methods of these names, with other arguments: what counts is pathlib's way to call them.
PATH_CALL_POSITIONALS = {"touch": {0}, "unlink": {0}, "mkdir": {0}, "rename": {1}, "replace": {1}}

BUILT_BY_CONNECT = (
    "backupng.engine.backuppath",
    "backupng.engine.mailserver.sandbox",
    "backupng.engine.mailserver.zimbra",
)

VAGUE_NAMES = {"utils", "helpers", "common", "services", "managers"}


Rule = Callable[[Module], list[str]]


def _room(name: str) -> str | None:
    """Return the room that holds `name`."""
    return next((room for room in FLOOR_OF if is_inside(name, room)), None)


def every_module_has_a_room(module: Module) -> list[str]:
    placed = module.name in WHOLE_HOUSES or _room(module.name)
    project = module.lies_in("backupng") and not module.lies_in("backupng.engine")
    return [] if placed or project else [f"{module.name} has no place in FLOORS"]


def imports_go_down(module: Module) -> list[str]:
    home = _room(module.name)
    if home is None:
        return []
    return [
        module.at(found.line, f"{home} imports {found.target}")
        for found in module.imports
        if found.target in WHOLE_HOUSES
        or ((room := _room(found.target)) not in (None, home) and not _is_below(room, home))
    ]


def _is_below(room: str | None, home: str) -> bool:
    return room is not None and FLOOR_OF[room] < FLOOR_OF[home]


def engine_is_pure(module: Module) -> list[str]:
    if not module.lies_in("backupng.engine"):
        return []
    return [
        module.at(found.line, f"the engine imports {found.target}")
        for found in module.imports
        if found.target.partition(".")[0] in {"django", "console", "backupng"}
        and not is_inside(found.target, "backupng.engine")
    ]


def clients_stay_in_their_room(module: Module) -> list[str]:
    if module.lies_in(CLIENTS_ROOM):
        return []
    return [
        module.at(found.line, f"imports {found.target} outside {CLIENTS_ROOM}")
        for found in module.imports
        if found.target.partition(".")[0] in CLIENTS
    ]


def only_fsio_touches_the_tree(module: Module) -> list[str]:
    if not module.lies_in(*TREE_READERS) or module.lies_in(*TREE_DOORS):
        return []
    imported = [
        module.at(found.line, f"imports {found.target}")
        for found in module.imports
        if found.target.partition(".")[0] in FILE_MODULES
        or found.target in {f"os.{call}" for call in OS_CALLS} | {"io.open"}
    ]
    called = [
        module.at(node.lineno, f"calls {ast.unparse(node.func)}")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and _touches_files(node)
    ]
    return imported + called


def _touches_files(call: ast.Call) -> bool:
    match call.func:
        case ast.Name(id=name):
            return name == "open"
        case ast.Attribute(value=ast.Name(id="os"), attr=name):
            return name in OS_CALLS
        case ast.Attribute(value=ast.Name(id="io"), attr="open"):
            return True
        case ast.Attribute(attr="open"):
            return _is_path_open(call)
        case ast.Attribute(attr=name):
            positionals = PATH_CALL_POSITIONALS.get(name, set())
            return name in PATH_CALLS or _has_path_arguments(call, positionals)
    return False


def _is_path_open(call: ast.Call) -> bool:
    """Tell `path.open("rb")` from `BackupPath.open(root)`: only the first begins with a mode."""
    if not call.args:
        return True
    mode = call.args[0]
    return isinstance(mode, ast.Constant) and bool(re.fullmatch("[rwaxbt+]+", str(mode.value)))


def _has_path_arguments(call: ast.Call, positionals: set[int]) -> bool:
    named = {keyword.arg for keyword in call.keywords}
    return len(call.args) in positionals and named <= {"missing_ok", "parents", "exist_ok", "mode"}


def connect_is_the_only_door(module: Module) -> list[str]:
    if not module.lies_in("console") or module.lies_in("console.connect"):
        return []
    return [
        module.at(found.line, f"imports {found.target}, which only console.connect builds")
        for found in module.imports
        if any(is_inside(found.target, room) for room in BUILT_BY_CONNECT)
        and not (found.only_types and module.lies_in("console.cli", "console.management"))
    ]


def imports_are_absolute(module: Module) -> list[str]:
    return [
        module.at(node.lineno, "relative import")
        for node in statements(module.tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]


def imports_stand_at_the_top(module: Module) -> list[str]:
    return [
        module.at(node.lineno, f"import inside {function.name}")
        for function in functions(module)
        for node in statements(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def modules_are_short(module: Module) -> list[str]:
    lines = len(module.source.splitlines())
    written_by_django = module.lies_in("console.migrations")
    fits = written_by_django or lines <= MODULE_LINES
    return [] if fits else [f"{module.name} has {lines} lines, more than {MODULE_LINES}"]


def functions_are_short(module: Module) -> list[str]:
    return [
        module.at(node.lineno, f"{node.name} has {lines} lines, more than {FUNCTION_LINES}")
        for node in functions(module)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]


def names_say_whatis_inside(module: Module) -> list[str]:
    vague = VAGUE_NAMES.intersection(module.name.split("."))
    return [f"{module.name} is called {name}" for name in sorted(vague)]


HOUSE_RULES: tuple[Rule, ...] = (
    every_module_has_a_room,
    imports_go_down,
    engine_is_pure,
    clients_stay_in_their_room,
    only_fsio_touches_the_tree,
    connect_is_the_only_door,
    names_say_whatis_inside,
)
# Tests and the scripts at the top keep these too.
TEXT_RULES: tuple[Rule, ...] = (
    imports_are_absolute,
    imports_stand_at_the_top,
    modules_are_short,
    functions_are_short,
)


@cache
def _read(path: Path) -> Module:
    words = path.relative_to(ROOT).with_suffix("").parts
    if words[-1] == "__init__":
        words = words[:-1]
    return Module(".".join(words), path.read_text(encoding="utf-8"))


def _house() -> list[Module]:
    return [_read(path) for top in ("backupng", "console") for path in (ROOT / top).rglob("*.py")]


def _all_texts() -> list[Module]:
    outside = [ROOT / "run", ROOT / "manage.py", *(ROOT / "tests").rglob("*.py")]
    return _house() + [_read(path) for path in outside]


def _problems(rule: Rule, modules: list[Module]) -> list[str]:
    return sorted(problem for module in modules for problem in rule(module))


@pytest.fixture(scope="module", autouse=True)
def keeping_all() -> Iterator[None]:
    """Look for no garbage meanwhile: the trees, of which none is, took three times as long."""
    gc.disable()
    yield
    _read.cache_clear()
    gc.enable()


@pytest.mark.parametrize("rule", HOUSE_RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(rule: Rule) -> None:
    assert _problems(rule, _house()) == []


@pytest.mark.parametrize("rule", TEXT_RULES, ids=lambda rule: rule.__name__)
def test_every_text_keeps(rule: Rule) -> None:
    assert _problems(rule, _all_texts()) == []


E = "backupng.engine"
TYPED = "if TYPE_CHECKING:\n    "
LONG_FUNCTION = "def f():\n" + "    x = 1\n" * FUNCTION_LINES
BROKEN: tuple[tuple[Rule, str, str], ...] = (
    (every_module_has_a_room, f"{E}.cellar", ""),
    (every_module_has_a_room, "console.cellar.shelf", ""),
    (imports_go_down, f"{E}.errors", f"from {E}.model import ItemId"),
    (imports_go_down, f"{E}.redolog.reader", f"from {E}.backuppath.store import BackupPath"),
    (imports_go_down, f"{E}.scan", f"import {E}.operations.base as base"),
    (imports_go_down, f"{E}.restore.select", f"{TYPED}from {E} import upkeep"),
    (imports_go_down, f"{E}.scan", "from backupng import engine"),
    (imports_go_down, "console.models", "from console import queue"),
    (imports_go_down, "console.views.accounts", "from console.cli import main"),
    (engine_is_pure, f"{E}.model", "from django.utils import timezone"),
    (engine_is_pure, f"{E}.operations.base", "import console"),
    (engine_is_pure, f"{E}.operations.base", "from backupng import settings"),
    (clients_stay_in_their_room, f"{E}.mailserver.port", "import pymysql.cursors"),
    (clients_stay_in_their_room, "console.connect", "from ldap3 import Server"),
    (only_fsio_touches_the_tree, f"{E}.backuppath.store", "open('x')"),
    (only_fsio_touches_the_tree, f"{E}.backuppath.store", "os.open('x', os.O_RDONLY)"),
    (only_fsio_touches_the_tree, f"{E}.backuppath.store", "path.open('ab')"),
    (only_fsio_touches_the_tree, f"{E}.scan.realtime", "path.write_text('x')"),
    (only_fsio_touches_the_tree, f"{E}.scan.realtime", "(folder / 'x').unlink(missing_ok=True)"),
    (only_fsio_touches_the_tree, f"{E}.restore.raw", "os.rename('x', 'y')"),
    (only_fsio_touches_the_tree, f"{E}.restore.raw", "path.rename(other)"),
    (only_fsio_touches_the_tree, f"{E}.operations.purge", "import shutil"),
    (only_fsio_touches_the_tree, f"{E}.operations.purge", "from os import fsync"),
    (connect_is_the_only_door, "console.views", f"from {E}.backuppath.store import BackupPath"),
    (connect_is_the_only_door, "console.queue", f"from {E}.mailserver import sandbox"),
    (connect_is_the_only_door, "console.queue", f"{TYPED}from {E}.mailserver import sandbox"),
    (connect_is_the_only_door, "console.cli", f"from {E}.mailserver import sandbox"),
    (names_say_whatis_inside, "console.utils", ""),
    (names_say_whatis_inside, f"{E}.scan.helpers.rows", ""),
    (imports_are_absolute, "console.queue", "from . import models"),
    (imports_stand_at_the_top, "console.queue", "def f():\n    import json"),
    (modules_are_short, "console.queue", "x = 1\n" * (MODULE_LINES + 1)),
    (functions_are_short, "console.queue", LONG_FUNCTION),
)
KEPT: tuple[tuple[Rule, str, str], ...] = (
    (every_module_has_a_room, "backupng.settings", ""),
    (imports_go_down, f"{E}.scan.realtime", f"from {E}.scan.account import rows"),
    (imports_go_down, "console.queue", f"from {E}.operations.base import Operation"),
    (engine_is_pure, f"{E}.model", f"from {E}.errors import BackupError"),
    (clients_stay_in_their_room, f"{E}.mailserver.zimbra.database", "import pymysql"),
    (only_fsio_touches_the_tree, f"{E}.backuppath.fsio", "open('x')"),
    (only_fsio_touches_the_tree, f"{E}.backuppath.store", "tree.unlink(path)"),
    (only_fsio_touches_the_tree, f"{E}.operations.purge", "BackupPath.open(root)"),
    (only_fsio_touches_the_tree, f"{E}.operations.purge", "name.replace('a', 'b')"),
    (connect_is_the_only_door, "console.connect", f"from {E}.mailserver import sandbox"),
    (connect_is_the_only_door, "console.cli", f"{TYPED}from {E}.mailserver import sandbox"),
    (imports_stand_at_the_top, "console.queue", f"{TYPED}import json"),
)


@pytest.mark.parametrize(("rule", "name", "source"), BROKEN)
def test_a_rule_catches(rule: Rule, name: str, source: str) -> None:
    assert rule(Module(name, source))


@pytest.mark.parametrize(("rule", "name", "source"), KEPT)
def test_a_rule_allows(rule: Rule, name: str, source: str) -> None:
    assert rule(Module(name, source)) == []
