"""What a notification says: one order of blocks for all operations.

What was recorded for the page is what is mailed, word for word.
"""

from __future__ import annotations

import itertools
import shlex
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import metadata
from typing import Any, Final

from console import remedies, telling
from console.letter import coherency, exporting, importing, layout, numbers, purge
from console.models import Level, QueuedOperation, State

STARTED = "started"
PHASE_1 = "phase 1"
ENDED = "ended"
NOTHING_SAID: Final[Mapping[str, Any]] = {}
SUBJECT_LENGTH = 200

_HINTS = 3
_SAMPLE_IDS = 3
_LEVELS = {
    State.FAILED: Level.ERROR,
    State.INTERRUPTED: Level.ERROR,
    State.STOPPED: Level.WARNING,
    State.REMOVED: Level.WARNING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a notification says."""

    level: Level
    subject: str
    text: str
    counters: dict[str, int] = field(default_factory=dict)


def compose(
    row: QueuedOperation,
    *,
    notification: uuid.UUID,
    event: str,
    said: Mapping[str, Any] = NOTHING_SAID,
) -> Letter:
    """Say that an operation has started, what its first phase came to, or how it ended.

    `said` is what the operation told of its first phase.
    """
    ended = event == ENDED
    if event == PHASE_1:
        lead, told = importing.lead(row, said), importing.phase1(row, said)
    else:
        lead, told = (_lead(row), _outcome(row)) if ended else (_begun(row), _started(row))
    blocks = (
        lead,
        _identity(row, event),
        _times(row, event),
        "" if event == PHASE_1 else _parameters(row),
        *told,
        _footer(row, notification),
    )
    return Letter(
        level=importing.level(said) if event == PHASE_1 else level(row, event),
        subject=_subject(row, event),
        text="\n\n".join(filter(None, blocks)) + "\n",
        counters=dict(telling.counts(row)) if ended else {},
    )


def plain(row: QueuedOperation, *, notification: uuid.UUID, event: str) -> Letter:
    """Say it with nothing that could be wrong, for an operation whose own words cannot be told."""
    is_start = event != ENDED
    said = event if is_start else row.shown_state.lower()
    command = layout.clean(row.command)
    return Letter(
        level=Level.INFORMATION if is_start else _LEVELS.get(State(row.state), Level.WARNING),
        subject=f"[Backup NG] {row.server.name}: {command} – {said}"[:SUBJECT_LENGTH],
        text=(
            f"{command}: {said}. The page of the operation tells more.\n\n"
            f"id             {row.pk}\nserver         {row.server.name}\n\n"
            f"notification   {notification}\n"
        ),
    )


def level(row: QueuedOperation, event: str) -> Level:
    """Return how grave it is."""
    is_plan = telling.is_dry_run(row) and row.state == State.SUCCESSFUL and not row.losses
    if event == STARTED or is_plan:
        return Level.INFORMATION
    asks = row.losses or telling.report(row).get("warnings")
    whole = Level.WARNING if asks else Level.INFORMATION
    return _LEVELS.get(State(row.state), whole)


def _subject(row: QueuedOperation, event: str) -> str:
    happened = {STARTED: STARTED, PHASE_1: importing.HAPPENED}.get(event) or _happened(row)
    head = f"[Backup NG] {row.server.name}: {telling.title(row)}"
    head += " of" if telling.is_check(row) else " from" if importing.is_import(row) else ""
    head += " to" if exporting.is_export(row) else ""
    tail = f" – {happened}"
    about = layout.clean(telling.subject(row)).strip()
    room = max(0, SUBJECT_LENGTH - len(head) - len(tail) - 1)
    if len(about) > room:
        about = f"{about[: max(0, room - 1)]}…"
    return f"{head} {about}".rstrip()[: SUBJECT_LENGTH - len(tail)] + tail


def _happened(row: QueuedOperation) -> str:
    if telling.is_check(row):
        return coherency.happened(row)
    if exporting.is_export(row):
        return exporting.happened(row)
    return purge.happened(row) if purge.is_purge(row) else telling.what_happened(row)


# The first sentence


def _begun(row: QueuedOperation) -> str:
    title = telling.title(row)
    article = "An" if title[:1] in "AEIOU" else "A"
    later = importing.MESSAGES if importing.is_import(row) else "You will get a message at its end."
    return layout.filled(f"{article} {title} has begun. {later}")


def _lead(row: QueuedOperation) -> str:
    title, reason = telling.title(row), telling.error(row)
    if reason is None:
        return layout.filled(" ".join((_success(row), *_lost(row))))
    by = f" by {row.stop_requested_by}" if row.stop_requested_by else ""
    # No message may look like the beginning of the numbers, wherever its lines break.
    because = reason.message.replace(numbers.STATS, "stats")
    said = {
        State.STOPPED: f"was stopped{by}. What it had done until then stays.",
        State.REMOVED: f"was removed from the queue{by} before it began; nothing was changed.",
        State.INTERRUPTED: f"was interrupted. {because}",
    }.get(State(row.state), f"has failed. {because}")
    return layout.filled(f"The {title} {said}")


def _success(row: QueuedOperation) -> str:
    counts, title = telling.counts(row), telling.title(row)
    if purge.is_purge(row):
        return purge.lead(row)
    if exporting.is_export(row):
        return exporting.lead(row)
    if telling.is_check(row):
        return coherency.lead(row)
    if numbers.is_scan(row):
        took = layout.duration(_elapsed(row))
        if row.command == "doAccountScan":
            verb = "had" if counts.get("accounts_updated") else "had not"
            return f"{title} finished in {took}; the account {verb} changed."
        changed = counts.get("accounts_new", 0) + counts.get("accounts_updated", 0)
        scanned = layout.number(counts.get("accounts_scanned", 0))
        return (
            f"{title} finished in {took}; "
            f"{layout.number(changed)} of {scanned} accounts had changed."
        )
    if not counts.get("planned"):
        return f"The {title} has ended."
    if telling.is_dry_run(row):
        return f"The {title} has ended: the plan has {layout.items(counts['planned'])}."
    return f"The {title} has ended. {', '.join(_outcomes(counts))}."


def _outcomes(counts: Mapping[str, int]) -> Iterator[str]:
    """Yield what became of a restore's items; those that were skipped, by why."""
    restored, skipped = counts.get("restored", 0), counts.get("skipped", 0)
    deleted, large = counts.get("deleted_there", 0), counts.get("too_large", 0)
    there = skipped - deleted - large
    yield f"{layout.items(restored)} {'was' if restored == 1 else 'were'} restored"
    if since := counts.get("deleted_since", 0):
        yield f"{layout.number(since)} of them {'was' if since == 1 else 'were'} deleted meanwhile"
    if there > 0:
        yield f"{layout.number(there)} {'was' if there == 1 else 'were'} there already"
    if deleted:
        yield f"{layout.number(deleted)} had been deleted at the destination before"
    if large:
        yield f"{layout.number(large)} {'was' if large == 1 else 'were'} too large"


def _lost(row: QueuedOperation) -> Iterator[str]:
    is_counted = telling.is_check(row) or telling.is_about_shares(row)
    lost = Counter() if is_counted else telling.lost(row)
    for kind, verb in (("unrestored", "restored"), ("unreadable", "read")):
        if lost[kind]:
            listed = "it is listed" if lost[kind] == 1 else "they are listed"
            yield f"{layout.items(lost[kind])} could not be {verb}; {listed} below."
    if failed := telling.failed_entries(row):
        what = "entry" if failed == 1 else "entries"
        yield f"{layout.number(failed)} {what} of the directory could not be imported."


# What, who, when, how


def _identity(row: QueuedOperation, event: str) -> str:
    about = telling.subject(row)
    fields = {
        "operation": telling.title(row) + (f": {about}" if about else ""),
        "id": str(row.pk),
        "server": row.server.name,
        "requested by": telling.requested_by(row),
    }
    if event == ENDED:
        fields["state"] = telling.state(row)
        if telling.error(row) and row.progress:
            fields["got as far as"] = _progress(row)
    return layout.block(fields)


def _progress(row: QueuedOperation) -> str:
    phase, total = str(row.progress.get("phase", "")), row.progress.get("total")
    return f"{phase}, {row.progress.get('done', 0)} of {total}" if total else phase


def _times(row: QueuedOperation, event: str) -> str:
    moments = {"queued": row.created_at, "started": row.started_at}
    if event == ENDED:
        moments["ended"] = row.ended_at
    fields = {label: _moment(row, moment) for label, moment in moments.items() if moment}
    if event == ENDED and row.started_at and row.ended_at:
        fields["duration"] = layout.duration(_elapsed(row))
    return layout.block(fields)


def _moment(row: QueuedOperation, moment: datetime) -> str:
    return moment.astimezone(row.server.zone_info).strftime("%d/%m/%Y %H:%M:%S %Z")


def _elapsed(row: QueuedOperation) -> timedelta:
    if row.started_at is None or row.ended_at is None:
        return timedelta()
    return row.ended_at - row.started_at


def _parameters(row: QueuedOperation) -> str:
    fields = dict(telling.parameters(row))
    if addresses := telling.addresses(row):
        fields["notify also"] = ", ".join(addresses)
    left = "     ".join(f"{name} {value}" for name, value in telling.defaults(row))
    return "\n".join(filter(None, (layout.block(fields), layout.filled(left))))


def _started(row: QueuedOperation) -> Iterator[str]:
    if importing.is_import(row):
        yield importing.before(row)
    yield layout.command("follow it", telling.monitor_command(row))


# What came of it


def _sentences(row: QueuedOperation) -> Iterator[str]:
    if suspected := sum(map(len, telling.report(row).get("suspected", {}).values())):
        told = f"The backup of {layout.items(suspected)} is damaged: a Coherency Check is queued."
        yield layout.sentence(told, label="warning")
    for name, key in (("warning", "warnings"), ("note", "notes")):
        for sentence in telling.report(row).get(key, ()):
            yield layout.sentence(str(sentence), label=name)


def _outcome(row: QueuedOperation) -> Iterator[str]:
    yield numbers.stats(row)
    yield from numbers.lists(row)
    yield numbers.why(row)
    yield "\n".join(_sentences(row))
    hints = list(itertools.islice(_hints(row), _HINTS))
    if hints:
        yield "\n".join(("what next", *hints))
    elif row.state == State.SUCCESSFUL and not _asks_for_a_look(row):
        yield "nothing to be done"


def _asks_for_a_look(row: QueuedOperation) -> bool:
    found = telling.report(row)
    is_unmended = found.get("counters", {}).get("shares_to_mend")
    return bool(row.losses or found.get("warnings") or is_unmended)


def _hints(row: QueuedOperation) -> Iterator[str]:
    """Yield what an admin can do, the most useful first."""
    if row.state == State.REMOVED:
        yield layout.command("  ask again", telling.command_line(row))
        return
    if row.state != State.SUCCESSFUL:
        yield from _hints_after_an_end(row)
        return
    if telling.is_check(row):
        yield from coherency.hints(row)
        return
    if exporting.is_export(row):
        yield from exporting.hints(row)
    losses = telling.losses(row)
    if not losses:
        return
    if telling.is_about_shares(row):
        yield _advice(
            "What no map knows: import those accounts too, or have the folders shared anew."
            if row.command == "doFixShares"
            else "doFixShares mends what the map of an import knows."
        )
        return
    yield _advice(
        "The next scan tries them again."
        if numbers.is_scan(row)
        else remedies.groups(row)[0].advice
    )
    first = losses[0]
    yield layout.command("  look at one", _look_at(row, layout.clean(first.account), first.ids[0]))
    if first.kind == "unrestored":
        ids = ",".join(map(str, first.ids[:_SAMPLE_IDS]))
        yield _advice(f"In the source mailbox search for   item: {ids}   in each tab.")


def _look_at(row: QueuedOperation, account: str, item: int) -> str:
    words = ["backupng", "--host", row.server.name, "backup", "getItem", account, str(item)]
    if path := row.parameters.get("source_path") or row.parameters.get("backup_path"):
        words += ["backup_path", str(path)]
    return shlex.join([*words, "date", "all"])


def _hints_after_an_end(row: QueuedOperation) -> Iterator[str]:
    reason = telling.error(row)
    cut_off = row.state != State.FAILED
    hint = (reason.hint if reason else "") or (telling.after_interruption(row) if cut_off else "")
    if hint:
        yield _advice(hint)
    yield layout.command("  run it again", telling.command_line(row, again=True))


def _advice(text: str) -> str:
    return layout.filled(text, first="  ", rest="    ")


def _footer(row: QueuedOperation, notification: uuid.UUID) -> str:
    fields = {
        "Backup NG": metadata.version("backupng"),
        "server": f"{row.server.name} ({row.server.kind})",
        "notification": str(notification),
    }
    return layout.block(fields)
