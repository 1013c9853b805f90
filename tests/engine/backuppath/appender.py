"""A program that appends to one account: the changes 1 to CHANGES of each of its items, in order.

appender.py FOLDER ROLE CHANGES ITEM...

Each change is a group of its own, so two of these meet again and again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.engine.backuppath.samples import add_message, new_path


def main(root: Path, role: str, changes: int, items: list[int]) -> None:
    """Append every change of every item."""
    with new_path(root) as path, path.writer(role) as writer:
        for mod in range(1, changes + 1):
            for item in items:
                add_message(writer, f"change {mod} of {item}".encode(), item, mod)
            writer.commit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), [int(item) for item in sys.argv[4:]])
