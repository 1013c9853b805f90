"""What belongs to this host: its identity, kernel locks, end journals, the process of an operation.

<data>/state/host             who this host is: a random UUID
<data>/state/<name>.lock      held by the one drain of a server, and by its operation
<data>/state/<name>.worker    held by a worker for its life
<data>/state/<name>.scanner   held by a Real-Time Scanner for its life, and by its process
<data>/state/{wal,post,tidy}  held by the one process of this host that does such work
<data>/state/<uuid>.end       the end of an operation that the database may not know yet
<data>/state/log/<uuid>.log   what an operation logged
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import pwd
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.utils import timezone

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.2
_LEVELS = ("INFO", "WARNING")
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters, and what some readers take for the end of a line."""
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")
"""What PostgreSQL has no place for: the character 0 and halves of characters."""
_PASSED_ON = (
    *("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ"),
    *("PYTHONPATH", "LD_LIBRARY_PATH"),
)
"""Variables that an operation's process gets: what database and web need is not for it."""


def state_folder() -> Path:
    """Return the folder of everything above, made if it is missing."""
    folder: Path = settings.DATA_DIR / "state"
    folder.mkdir(mode=0o750, exist_ok=True)
    return folder


def identity() -> str:
    """Return this host's identity; the first process to ask makes it."""
    path = state_folder() / "host"
    with suppress(FileNotFoundError):
        return path.read_text(encoding="ascii").strip()
    with _durable_draft(path) as file:
        file.write(f"{uuid.uuid4()}\n".encode())
    # A link, unlike a rename, never replaces the identity a faster process made.
    with suppress(FileExistsError):
        os.link(file.name, path)
    os.unlink(file.name)
    _sync_folder(path.parent)
    return path.read_text(encoding="ascii").strip()


def runner() -> dict[str, Any]:
    """Return who runs an operation: host, its boot, process."""
    return {"identity": identity(), "boot_id": boot_id(), "pid": os.getpid()}


def user_name() -> str:
    """Return the name of the user whom this process belongs to."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def boot_id() -> str:
    """Return what changes whenever the host starts anew."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def zone() -> str:
    """Return the name of this host's time zone, UTC if it does not tell."""
    linked = os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    for name in (settings.HOST_TIME_ZONE, linked):
        with suppress(ZoneInfoNotFoundError, ValueError):
            found = ZoneInfo(name).key
            return "UTC" if found == "Etc/UTC" else found
    return "UTC"


# Locks


