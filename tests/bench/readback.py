"""Reads the living items of one account from a Backup Path to files: PATH ACCOUNT TARGET."""

from __future__ import annotations

import sys
from pathlib import Path

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import AccountId
from backupng.engine.restore.select import ALL_TIME, select_account


def read_back(root: Path, account: AccountId, target: Path) -> None:
    """Select as a restore does and write each item's content to a file."""
    with BackupPath.open(root) as path:
        selection = select_account(path, account, ALL_TIME)
        read = 0
        for state in selection.states():
            read += 1
            if state.digest is not None:
                with (target / f"{state.item_id}.eml").open("wb") as file:
                    file.writelines(path.blob(state.digest))
        if selection.unreadable or not read:
            raise RuntimeError(f"{account} did not come back whole")


if __name__ == "__main__":
    read_back(Path(sys.argv[1]), AccountId(sys.argv[2]), Path(sys.argv[3]))
