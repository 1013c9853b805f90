"""The same as the `backupng` command: `python -m console.cli`."""

from __future__ import annotations

import sys

from console.cli import main

if __name__ == "__main__":
    sys.exit(main())
