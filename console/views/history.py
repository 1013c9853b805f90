"""A mailbox as it was at a moment: folders, items, what became of them; and one item in time.

All that is shown is in the address: moment, folder, search, page, and what is ticked. What is
typed or ticked is posted, and answered with the address of what it asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from math import ceil
from typing import Any, Final, TypeVar, cast

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render, resolve_url
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods

from backupng.engine.errors import BackupError
from backupng.engine.model import ItemId, from_ms
from backupng.engine.restore.select import end_of_second
from console import browse, looking, wizard, wizards
from console.access import allowed, live
from console.browse import Inside, ItemLine, View
from console.forms.items import ORIGINAL, ItemsStep
from console.forms.search import SearchForm
from console.forms.when import When
from console.looking import Look, moment_of, number_of, spelled
from console.models import Draft
from console.views.parts import SeeOther
from console.wizard import Run, Words

_PER_PAGE: Final = 50
_READING_S: Final = 1.0
_View = TypeVar("_View", bound=Callable[..., HttpResponse])


def _answering(view: _View) -> _View:
    """Say in the engine's own words that it cannot be asked now."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except BackupError as error:
            if error.code in ("no_such_account", "no_such_item"):
                raise Http404(str(error)) from error
            return render(request, "console/history_trouble.html", {"error": error}, status=503)

    return cast("_View", answered)


def _run(request: HttpRequest, account_id: str) -> Run:
    """Return what a run of the wizard that begins here would be about. Raises BackupError."""
    server, account = browse.find_account(account_id, is_detailed=False)
    draft = Draft(owner=cast("User", request.user), server=server, account_id=account_id)
    run = Run(wizards.ITEMS, draft)
    run.account = account
    return run


@allowed("browse_accounts")
@require_http_methods(["GET", "POST"])
@_answering
def history(request: HttpRequest, account_id: str) -> HttpResponse:
    """Show a mailbox at a moment; a POST leads to what was typed, or begins a restore."""
    run = _run(request, account_id)
    look = Look.of(request.GET)
    if request.method == "POST":
        return _posted(request, run, look)
    return _page(request, run, _asked(run, look, request.GET))


def _asked(run: Run, look: Look, query: Mapping[str, Any]) -> _Asked:
    """Return the page of an address."""
    when = looking.when_of(run, look, query)
    return _Asked(look=look, when=when, form=SearchForm(dict(look.search)))


@live
@allowed("browse_accounts")
@require_GET
@_answering
def reading(request: HttpRequest, account_id: str) -> HttpResponse:
    """Read on what the catalog lacks of an account; have the page loaded anew once all is read."""
    run = _run(request, account_id)
    known = browse.read_up(run.server, account_id, seconds=_READING_S)
    answer = render(request, "console/_history_reading.html", {"run": run, "known": known})
    if known is None:
        answer.headers["HX-Refresh"] = "true"
    return answer


# What is posted


def _posted(request: HttpRequest, run: Run, look: Look) -> HttpResponse:
    ticking = replace(look, ticked=_ticked(request.POST, look))
    if "restore" in request.POST:
        return _restore(request, run, ticking)
    if not ticking.has_room:
        return _too_many(request, run, look)
    look = ticking
    when = looking.widget(run, request.POST.dict(), is_bound=True)
    form = SearchForm(request.POST)
    if "to" in request.POST:
        look = replace(look, at=moment_of(request.POST["to"]))
    elif when.is_valid() and form.is_valid():
        look = replace(look, at=when.chosen.at)
    else:
        asked = _Asked(look=look, when=when, form=form)
        return _page(request, run, asked, status=422)
    if "tick" in request.POST:
        return _tick(request, run, look)
    look = replace(
        look,
        gone="deleted" in request.POST,
        page=number_of(request.POST.get("page", "1")) or 1,
        search=() if "clear" in request.POST else tuple(form.words.items()),
    )
    return SeeOther(_here(run) + look.query)


def _tick(request: HttpRequest, run: Run, look: Look) -> HttpResponse:
    """Tick what is shown, or all that its pages have; nothing else about the page changes."""
    asked = _asked(run, look, {})
    if request.POST["tick"] == "all":
        lines = _lines(run, asked, first=0, limit=looking.MOST_TICKED + 1)
    else:
        lines = _lines(run, asked, first=(look.page - 1) * _PER_PAGE, limit=_PER_PAGE)
    found = tuple(dict.fromkeys([*look.ticked, *(line.item for line in lines)]))
    ticking = replace(look, ticked=found)
    if not ticking.has_room:
        return _too_many(request, run, look)
    return SeeOther(_here(run) + ticking.query)


def _too_many(request: HttpRequest, run: Run, look: Look) -> HttpResponse:
    """Refuse more ticks than an address carries: nothing is ticked that was not before."""
    refusal = gettext(
        "That is more than can be ticked at a time: %d items, fewer where their ids are long and "
        "lie far apart. Search for fewer of them; the whole mailbox comes back with Restore, from "
        "the menu of the account."
    )
    refusal %= looking.MOST_TICKED
    return _page(request, run, _asked(run, look, {}), refusal=refusal, status=422)


