"""Keeps a server's scanner as its property has it: its process runs, or it does not."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from backupng.engine.errors import MailServerUnreachable
from console import connect, hosting
from console.models import Server
from console.scanner import alerts, switching
from console.scanner.process import ScannerProcess
from console.scanner.record import Recorder

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_LISTEN_S = 0.25
_REMIND_EVERY_S = 60.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
"""A process that ran so long is started again after the shortest pause."""
_ENDED = "The process of the scanner ended by itself; it is started again."
_NO_PATH = "The Backup Path does not exist yet: {path}."


class Keeper:
    """The service of one scanner. Make and keep it in the main thread, holding the lock.

    The property is read each second. While the database is away all goes on as it is.
    """

    def __init__(
        self, server: Server, *, lock: int, ending: Callable[[], bool], say: Callable[[str], None]
    ) -> None:
        self._server = server
        self._lock = lock
        self._ending = ending
        self._say = say
        self._process: ScannerProcess | None = None
        self._recorder: Recorder | None = None
        self._line: dict[str, Any] = {}
        self._pause_s = _FIRST_PAUSE_S
        self._started_at = 0.0
        self._not_before = 0.0
        self._next_reminder = 0.0
        self._answers = True
        self._halt = ""
        """Why it is halted, as far as the log has it already."""
        self._last_words = ""

    def keep(self) -> None:
        """Serve until the end is asked for. Raises MailServerUnreachable once another host has it.

        Then, and when the server's row is gone, the process is ended too.
        """
        next_look = 0.0
        try:
            while not self._ending():
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + _LOOK_EVERY_S
                    if not self._attempt(self._look):
                        return
                self._listen()
        finally:
            self._stop()
            if self._recorder is not None:
                self._recorder.ended("Its service is not running: backupng run starts it.")
                self._attempt(self._write)

    def _attempt(self, step: Callable[[], bool]) -> bool:
        """Take a step that needs the database; True also while that is away."""
        try:
            goes_on = step()
        except (DatabaseError, InterfaceError) as error:
            if self._answers:
                logger.warning("the database does not answer: %s", error)
            self._answers = False
            connection.close()
            return True
        self._answers = True
        return goes_on

    # Each second

    def _look(self) -> bool:
        """Do what the property says, and write what was heard; False when the server is gone."""
        found = Server.objects.filter(pk=self._server.pk).first()
        if found is None:
            return False
        if found.identity != hosting.identity():
            raise MailServerUnreachable(f"The server {found.name} belongs to another host.")
        self._server = found
        switching.notice(found)
        if self._recorder is None:
            self._recorder = Recorder(found)
        wanted = switching.is_wanted(found) and not switching.stands_aside(found)
        self._steer(wanted=wanted)
        self._write()
        if time.monotonic() >= self._next_reminder:
            alerts.remind(found, now=timezone.now())
            self._next_reminder = time.monotonic() + _REMIND_EVERY_S
        return True

    def _steer(self, *, wanted: bool) -> None:
        """Start, end or restart the process."""
        line = connect.scanner_line(self._server)
        if self._process is not None:
            if not wanted or _settled(line) != _settled(self._line):
                self._stop()
        elif wanted and time.monotonic() >= self._not_before:
            self._start(line)

    def _start(self, line: dict[str, Any]) -> None:
        if self._recorder is not None:
            self._recorder.write()
        self._recorder = Recorder(self._server)
        if not self._server.tree_id and not self._server.path.is_dir():
            self._recorder.idle(_NO_PATH.format(path=self._server.path))
            return
        self._line, self._started_at = line, time.monotonic()
        self._process = ScannerProcess(line, lock=self._lock)
        self._say(f"scanner: process {self._process.pid} follows {self._server}")

    def _write(self) -> bool:
        if self._recorder is not None:
            self._recorder.write()
        return True

    # Between

    def _listen(self) -> None:
        if self._process is None:
            time.sleep(_LISTEN_S)
            return
        for event in self._process.events(_LISTEN_S):
            self._hear(event)
        if self._process.is_over:
            self._bury()

    def _hear(self, event: dict[str, Any]) -> None:
        match event:
            case {"event": "log", "line": text, "level": level}:
                self._say(f"{level} {text}")
            case {"event": "halted", "reason": reason} if reason != self._halt:
                self._say(f"WARNING halted: {reason}")
                self._halt = reason
            case {"event": "end", "error": {"message": message}}:
                self._last_words = str(message)
            case {"event": "resumed"}:
                self._say("INFO resumed")
                self._halt = ""
            case {"event": "gap", "reason": reason}:
                self._say(f"WARNING gap: {reason}")
        if self._recorder is not None:
            self._recorder.take(event)

    def _bury(self) -> None:
        """Take leave of a process that has ended unasked; it is started again after a pause."""
        if self._process is None:
            return
        status, self._process = self._process.bury(), None
        if time.monotonic() - self._started_at >= _STEADY_S:
            self._pause_s = _FIRST_PAUSE_S
        self._not_before = time.monotonic() + self._pause_s
        self._say(f"WARNING the process ended with {status}; again in {self._pause_s:.0f} s")
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        if self._recorder is not None:
            why = self._last_words or _ENDED
            self._recorder.halted(why, hint="The log of the service says more.")
        self._last_words = ""

    def _stop(self) -> None:
        """Have the process end at its next safe point, and hear it out."""
        if self._process is None:
            return
        process, self._process = self._process, None
        for event in process.end():
            self._hear(event)
        self._say("scanner: the process has ended")


def _settled(line: dict[str, Any]) -> dict[str, Any]:
    """Return what a process must not outlive; that a tree is known by now is no such thing."""
    server = {name: value for name, value in line["server"].items() if name != "tree_id"}
    return line | {"server": server}


def say(text: str) -> None:
    """Add a line to the service's log, with its moment."""
    moment = timezone.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    sys.stderr.write(f"{moment} {text}\n")
    sys.stderr.flush()
