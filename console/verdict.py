"""What a page says first of an operation: one sentence, true of this moment, in the user's zone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.operations.words import DATE_FORMAT
from console import telling
from console.ledger import Line
from console.letter import coherency
from console.models import QueuedOperation, State
from console.standing import unit
from console.templatetags.console import duration, number


def sentence(line: Line) -> str:
    """Return the sentence that heads the page of an operation."""
    return _SENTENCES[State(line.row.state)](line)


def spelled(moment: datetime | None) -> str:
    """Spell a moment with the zone's name."""
    if moment is None:
        return "–"
    return timezone.localtime(moment).strftime(f"{DATE_FORMAT} %Z")


def beside(moment: datetime | None, other: datetime | None = None) -> str:
    """Spell a moment without its zone, and without its date where another one shows that."""
    if moment is None:
        return "–"
    local = timezone.localtime(moment)
    same_day = other is not None and timezone.localtime(other).date() == local.date()
    return local.strftime("%H:%M:%S" if same_day else DATE_FORMAT)


def activity(row: QueuedOperation) -> str:
    """Say what the operation does, as the beginning of a sentence."""
    sentence = _ACTIVITIES.get(row.command)
    if sentence is None:
        return f"{telling.title(row)} {telling.subject(row)}".strip()
    words: dict[str, str] = {**dict.fromkeys(_NAMED, "?"), **row.named}
    words |= {"server": row.server.name, "date": _as_of(words["date"], row.server.zone)}
    return str(sentence % words)


_NAMED = (
    *("account", "account_name", "date", "destination_account", "destination_path"),
    *("item_id", "source_account", "source_path"),
)
_ACTIVITIES = {
    "doCheckShares": _("Checking the shares of %(server)s"),
    "doExport": _("Exporting %(server)s to %(destination_path)s"),
    "doExternalRestore": _("Importing %(source_path)s into %(server)s"),
    "doFixShares": _("Mending the shares of %(server)s"),
    "doItemRestore": _("Restoring item %(item_id)s in the mailbox of %(account_name)s"),
    "doRestoreOnNewAccount": _(
        "Restoring %(source_account)s as of %(date)s into %(destination_account)s"
    ),
    "doSmartScan": _("Scanning %(server)s"),
    "doUndelete": _("Undeleting in the mailbox of %(account)s"),
}


def taken(row: QueuedOperation, now: datetime | None = None) -> timedelta | None:
    """Return how long it ran, or has run until now; None if it did not run."""
    end = row.ended_at or now
    return end - row.started_at if end and row.started_at else None


def _queued(line: Line) -> str:
    return gettext("It waits as number %(position)d in the queue of %(server)s: %(why)s.") % {
        "position": line.position,
        "server": line.row.server.name,
        "why": line.why,
    }


def _started(line: Line) -> str:
    row, now = line.row, line.standing
    if now.silent_since:
        return gettext(
            "Not responding since %s. Once its process has ended, the operation becomes "
            "Interrupted; a stop that is asked for now may have to wait for it."
        ) % spelled(now.silent_since)
    if row.stop_requested_at:
        return gettext(
            "Stopping: %(who)s asked for it at %(moment)s; it ends at the next safe point. "
            "What is already done stays."
        ) % {"who": row.stop_requested_by, "moment": spelled(row.stop_requested_at)}
    return f"{activity(row)}: {_numbers(line)}. {gettext('You can close this page.')}"


def _numbers(line: Line) -> str:
    now = line.standing
    if not now.total:
        return now.phase or gettext("it has just begun")
    if now.left is None:
        return _amount(line)
    return gettext("%(numbers)s, about %(left)s left") % {
        "numbers": _amount(line),
        "left": duration(now.left),
    }


def _amount(line: Line) -> str:
    words = {"done": number(line.standing.done), "total": number(line.standing.total)}
    if unit(line.row) == "accounts":
        return gettext("%(done)s of %(total)s accounts") % words
    return gettext("%(done)s of %(total)s items") % words


def _successful(line: Line) -> str:
    row = line.row
    took = duration(taken(row))
    if row.losses:
        return gettext("It ran to its end in %(took)s, but %(losses)s. They are listed below.") % {
            "took": took,
            "losses": _lost(row),
        }
    return _whole(row, took, telling.report(row).get("counters", {}))


def _whole(row: QueuedOperation, took: str, counters: Mapping[str, int]) -> str:
    """Say what was done where nothing was lost."""
    if telling.is_about_shares(row):
        return _shares(took, counters)
    if counters.get("planned"):
        return _restored(row, took, counters)
    if row.command == "doExport":
        exported = counters.get("items_exported", 0) + counters.get("skipped", 0)
        return ngettext(
            "Done in %(took)s: %(number)s item lies in the folder, nothing is missing.",
            "Done in %(took)s: %(number)s items lie in the folder, nothing is missing.",
            exported,
        ) % {"took": took, "number": number(exported)}
    if row.command == "doExternalRestore":
        return _without_items(row, took)
    if row.command == "doSmartScan":
        return gettext("Done in %s: the backup has everything that this scan found.") % took
    return gettext("Done in %s.") % took


