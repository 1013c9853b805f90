"""Give each test process a data folder of its own; loaded before Django reads its settings.

The paths of programs that tests start follow from the environment set here.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

DATA = tempfile.mkdtemp(prefix="backupng-tests-")
atexit.register(shutil.rmtree, DATA, ignore_errors=True)

os.environ["BACKUPNG_DATA"] = DATA
# Plain HTTP, as in the demo: the test client and the browser reach the console without TLS.
os.environ["BACKUPNG_TLS"] = "false"
