"""The accounts of all servers, and each of them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, get_type_hints

from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET

from backupng.engine.errors import BackupError
from backupng.engine.operations import OPERATIONS
from backupng.engine.operations.words import DATE_FORMAT, LAST, AccountName, AccountNameOrId
from console import browse, telling
from console.access import allowed
from console.browse import AccountLine, AccountList, Expected
from console.forms.search import MANY
from console.models import QueuedOperation, Server, State
from console.telling import Losses

_PER_PAGE: Final = 50
_COUNTED_UP_TO: Final = 5000
"""Items that a page reads one by one: about half a second."""
_OPERATIONS_SHOWN: Final = 20
_HINTS_SHOWN: Final = 5
_STATES: Final = {
    "active": gettext_lazy("On the mail server, backup on"),
    "unsaved": gettext_lazy("Nothing saved yet"),
    "disabled": gettext_lazy("Backup off by class of service"),
    "deleted": gettext_lazy("Deleted from the mail server"),
}
_SORTS: Final = {
    "name": lambda line: line.name,
    "status": lambda line: (line.status, line.name),
    "server": lambda line: (line.server_name, line.name),
    "cos": lambda line: (line.cos_name, line.name),
    "since": lambda line: (
        line.protected_since is not None,
        line.protected_since.timestamp() if line.protected_since else 0.0,
    ),
}
_ACCOUNT_PARAMETERS: Final = sorted(
    {
        name
        for operation in OPERATIONS.values()
        for name, kind in get_type_hints(operation).items()
        if kind in (AccountName, AccountNameOrId)
    }
)
"""Parameters of operations that name an account."""

# The list


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list, and the address of its page; none for an id that no address can be."""

    line: AccountLine
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One filter that is on: what it says, and the page without it."""

    label: str
    value: str
    clear: str


@allowed("browse_accounts")
@require_GET
def accounts(request: HttpRequest) -> HttpResponse:
    """List the accounts of all servers of this host that the filters leave, a page of them."""
    every, problems = _everybody()
    found = _sorted(_filtered(every, request.GET), request.GET.get("sort", ""))
    page = Paginator(found, _PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "summary": Counter(state for line in every for state in _states_of(line)),
        "total": len(every),
        "problems": problems,
        "servers": sorted({line.server_name for line in every}),
        "domains": sorted({_domain(line) for line in every} - {""}),
        "classes": sorted({line.cos_name for line in every} - {""}),
        "states": _STATES,
        "filters": list(_filters(request.GET)),
        "chosen": {name: request.GET.get(name, "") for name in _FILTERS},
        "sort": request.GET.get("sort", "name"),
        "page": page,
        "pages": list(page.paginator.get_elided_page_range(page.number)),
        "rows": list(_rows(_with_details(page.object_list))),
        "elsewhere": [] if found else list(_elsewhere(every, request.GET.get("q", ""))),
    }
    return render(request, "console/accounts.html", context)


def _everybody() -> tuple[list[AccountLine], list[str]]:
    """Return the accounts of all servers, and in sentences what could not be asked."""
    lines: list[AccountLine] = []
    problems: list[str] = []
    here = browse.servers_here()
    for server in here:
        try:
            found = browse.accounts(server)
        except BackupError as error:
            problems.append(f"{server.name}: {error}")
        else:
            lines += found.lines
            problems += _problems(server, found)
    elsewhere = gettext("The accounts of %(server)s are shown by the console of its own host.")
    others = Server.objects.exclude(pk__in=[server.pk for server in here]).order_by("name")
    problems += [elsewhere % {"server": server.name} for server in others]
    return sorted(lines, key=lambda line: (line.name, line.server_name)), problems


def _problems(server: Server, found: AccountList) -> Iterator[str]:
    """Yield what the list of a server lacks, and why."""
    if found.directory_error:
        yield gettext(
            "The directory of %(server)s does not answer: %(error)s"
            " Its accounts are listed as the last scan found them."
        ) % {"server": server.name, "error": found.directory_error}
    if found.backup_error:
        yield gettext(
            "The backup of %(server)s cannot be read: %(error)s"
            " What is saved of its accounts is not shown."
        ) % {"server": server.name, "error": found.backup_error}


def _states_of(line: AccountLine) -> Iterator[str]:
    """Yield the states of the filter that an account is in."""
    if not line.exists:
        yield "deleted"
    elif line.backup_disabled:
        yield "disabled"
    else:
        yield "active"
        if line.protected_since is None and not line.problem:
            yield "unsaved"


def _domain(line: AccountLine) -> str:
    return line.name.rpartition("@")[2]


def _matches(line: AccountLine, text: str) -> bool:
    wanted = text.strip().lower()
    return any(wanted in each.lower() for each in (line.name, line.display_name, line.account_id))


_FILTERS: Final = {
    "q": (gettext_lazy("Search"), _matches),
    "domain": (gettext_lazy("Domain"), lambda line, value: _domain(line) == value),
    "cos": (gettext_lazy("Class of service"), lambda line, value: line.cos_name == value),
    "server": (gettext_lazy("Server"), lambda line, value: line.server_name == value),
    "state": (
        gettext_lazy("State"),
        lambda line, value: not {*value.split(",")}.isdisjoint(_states_of(line)),
    ),
}


def _filtered(lines: list[AccountLine], query: QueryDict) -> list[AccountLine]:
    for name, (_, fits) in _FILTERS.items():
        if value := query.get(name):
            lines = [line for line in lines if fits(line, value)]
    return lines


def _filters(query: QueryDict) -> Iterator[Filter]:
    for name, (label, _) in _FILTERS.items():
        if value := query.get(name):
            rest = query.copy()
            del rest[name]
            rest.pop("page", None)
            shown = _STATES.get(value, value) if name == "state" else value
            yield Filter(label=str(label), value=str(shown), clear=f"?{rest.urlencode()}")


def _sorted(lines: list[AccountLine], sort: str) -> list[AccountLine]:
    key = _SORTS.get(sort.removeprefix("-"))
    return sorted(lines, key=key, reverse=sort.startswith("-")) if key else lines


def _with_details(lines: Iterable[AccountLine]) -> list[AccountLine]:
    """Return the lines of one page with what is read account by account, in their order."""
    shown = list(lines)
    details: dict[tuple[str, str], AccountLine] = {}
    for server in browse.servers_here():
        mine = [line for line in shown if line.server_name == server.name]
        try:
            found = browse.detailed(server, mine)
        except BackupError as error:
            found = [replace(line, problem=str(error)) for line in mine]
        details |= {(line.server_name, line.account_id): line for line in found}
    return [details.get((line.server_name, line.account_id), line) for line in shown]


def _elsewhere(lines: list[AccountLine], text: str) -> Iterator[Row]:
    """Yield accounts that a search alone finds: what other filters hide, deleted ones first."""
    if text.strip():
        found = sorted((line for line in lines if _matches(line, text)), key=lambda e: e.exists)
        yield from _rows(found[:_HINTS_SHOWN])


def _rows(lines: Iterable[AccountLine]) -> Iterator[Row]:
    for line in lines:
        try:
            href = reverse("account", args=[line.account_id])
        except NoReverseMatch:
            href = ""
        yield Row(line, href)


# One account


@allowed("browse_accounts")
@require_GET
def account(request: HttpRequest, account_id: str) -> HttpResponse:
    """Show one account: what is saved of it since when, and what was done with it."""
    try:
        server, line = browse.find_account(account_id)
    except BackupError as error:
        raise Http404 from error
    contents, problem = _contents(server, line)
    operations = list(_operations(server, line)[:_OPERATIONS_SHOWN])
    context = {
        "account": line,
        "row": Row(line, request.path),
        "server": server,
        "contents": contents,
        "kinds": _kinds(contents),
        "problem": line.problem or problem,
        "has_scanned": _last_scan(server) is not None,
        "operations": [(row, telling.title(row), telling.subject(row)) for row in operations],
        "losses": list(_losses(operations, line)),
        "commands": _commands(server, line),
    }
    return render(request, "console/account.html", context)


def _contents(server: Server, line: AccountLine) -> tuple[Expected | None, str]:
    """Return what the newest states hold, unless that is too much to be counted for a page."""
    if line.protected_since is None or (line.items or 0) > _COUNTED_UP_TO:
        return None, ""
    try:
        return browse.expected(server, line.account_id, LAST), ""
    except BackupError as error:
        return None, str(error)


def _kinds(contents: Expected | None) -> list[tuple[str, int]]:
    """Return what the items are, in words, and how many of each."""
    found = contents.kinds if contents else {}
    return [(str(label), found[kind]) for kind, label in MANY.items() if kind in found]


def _last_scan(server: Server) -> QueuedOperation | None:
    scans = QueuedOperation.objects.filter(
        server=server, command="doSmartScan", state=State.SUCCESSFUL
    )
    return scans.defer("outcome").order_by("-seq").first()


def _operations(server: Server, line: AccountLine) -> QuerySet[QueuedOperation]:
    """Return the queued operations that name the account by its address or id, newest first."""
    named = Q()
    for parameter in _ACCOUNT_PARAMETERS:
        named |= Q(**{f"parameters__{parameter}__iexact": line.name})
        named |= Q(**{f"parameters__{parameter}": line.account_id})
    rows = QueuedOperation.objects.filter(named, server=server).select_related("server")
    return rows.order_by("-created_at")


def _losses(
    operations: Iterable[QueuedOperation], line: AccountLine
) -> Iterator[tuple[QueuedOperation, Losses]]:
    """Yield the operations that could not restore some of the account's items, and those."""
    for row in operations:
        for lost in telling.losses(row):
            if lost.kind == "unrestored" and lost.account in (line.name, line.account_id):
                yield row, lost


def _commands(server: Server, line: AccountLine) -> list[tuple[str, str]]:
    """Return what the wheel does, as an admin would type it."""
    several = Server.objects.count() > 1
    program = f"backupng --host {server.name}" if several else "backupng"
    if line.protected_since is None:
        return [(gettext("Save what the mail server has"), f"{program} backup doSmartScan")]
    source = shlex.quote(line.name if line.exists else line.account_id)
    local, _, domain = line.name.partition("@")
    restore = f"{program} backup doRestoreOnNewAccount {source} "
    restore += shlex.quote(f"{local}-restored@{domain}")
    commands = [(gettext("Restore the newest state"), f"{restore} last")]
    if line.last_change:
        date = line.last_change.astimezone(server.zone_info).strftime(DATE_FORMAT)
        commands.append((gettext("Restore a moment"), f'{restore} "{date}"'))
    return commands
