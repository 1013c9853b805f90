"""A tree that has not come to its end: an export, which nobody may take for a backup until then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.provisioning import Format, spell_format

ROLE: Final = "export"


def begin(root: Path, form: Format) -> None:
    """Make a tree in an empty folder that says of itself that it is incomplete."""
    tree = Tree(root)
    try:
        with tree.locked_alone(), tree.staging(ROLE):
            tree.replace(layout.FORMAT, spell_format(form), role=ROLE)
    finally:
        tree.close()


def finish(tree: Tree, form: Format) -> Format:
    """Let a tree be a backup from now on, once all of it is durable; return its new `format`.

    The caller is its writer.
    """
    complete = replace(form, incomplete="")
    tree.replace(layout.FORMAT, spell_format(complete), role=ROLE)
    tree.discard(layout.RESERVE)
    return complete