@contextmanager
def locked(name: str) -> Iterator[int | None]:
    """Hold a kernel lock and yield its descriptor, or None if someone else holds it.

    Whoever inherits the descriptor holds the lock too; it ends with the last of them.
    """
    descriptor = os.open(state_folder() / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def is_locked(name: str) -> bool:
    """Say whether somebody holds the lock; a look may make a taker of that very moment fail."""
    try:
        descriptor = os.open(state_folder() / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def queue_lock(server: str) -> str:
    """Return the name of the lock under which a server's queue is drained."""
    return f"{quote(server, safe='')}.lock"


def worker_lock(server: str) -> str:
    """Return the name of the lock that the worker of a server holds for its life."""
    return f"{quote(server, safe='')}.worker"


def scanner_lock(server: str) -> str:
    """Return the name of the lock that the scanner of a server holds for its life."""
    return f"{quote(server, safe='')}.scanner"


START = "BACKUPNG_START"
"""The variable that names a start of the backup: all services of one start inherit it."""
WAL_LOCK = "wal"
"""The lock of who moves SQLite's log into its database: two at once may damage both."""
POST_LOCK = "post"
"""The lock of who sends mails: a slow mail server keeps one process of this host, not all."""
TIDY_LOCK = "tidy"
"""The lock of who deletes what is too old."""


# End journals


def write_journal(operation: uuid.UUID, end: Mapping[str, Any]) -> None:
    """Keep an operation's end where neither a kill nor a lost database can undo it.

    Before that, what its first phase came to: `{"phase1": …}`.
    """
    path = _journal(operation)
    try:
        with _durable_draft(path) as file:
            file.write(json.dumps(end).encode())
        os.rename(file.name, path)
        _sync_folder(path.parent)
    except OSError:
        logger.exception("no journal can be written: %s", path)


def read_journal(operation: uuid.UUID) -> dict[str, Any] | None:
    """Return an operation's end, None if no journal tells it."""
    try:
        end = read_object(_journal(operation).read_bytes())
    except FileNotFoundError:
        return None
    if end is None:
        logger.warning("%s is no end journal", _journal(operation))
    return end


def remove_journal(operation: uuid.UUID) -> None:
    """Forget the journal: the database has it."""
    _journal(operation).unlink(missing_ok=True)


def journals() -> list[uuid.UUID]:
    """List the operations whose end journal is there."""
    return [uuid.UUID(path.stem) for path in state_folder().glob("*.end")]


def _journal(operation: uuid.UUID) -> Path:
    return state_folder() / f"{operation}.end"


@contextmanager
def _durable_draft(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file beside `path`; at the end its content is on disk."""
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# The process of an operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What the process is watched with: `progress` is called often, `ending` says when to stop.

    `phase1` is told once what the first phase of an import came to.
    """

    progress: Callable[[dict[str, Any]], None]
    ending: Callable[[], bool]
    phase1: Callable[[dict[str, Any]], None] = lambda _said: None


def execute(line: Mapping[str, Any], *, lock: int, watch: Watch) -> dict[str, Any] | None:
    """Run an operation in a process of its own and return its end event.

    None: it vanished without one. Call it from the main thread, which the process then dies with.
    The lock's descriptor goes along, so that even a stray process of it keeps the lock.
    """
    with (
        _log(line["operation"]["id"]) as log,
        subprocess.Popen(
            [sys.executable, "-m", "backupng.engine.operations"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.file,
            cwd=settings.BASE_DIR,
            env=engine_environment(),
            start_new_session=True,
            pass_fds=[lock],
        ) as process,
    ):
        try:
            log.add(f"{line['operation']['command']} begins in process {process.pid}.")
            _feed(process, line)
            end = _watch(process, log, watch)
            log.add(f"Ended: {end['state']}." if end else "The process ended without a word.")
            return end
        finally:
            # The session is named after the process, so it is ended before the name is free again.
            _signal(process, signal.SIGKILL)


def engine_environment() -> dict[str, str]:
    """Return the environment of a process of the engine."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def log_file(operation: uuid.UUID | str) -> Path:
    """Return where an operation's log lies; there is no file before it was started."""
    return state_folder() / "log" / f"{operation}.log"


@dataclass(frozen=True, slots=True)
class _Log:
    """The log of an operation: `2026-11-25T20:40:01.123Z INFO text`, one entry a line.

    What the process prints by itself, such as the trace of a defect, goes there as it comes.
    """

    file: IO[bytes]

    def add(self, text: str, *, level: str = "INFO") -> None:
        moment = timezone.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        known = level if level in _LEVELS else _LEVELS[0]
        entry = f"{moment} {known} {_NO_TEXT.sub(_escape, text)}\n"
        try:
            self.file.write(entry.encode("utf-8", "backslashreplace"))
        except OSError as error:
            # A full disk must not end the operation, too.
            logger.warning("an entry of a log is lost: %s", error)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


@contextmanager
def _log(operation: str) -> Iterator[_Log]:
    path = log_file(operation)
    path.parent.mkdir(mode=0o750, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        yield _Log(file)


def _feed(process: subprocess.Popen[bytes], line: Mapping[str, Any]) -> None:
    with suppress(BrokenPipeError), cast("IO[bytes]", process.stdin) as stdin:
        stdin.write(json.dumps(line).encode())


def _watch(process: subprocess.Popen[bytes], log: _Log, watch: Watch) -> dict[str, Any] | None:
    """Read events up to the end event and return it; None if the process ended without one."""
    kill_at = 0.0
    for event in _events(process):
        match event:
            case {"event": "progress"}:
                watch.progress({key: event[key] for key in ("phase", "done", "total", "counts")})
            case {"event": "log", "line": text, "level": level}:
                log.add(text, level=level)
            case {"event": "phase1", "said": dict() as said}:
                watch.phase1(said)
            case {"event": "end"}:
                return event
        if watch.ending() and not kill_at:
            _signal(process, signal.SIGTERM)
            kill_at = time.monotonic() + settings.OPERATION_GRACE_S
        if kill_at and time.monotonic() >= kill_at:
            _signal(process, signal.SIGKILL)
    return None


def _events(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the events of the process, and every `_LOOK_EVERY_S` without one an empty one."""
    stdout = cast("IO[bytes]", process.stdout)
    waiting = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while True:
            gone = _is_gone(process)
            if not selector.select(0 if gone else _LOOK_EVERY_S):
                if gone:
                    return
                yield {}
                continue
            chunk = os.read(stdout.fileno(), 1 << 16)
            if not chunk:
                return
            *lines, waiting = (waiting + chunk).split(b"\n")
            yield from map(_parse_event, lines)


def _is_gone(process: subprocess.Popen[bytes]) -> bool:
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, look) is not None


def _parse_event(line: bytes) -> dict[str, Any]:
    event = read_object(line)
    if event is None:
        logger.warning("not an event of an operation: %r", line[:200])
        return {}
    return event


def read_object(text: bytes) -> dict[str, Any] | None:
    """Read an object of JSON as it can be stored; None for anything else."""
    try:
        found = storable(json.loads(text))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def storable(value: Any) -> Any:
    """Return a value of JSON as every database takes it: what it refuses is spelled in letters."""
    match value:
        case str():
            return _NOT_STORABLE.sub(_escape, value)
        case float() if not math.isfinite(value):
            return str(value)
        case list() | tuple():
            return [storable(each) for each in value]
        case dict():
            return {storable(str(name)): storable(each) for name, each in value.items()}
    return value


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
