"""Module `redolog` of the command line: what a redo log file holds, record by record.

It needs neither a mail server nor the console: no data folder is touched, no database opened.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from backupng.engine.errors import BackupError, BadRequest
from backupng.engine.operations import parameters
from backupng.engine.operations.base import Command
from backupng.engine.redolog import header
from backupng.engine.redolog.cursor import Span
from backupng.engine.redolog.faults import BadRecord, UnreadableLog
from backupng.engine.redolog.reader import END, TRUNCATED, RedoLog
from backupng.engine.redolog.records import Record, Skipped, Stop
from console.cli import grammar, output
from console.cli import help as pages
from console.cli.grammar import Call, Usage
from console.cli.terminal import Terminal, drop_output

MODULE = "redolog"
_LOCALHOST = "localhost"
_CONTROL = re.compile(r"[\x7f-\x9f]")
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump(Command):
    """Print the records of a redo log file."""

    command: ClassVar[str] = "dump"
    title: ClassVar[str] = "Dump"
    summary: ClassVar[str] = (
        "Dump: prints the records of a redo log file, all or those from OFFSET on"
    )
    examples: ClassVar[tuple[str, ...]] = (
        "backupng redolog dump /opt/zimbra/redolog/redo.log",
        "backupng redolog dump redo.log from 38012",
    )
    aliases: ClassVar[dict[str, str]] = {"from": "offset"}

    file: str
    offset: int = header.SIZE

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield what `--json` prints, a line at a time; the last one says why reading stopped.

        Raises BadRequest or RedoLogError, after the first line only UnreadableLog.
        """
        with RedoLog(Path(self.file)) as log:
            if self.offset > log.size:
                raise BadRequest(
                    f"{self.file} has no place {self.offset}.", hint=f"It has {log.size} bytes."
                )
            yield from _lines(log, max(self.offset, header.SIZE))


COMMANDS: dict[str, type[Command]] = {Dump.command: Dump}


def is_meant(words: Sequence[str]) -> bool:
    """Say whether a command line is for this module."""
    try:
        switches, rest = grammar.split(words)
    except Usage:
        return False
    return bool(rest) and rest[0].lower() == MODULE and not switches.version


def run(words: Sequence[str]) -> int:
    """Run a command line that is for this module and return its exit status."""
    terminal = Terminal(as_json=grammar.wants_json(words))
    try:
        call = grammar.parse(grammar.split(words)[1], {MODULE: COMMANDS})
        if not isinstance(call, Call):
            raise TypeError(f"{words} are no call of a command")
        return perform(call, terminal)
    except Usage as error:
        status = terminal.answers([output.refusal(_LOCALHOST, error)])
        if error.page:
            terminal.page(pages.page(error.page, {MODULE: COMMANDS}))
        return status
    except BadRequest as error:
        return terminal.answers([output.refusal(_LOCALHOST, error)])


def perform(call: Call, terminal: Terminal) -> int:
    """Print the records; whatever stands against it goes to standard error alone.

    Raises BadRequest for a bad parameter.
    """
    dump = parameters.parse(Dump, call.texts, _UTC)
    try:
        return _print(dump.lines(), as_json=terminal.as_json)
    except BackupError as error:
        sys.stderr.write(output.error_text(error))
        return output.exit_of_error(error)
    except KeyboardInterrupt:
        return output.EXIT_LEFT
    except BrokenPipeError:
        drop_output()
        return 128 + signal.SIGPIPE


def _print(lines: Iterator[dict[str, Any]], *, as_json: bool) -> int:
    status = output.EXIT_OK
    begun = False
    while True:
        try:
            line = next(lines, None)
        except UnreadableLog as error:
            if not begun:
                raise
            sys.stderr.write(output.error_text(error))
            return output.EXIT_FAILED
        if line is None:
            return status
        begun = True
        spelled = json.dumps(line, ensure_ascii=False) if as_json else _text(line)
        # Bytes that are no UTF-8 are lone surrogates here, and become the escape JSON has for them.
        sys.stdout.buffer.write(f"{spelled}\n".encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()
        if "skipped" in line or line.get("stopped", END) != END:
            status = output.EXIT_LOSSES


def _lines(log: RedoLog, start: int) -> Iterator[dict[str, Any]]:
    count = 0
    for found in log.records(start):
        if isinstance(found, Skipped):
            yield {"skipped": [found.start, found.end], "reason": found.reason}
        elif isinstance(found, Stop):
            yield {"stopped": found.reason, "at": found.at, "records": found.records}
        else:
            try:
                yield _record(log, found)
            except BadRecord:
                # The file became shorter while it was read.
                yield {"stopped": TRUNCATED, "at": found.offset, "records": count}
                return
            count += 1


def _record(log: RedoLog, record: Record) -> dict[str, Any]:
    envelope = record.envelope
    line = {
        "offset": record.offset,
        "end": record.end,
        "version": str(envelope.version),
        "opcode": envelope.opcode,
        "op": record.op,
        "txn": {"time": envelope.txn.time, "counter": envelope.txn.counter},
        "timestamp": envelope.timestamp,
        "changeId": envelope.change_id,
        "changeConstraint": envelope.change_constraint,
        "mailboxId": envelope.mailbox_id,
        "fields": _plain(log, record.fields),
    }
    return line if record.layout else line | {"undecoded": True}


def _plain(log: RedoLog, value: Any) -> Any:
    """Return a value as JSON has it; bulk data by its length and digest."""
    if isinstance(value, Span):
        return {"length": value.length, "sha256": log.digest(value)}
    if isinstance(value, dict):
        return {name: _plain(log, each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(log, each) for each in value]
    return value


def _text(line: dict[str, Any]) -> str:
    if "skipped" in line:
        start, end = line["skipped"]
        spelled = f"{start} to {end} skipped: {line['reason']}"
    elif "stopped" in line:
        spelled = f"stopped at {line['at']}: {line['stopped']}, {line['records']} records"
    else:
        txn = line["txn"]
        op = line["op"] or f"operation {line['opcode']}"
        place = f"{line['offset']} to {line['end']}: {op}"
        about = f"mailbox {line['mailboxId']} change {line['changeId']}"
        when = f"txn {txn['time']}.{txn['counter']} time {line['timestamp']}"
        fields = json.dumps(line["fields"], ensure_ascii=False)
        spelled = f"{place}  {about}  {when}  {'undecoded' if 'undecoded' in line else fields}"
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", spelled)