def _lines(run: Run, asked: _Asked, *, first: int, limit: int) -> list[ItemLine]:
    """Return a part of what the list has: of the folder, or of what is found."""
    if not (asked.look.search and asked.form.is_valid()):
        return _view(run, asked, first=first, limit=limit).items
    sought = asked.form.sought(asked.look.folder, run.zone)
    return browse.search(run.server, run.account_id, sought, first=first, limit=limit)


def _view(run: Run, asked: _Asked, *, first: int, limit: int) -> View:
    return browse.mailbox(run.server, run.account_id, asked.inside, first=first, limit=limit)


def _ticked(posted: QueryDict, look: Look) -> tuple[int, ...]:
    """Return what is ticked now: here, and on what is not shown here."""
    shown = {number_of(text) for text in posted.getlist("shown")}
    here = [number_of(text) for text in posted.getlist("item")]
    found = dict.fromkeys([*(each for each in look.ticked if each not in shown), *here])
    return tuple(found) if "untick" not in posted else ()


def _restore(request: HttpRequest, run: Run, look: Look) -> HttpResponse:
    if not request.user.has_perm("console.restore"):
        raise PermissionDenied
    if not look.ticked:
        refusal = gettext("Tick what is to be restored, then press Restore items again.")
        return _page(request, run, _asked(run, look, {}), refusal=refusal, status=422)
    date_words = {"date": spelled(look.at)} if look.at and not look.search else {}
    chosen: Words = {"item_id": ",".join(map(str, look.ticked)), "where": ORIGINAL, **date_words}
    draft = wizard.start(
        wizards.ITEMS,
        owner=run.draft.owner,
        server=run.server,
        account_id=run.account_id,
        words={ItemsStep.slug: chosen},
    )
    return SeeOther(Run(wizards.ITEMS, draft).first_url)


def _here(run: Run) -> str:
    return resolve_url("history", run.account_id)


# The page


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A page that is asked for: what is looked at, and the two forms as they are to be drawn."""

    look: Look
    when: When
    form: SearchForm

    @property
    def is_too_early(self) -> bool:
        """Whether the backup of the account begins later."""
        first = self.when.span.first
        return bool(first and self.look.at and end_of_second(self.look.at) <= first)

    @property
    def inside(self) -> Inside:
        """The folder that is looked at."""
        before = browse.ms_before(self.look.before)
        return Inside(folder=ItemId(self.look.folder), before=before, gone=self.look.gone)


def _page(
    request: HttpRequest, run: Run, asked: _Asked, *, refusal: str = "", status: int = 200
) -> HttpResponse:
    look, first = asked.look, (asked.look.page - 1) * _PER_PAGE
    known = browse.read_up(run.server, run.account_id, seconds=_READING_S)
    view = _view(run, asked, first=first, limit=_PER_PAGE + 1)
    lines = view.items
    if look.search:
        lines = _lines(run, asked, first=first, limit=_PER_PAGE + 1)
    context = {
        "run": run,
        "account": run.account,
        "asked": asked,
        "look": look,
        "zone_name": timezone.get_current_timezone_name(),
        "account_url": resolve_url("account", run.account_id),
        "here": _here(run),
        "known": known,
        "refusal": refusal,
        "may_restore": run.account.exists and request.user.has_perm("console.restore"),
        **_places(view, asked),
        **_list(view, lines, look),
        **looking.strip(asked.when),
    }
    return render(request, "console/history.html", context, status=status)


def _places(view: View, asked: _Asked) -> dict[str, Any]:
    """Return the tree, and the moments that buttons lead to."""
    look, first = asked.look, asked.when.span.first
    return {
        "folders": list(looking.folder_rows(view.folders, look)),
        "folder": next((each for each in view.folders if each.item == look.folder), None),
        "total": sum(each.items for each in view.folders),
        "begins": first,
        "first_to": spelled(first) if first else "",
        "earlier_to": spelled(view.earlier) if view.earlier else "",
        "later_to": spelled(view.later) if view.later and look.at else "",
    }


def _list(view: View, lines: list[ItemLine], look: Look) -> dict[str, Any]:
    """Return a page of the list, and what is ticked elsewhere."""
    shown, first = lines[:_PER_PAGE], (look.page - 1) * _PER_PAGE
    on_page = {line.item for line in shown}
    count = None if look.search else view.count
    return {
        "rows": list(looking.rows(shown, look)),
        "first": first + 1,
        "last": first + len(shown),
        "count": count,
        "previous_page": look.page - 1,
        "next_page": look.page + 1 if len(lines) > _PER_PAGE else 0,
        "last_page": ceil(count / _PER_PAGE) if count else 0,
        "elsewhere": sum(1 for item in look.ticked if item not in on_page),
        "held": view.held,
        "held_query": looking.held_query(view, look),
    }


# One item


@allowed("browse_accounts")
@require_GET
@_answering
def item(request: HttpRequest, account_id: str, item_id: int) -> HttpResponse:
    """Show one item in time: all its states, what changed, and the command that shows it."""
    run = _run(request, account_id)
    found = browse.item_in_time(run.server, account_id, item_id)
    context = {
        "run": run,
        "account": run.account,
        "item_id": item_id,
        "may_restore": run.account.exists and request.user.has_perm("console.restore"),
        "found": found,
        "states": list(looking.state_rows(found.states)),
        "oldest": from_ms(found.states[0]["start_date"]),
        "back": Look.of(request.GET).query,
        "command": looking.command(run, item_id),
    }
    return render(request, "console/item.html", context)
