"""The settings of every process, with less patience: for tests that wait for a worker's steps."""

from __future__ import annotations

from backupng.settings import *  # noqa: F403 - all of them are meant
from backupng.settings import Q_CLUSTER

Q_CLUSTER |= {"poll": 0.1, "guard_cycle": 0.1}
OPERATION_GRACE_S = 0.5
WORKER_SILENCE_S = 10.0  # a worker that starts on a busy machine is not to be taken for frozen
