"""As a program: a supervisor of the programs that a file names, in the main thread as it must be.

`python -m tests.console.keeping FOLDER GRACE`: `FOLDER/wanted.json` holds programs by name, a file
`FOLDER/hangs` the name of one that is to be replaced.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from console.supervisor import Patience, Service, StopSignal, Supervisor

_LOOK_EVERY_S = 0.05


def main(folder: Path, grace_s: float) -> None:
    supervisor = Supervisor(
        StopSignal(),
        logs=folder,
        say=lambda text: print(text, file=sys.stderr, flush=True),  # noqa: T201
        patience=Patience(grace_s=grace_s, first_pause_s=0.2),
    )
    threading.Thread(target=follow, args=(supervisor, folder), daemon=True).start()
    supervisor.run()


def follow(supervisor: Supervisor, folder: Path) -> None:
    """Tell the supervisor what the files say."""
    while True:
        programs = json.loads((folder / "wanted.json").read_text())
        supervisor.want(
            Service(name=name, command=(sys.executable, "-c", program))
            for name, program in programs.items()
        )
        if (hanging := folder / "hangs").exists():
            supervisor.replace(hanging.read_text())
            hanging.unlink()
        time.sleep(_LOOK_EVERY_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
