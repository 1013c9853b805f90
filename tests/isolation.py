"""Give each test process a data folder of its own; loaded before Django reads its settings.

The paths of programs that tests start follow from the environment set here.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile

DATA = tempfile.mkdtemp(prefix="backupng-tests-")
atexit.register(shutil.rmtree, DATA, ignore_errors=True)

# A shell has what it starts in the background ignore Ctrl+C, and so would all that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["BACKUPNG_DATA"] = DATA
# Plain HTTP, as in the demo: the test client and the browser reach the console without TLS.
os.environ["BACKUPNG_TLS"] = "false"