def _restored(row: QueuedOperation, took: str, counters: Mapping[str, int]) -> str:
    if telling.is_dry_run(row):
        planned = counters["planned"]
        return ngettext(
            "Done in %(took)s, nothing was restored: the plan has %(number)s item.",
            "Done in %(took)s, nothing was restored: the plan has %(number)s items.",
            planned,
        ) % {"took": took, "number": number(planned)}
    restored = counters.get("restored", 0)
    if row.command == "doExternalRestore" and _has_warnings(row):
        return ngettext(
            "Done in %(took)s: %(number)s item was restored; what else was wanted and is not here"
            " is told below.",
            "Done in %(took)s: %(number)s items were restored; what else was wanted and is not"
            " here is told below.",
            restored,
        ) % {"took": took, "number": number(restored)}
    if deleted := counters.get("deleted_there", 0) + counters.get("deleted_since", 0):
        words = {"took": took, "number": number(restored), "deleted": number(deleted)}
        said = ngettext(
            "Done in %(took)s: %(number)s item was restored; nothing is missing but what was"
            " deleted at the destination: %(deleted)s.",
            "Done in %(took)s: %(number)s items were restored; nothing is missing but what was"
            " deleted at the destination: %(deleted)s.",
            restored,
        )
        return said % words
    return ngettext(
        "Done in %(took)s: %(number)s item was restored, nothing is missing.",
        "Done in %(took)s: %(number)s items were restored, nothing is missing.",
        restored,
    ) % {"took": took, "number": number(restored)}


def _without_items(row: QueuedOperation, took: str) -> str:
    if _has_warnings(row):
        return gettext("Done in %s, without items. What could not be made is told below.") % took
    return gettext("Done in %s, without items: all that was asked for is in place.") % took


def _has_warnings(row: QueuedOperation) -> bool:
    return bool(telling.report(row).get("warnings"))


def _shares(took: str, counters: Mapping[str, int]) -> str:
    if mended := counters.get("repaired"):
        return ngettext(
            "Done in %(took)s: %(number)s share was mended, none is broken now.",
            "Done in %(took)s: %(number)s shares were mended, none is broken now.",
            mended,
        ) % {"took": took, "number": number(mended)}
    if foretold := counters.get("would_be_repaired"):
        return ngettext(
            "Done in %(took)s, nothing was changed: %(number)s share would be mended.",
            "Done in %(took)s, nothing was changed: %(number)s shares would be mended.",
            foretold,
        ) % {"took": took, "number": number(foretold)}
    return gettext("Done in %s: all grants and mountpoints lead to what is there.") % took


def _failed(line: Line) -> str:
    return gettext("Failed: %s") % _reason(line.row)


def _stopped(line: Line) -> str:
    row = line.row
    who = row.stop_requested_by or gettext("somebody")
    return gettext("Stopped by %(who)s after %(took)s. What was done until then stays.") % {
        "who": who,
        "took": duration(taken(row)),
    }


def _removed(line: Line) -> str:
    who = line.row.stop_requested_by or gettext("somebody")
    return gettext("Removed from the queue by %s before it ran: nothing was changed.") % who


def _interrupted(line: Line) -> str:
    row = line.row
    words = [gettext("Interrupted: %s") % _reason(row)]
    if line.standing.total:
        words.append(gettext("Until then: %s.") % _amount(line))
    return " ".join(words)


_SENTENCES: dict[State, Callable[[Line], str]] = {
    State.QUEUED: _queued,
    State.STARTED: _started,
    State.SUCCESSFUL: _successful,
    State.FAILED: _failed,
    State.STOPPED: _stopped,
    State.REMOVED: _removed,
    State.INTERRUPTED: _interrupted,
}


def _reason(row: QueuedOperation) -> str:
    found = telling.error(row)
    return found.message if found else ""


def _as_of(date: str, zone: str) -> str:
    return gettext("its last state") if date == "last" else f"{date} {zone}"


def _lost(row: QueuedOperation) -> str:
    """Say how many items were lost, and in which way, or what a check has found."""
    if telling.is_check(row):
        found = coherency.number(row)
        return ngettext("there is %s finding", "there are %s findings", found) % number(found)
    numbers = telling.lost(row)
    if telling.is_about_shares(row):
        broken = numbers.total()
        return ngettext("%s share is broken", "%s shares are broken", broken) % number(broken)
    parts = []
    if unrestored := numbers["unrestored"]:
        text = ngettext("%s item was not restored", "%s items were not restored", unrestored)
        parts.append(text % number(unrestored))
    if unreadable := numbers["unreadable"]:
        text = ngettext("%s item could not be read", "%s items could not be read", unreadable)
        parts.append(text % number(unreadable))
    if failed := telling.failed_entries(row):
        text = ngettext(
            "%s entry of the directory could not be imported",
            "%s entries of the directory could not be imported",
            failed,
        )
        parts.append(text % number(failed))
    return ", ".join(parts) or gettext("something was lost")
