"""`manage.py sandboxplay`: somebody is always at work on the sandboxes of this host, slowly."""

from __future__ import annotations

import logging
import secrets
import signal
import threading
from contextlib import suppress
from typing import Any

from django.db import DatabaseError, InterfaceError, connections
from django.utils import timezone

from backupng.engine.errors import BackupError
from backupng.engine.model import to_ms
from console import connect, hosting
from console.management.base import HostCommand
from console.models import Server

logger = logging.getLogger(__name__)

_EVERY_S = 4.0
_SEED_BITS = 31


class Command(HostCommand):
    """Plays until a signal comes."""

    help = "Let users work on the sandboxes of this host: about one change every few seconds."

    def handle(self, **_options: Any) -> None:
        """Let one user of each sandbox in turn do one thing, and wait."""
        self.prepare()
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _signal, _frame: ended.set())
        self.stderr.write("sandboxplay: at work")
        while not ended.wait(_EVERY_S):
            try:
                _play_once()
            except (BackupError, DatabaseError, InterfaceError) as error:
                logger.warning("nobody could work: %s", error)
            finally:
                with suppress(DatabaseError, InterfaceError):
                    connections.close_all()


def _play_once() -> None:
    """Draw a sandbox of this host, and let somebody do something there."""
    mine = Server.objects.filter(kind=connect.SANDBOX, identity__in=("", hosting.identity()))
    names = list(mine.values_list("name", flat=True))
    if not names:
        return
    with connect.sandbox(secrets.choice(names)) as client:
        act = client.play(seed=secrets.randbits(_SEED_BITS)).step(now_ms=to_ms(timezone.now()))
        logger.debug("somebody did: %s", act)
