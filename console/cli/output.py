"""What the command line prints (`cli.md` §5, §6) and the exit status (§3). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from backupng.engine.catalog.spool import Spool
from backupng.engine.errors import BackupError
from backupng.engine.model import from_ms
from backupng.engine.operations.words import DATE_FORMAT
from console.letter import layout

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_LOSSES = 5
EXIT_USAGE = 64
EXIT_UNREACHABLE = 69
EXIT_NOT_ALLOWED = 77
EXIT_LEFT = 130

_EXIT_OF_STATE = {"successful": 0, "failed": 1, "stopped": 2, "removed": 3, "interrupted": 4}
_UNREACHABLE = frozenset({"server_unreachable", "service_stopped", "database_not_ready"})
_REFUSED = frozenset(
    {
        "usage", "no_such_command", "no_such_module", "bad_value", "no_such_account",
        "ambiguous_account", "no_such_domain", "no_such_cos", "no_such_item", "no_such_volume",
        "no_such_operation", "before_first_backup", "date_in_future", "bad_period", "path_missing",
        "path_not_readable", "path_not_writable", "path_not_empty", "path_not_a_backup",
        "path_not_allowed", "path_in_use", "path_case_insensitive", "path_damaged",
        "unsupported_format", "blobless_dataset", "not_initialized", "version_mismatch",
        "already_exists", "already_ended", "not_confirmed", "check_failed",
    }
)  # fmt: skip
_INDENT = " " * 8
_GAP = 3
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_KEPT_UNDERSCORES = frozenset({"start_date", "end_date"})
_DATES = frozenset(
    {
        "created",
        "deleted",
        "queuedTime",
        "startTime",
        "queued at",
        "started at",
        "ended at",
    }
)
_DATE_ENDINGS = ("_date", "_moment", "_started", "_ended")
_SIZES = frozenset(
    {
        *("size", "free_bytes", "available_space_for_metadata", "available_space_for_blobs"),
        *("blob_bytes", "blob_bytes_compressed"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one host answers: a response, an error, or both when an operation ended badly."""

    host: str
    response: dict[str, Any] | None = None
    error: BackupError | None = None
    exit_status: int = EXIT_OK
    text: Iterable[str] | bytes | None = None
    """What text mode prints in place of the response's tree, whole or bit by bit."""


def exit_of_error(error: BackupError, *, before_start: bool = False) -> int:
    """Return the exit status of an error; `before_start` when a check refused an operation."""
    if error.code in _UNREACHABLE:
        return EXIT_UNREACHABLE
    if error.code == "not_allowed":
        return EXIT_NOT_ALLOWED
    return EXIT_USAGE if before_start or error.code in _REFUSED else EXIT_FAILED


def exit_of_state(state: str, *, losses: bool, compat: bool = False) -> int:
    """Return the exit status of an ended operation under `--sync`."""
    if state == "successful" and losses and not compat:
        return EXIT_LOSSES
    return _EXIT_OF_STATE[state]


def refusal(host: str, error: BackupError, *, before_start: bool = False) -> Answer:
    """Return the answer of a host that says no."""
    status = exit_of_error(error, before_start=before_start)
    return Answer(host=host, error=error, exit_status=status, text="")


def envelope(answers: Sequence[Answer]) -> str:
    """Spell answers as the one line of `--json`."""
    return "".join(envelope_parts(answers))


def envelope_parts(answers: Sequence[Answer]) -> Iterator[str]:
    """Yield that line bit by bit."""
    return _json({each.host: _body(each) for each in answers})


def error_text(error: BackupError) -> str:
    """Spell an error as the one or two lines of standard error."""
    lines = [f"Error: {_clean(str(error))}"]
    if error.hint:
        lines.append(f"Hint: {_clean(error.hint)}")
    return "\n".join(lines) + "\n"


def tree(response: Mapping[str, Any], zone: ZoneInfo) -> str:
    """Spell a response as the tree of text mode; dates in `zone`."""
    return "".join(f"{line}\n" for line in _lines(response, zone))


def listing(name: str, entries: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> Iterator[str]:
    """Yield a list as the tree has it, entry by entry."""
    yield f"{_label(name)}\n"
    for number, entry in enumerate(entries):
        yield ("\n" if number else "") + indented(tree(entry, zone))


def indented(text: str) -> str:
    """Move a text one level into the tree."""
    return "".join(f"{_INDENT}{line}".rstrip() + "\n" for line in text.splitlines())


def spell_value(key: str, value: Any, zone: ZoneInfo) -> str:
    """Spell one value the way `cli.md` §5 says."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and (key in _DATES or key.endswith(_DATE_ENDINGS)):
        return from_ms(value).astimezone(zone).strftime(DATE_FORMAT)
    if isinstance(value, int) and (key in _SIZES or key.startswith("bytes ")):
        return f"{value} ({_readable(value)})"
    if isinstance(value, list | tuple):
        return ", ".join(spell_value(key, each, zone) for each in value)
    return "" if value is None else _clean(str(value))


def _json(value: Any) -> Iterator[str]:
    """Yield a value as JSON; of a list that does not fit into memory, row by row."""
    if isinstance(value, Mapping):
        opening = "{"
        for key, below in value.items():
            yield f"{opening}{json.dumps(str(key), ensure_ascii=False)}: "
            yield from _json(below)
            opening = ", "
        yield "{}" if opening == "{" else "}"
    elif isinstance(value, Spool):
        opening = "["
        for line in value.lines():
            yield f"{opening}{line}"
            opening = ", "
        yield "[]" if opening == "[" else "]"
    else:
        yield json.dumps(value, ensure_ascii=False, default=str)


def _body(answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = {"ok": answer.error is None}
    if answer.response is not None:
        body["response"] = answer.response
    if answer.error is not None:
        body["error"] = {
            "code": answer.error.code,
            "message": str(answer.error),
            "hint": answer.error.hint,
            "details": answer.error.details,
        }
    return body


def _lines(block: Mapping[str, Any], zone: ZoneInfo) -> Iterator[str]:
    plain = [_label(key) for key, value in block.items() if not _is_group(value)]
    width = max(map(len, plain), default=0) + _GAP
    for key, value in block.items():
        if not _is_group(value):
            yield f"{_label(key).ljust(width)}{spell_value(key, value, zone)}".rstrip()
            continue
        yield _label(key)
        entries = [value] if isinstance(value, Mapping) else value
        for number, entry in enumerate(entries):
            if number:
                yield ""
            yield from (f"{_INDENT}{line}".rstrip() for line in _lines(entry, zone))


def _is_group(value: Any) -> bool:
    """A mapping, or a list of mappings."""
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], Mapping)
    return isinstance(value, Mapping)


def _label(key: str) -> str:
    return _clean(key if key in _KEPT_UNDERSCORES else key.replace("_", " "))


def _clean(text: str) -> str:
    """Make characters visible that could move the cursor or colour the terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def _readable(size_bytes: int) -> str:
    """Spell a size as pages and mails do: base 10."""
    return f"{size_bytes} bytes" if size_bytes < 1000 else layout.size(size_bytes)
