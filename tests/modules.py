"""A module of the source, and what is found in it by reading."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

_TYPES_ONLY = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


@dataclass(frozen=True)
class Import:
    """One imported name, spelled out; `only_types` if it stands under TYPE_CHECKING."""

    target: str
    line: int
    only_types: bool


@dataclass(frozen=True)
class Module:
    """One module: dotted name and source text."""

    name: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def imports(self) -> list[Import]:
        typed = {
            id(node)
            for block in statements(self.tree)
            if isinstance(block, ast.If)
            and isinstance(block.test, ast.Name | ast.Attribute)
            and ast.unparse(block.test) in _TYPES_ONLY
            for part in block.body
            for node in statements(part)
        }
        return [
            Import(target, node.lineno, id(node) in typed)
            for node in statements(self.tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for target in _targets(node)
        ]

    def lies_in(self, *rooms: str) -> bool:
        return any(is_inside(self.name, room) for room in rooms)

    def at(self, line: int, problem: str) -> str:
        return f"{self.name}:{line}: {problem}"


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions of a module, methods included."""
    for node in statements(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield a tree and all statements in it, without their expressions: a tenth of its nodes."""
    yield tree
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        found = getattr(tree, part, None)
        for each in found if isinstance(found, list) else ():
            yield from statements(each)


def is_inside(name: str, room: str) -> bool:
    """Say whether a dotted name is a room or lies in it."""
    return name == room or name.startswith(room + ".")


def _targets(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module or ''}.{alias.name}" for alias in node.names]
