"""The pages of every wizard."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast
from uuid import UUID

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render, resolve_url
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods

from backupng.engine.errors import BackupError, BadRequest
from backupng.engine.operations.base import Operation
from console import audit, browse, notify, summary, wizard, wizards
from console.access import allowed, live
from console.browse import AccountLine
from console.models import Draft, QueuedOperation, Server
from console.summary import SummaryForm
from console.views.parts import SeeOther
from console.wizard import SUMMARY, Run, StepForm, Words

_View = TypeVar("_View", bound=Callable[..., HttpResponse])
_LONGEST_ID = 64
_LONGEST = 4000
"""No more is kept of a list of addresses that nobody has checked."""


def _in_words(view: _View) -> _View:
    """Answer with the engine's own words when it cannot be asked now."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except BackupError as error:
            return render(request, "console/wizard_trouble.html", {"error": error}, status=503)

    return cast("_View", answered)


# Beginning


@allowed("restore")
@require_http_methods(["GET", "POST"])
@_in_words
def restore(request: HttpRequest, account_id: str) -> HttpResponse:
    """Offer to begin a restore of an account; a POST begins it."""
    try:
        server, account = browse.find_account(account_id)
    except BadRequest as error:
        raise Http404(str(error)) from error
    if request.method == "GET":
        return _beginning(request, account)
    if account.protected_since is None:
        return _beginning(request, account, status=422)
    draft = wizard.start(
        wizards.RESTORE,
        owner=cast("User", request.user),
        server=server,
        account_id=account.account_id,
    )
    return _first_step(draft)


def _beginning(request: HttpRequest, account: AccountLine, *, status: int = 200) -> HttpResponse:
    if account.problem:
        status = 503
    context = {"account": account, "title": wizards.RESTORE.title}
    return render(request, "console/wizard_begin.html", context, status=status)


@allowed("view_status")
@require_http_methods(["GET", "POST"])
@_in_words
def begin(request: HttpRequest, name: str, kind: str) -> HttpResponse:
    """Offer to begin a wizard about a server; a POST begins it."""
    server = get_object_or_404(Server, name=name)
    found = wizards.OF_SERVERS.get(kind)
    if found is None:
        raise Http404
    _check_permission(request, found)
    obstacle = found.obstacle(server)
    if request.method == "GET" or obstacle:
        context = {"server": server, "wizard": found, "obstacle": obstacle}
        status = 422 if request.method == "POST" else 200
        return render(request, "console/wizard_begin_server.html", context, status=status)
    # From the page of an account, that one is chosen already.
    account_id = request.POST.get("account_id", "").replace("\0", "")[:_LONGEST_ID]
    words: dict[str, Words] = {"account": {"account_id": account_id}} if account_id else {}
    user = cast("User", request.user)
    return _first_step(wizard.start(found, owner=user, server=server, words=words))


def _first_step(draft: Draft) -> HttpResponse:
    return SeeOther(Run(wizards.WIZARDS[draft.wizard], draft).first_url)


# Pages and their parts


@allowed("view_status")
@require_http_methods(["GET", "POST"])
@_in_words
def step(request: HttpRequest, draft_id: UUID, step: str) -> HttpResponse:
    """Draw a step of a run; a POST accepts it, cancels the run or finishes it."""
    run = _run(request, draft_id, step)
    if closed := _closed(request, run):
        return closed
    if request.method == "POST" and "cancel" in request.POST:
        Draft.objects.filter(pk=run.draft.pk, operation=None).delete()
        return SeeOther(run.home)
    if step not in run.slugs:
        # It belongs to a mode that is not the chosen one any more.
        return SeeOther(run.first_url)
    if earlier := run.first_invalid(before=step):
        return _overtaken(run) or SeeOther(run.url(earlier))
    if step == SUMMARY:
        return _end(request, run) if request.method == "POST" else _summary(request, run)
    if request.method == "POST":
        return _accept(request, run, step)
    return _page(request, run, _as_it_was(request, run, step))


@live
@allowed("view_status")
@require_GET
@_in_words
def check(request: HttpRequest, draft_id: UUID, step: str) -> HttpResponse:
    """Draw one part of a step as it is with what is typed there now."""
    run = _run(request, draft_id, step)
    if _is_over(run):
        return HttpResponse(status=410)
    if step not in run.slugs:
        raise Http404
    if step == SUMMARY:
        return _expected_alone(request, run)
    form = type(run.form(step))(run, data=request.GET)
    part = form.fragment(request.GET.get("field", ""))
    if part is None:
        raise Http404
    template, context = part
    frame = {"run": run, "form": form, "here": run.url(step), "alone": True}
    return render(request, template, frame | context)


# Runs


def _run(request: HttpRequest, draft_id: UUID, step: str) -> Run:
    """Return a run of this user that has such a step. Raises Http404 or PermissionDenied."""
    found = Draft.objects.select_related("server", "owner", "operation")
    draft = found.filter(pk=draft_id, owner=request.user.pk).first()
    known = draft and wizards.WIZARDS.get(draft.wizard)
    if draft is None or not known or step not in known.slugs:
        raise Http404
    _check_permission(request, known)
    return Run(known, draft)


def _check_permission(request: HttpRequest, found: wizard.Wizard) -> None:
    if not request.user.has_perm(f"console.{found.permission}"):
        raise PermissionDenied


def _is_over(run: Run) -> bool:
    """Say whether no part of a run may be drawn any more."""
    return bool(run.draft.operation) or run.draft.has_expired


def _closed(request: HttpRequest, run: Run) -> HttpResponse | None:
    """Return the answer for a run that is over; None while it goes on."""
    if run.draft.operation:
        return SeeOther(resolve_url("operation", run.draft.operation.pk))
    if run.draft.has_expired:
        return render(request, "console/wizard_expired.html", {"run": run}, status=410)
    return None


# Steps


def _accept(request: HttpRequest, run: Run, step: str) -> HttpResponse:
    form = type(run.form(step))(run, data=request.POST)
    if drawn := form.redrawn():
        return _page(request, run, drawn)
    if not form.is_valid():
        return _page(request, run, form, status=422)
    run.keep(form)
    # What was accepted may have chosen another mode, with other steps.
    return SeeOther(run.url(run.after(step)))


def _as_it_was(request: HttpRequest, run: Run, step: str) -> StepForm:
    """Return a step as it was accepted, or with what a link of the step puts into it."""
    kept = run.form(step)
    if kept.link_names.isdisjoint(request.GET):
        return kept.drawn()
    return type(kept)(run, initial=request.GET.dict())


def _page(request: HttpRequest, run: Run, form: StepForm, *, status: int = 200) -> HttpResponse:
    context = {**_frame(run, form.slug), "form": form}
    return render(request, form.template, context, status=status)


def _frame(run: Run, step: str) -> dict[str, Any]:
    """Return what every step draws around itself."""
    titles = [*(each.title for each in run.mode.steps), gettext("Operation Summary")]
    place = run.slugs.index(step)
    steps = [
        {
            "title": title,
            "is_done": number < place,
            "is_current": number == place,
            "url": run.url(slug),
        }
        for number, (slug, title) in enumerate(zip(run.slugs, titles, strict=True))
    ]
    before = run.before(step)
    return {
        "run": run,
        "steps": steps,
        "title": titles[place],
        "here": run.url(step),
        "previous": run.url(before) if before else None,
    }


# The summary


def _summary(request: HttpRequest, run: Run) -> HttpResponse:
    kept = run.words(SUMMARY) or {}
    form = SummaryForm(initial={"notifications": kept.get("notifications", "")})
    return _summary_page(request, run, form, run.operation())


def _summary_page(
    request: HttpRequest,
    run: Run,
    form: SummaryForm,
    operation: Operation,
    *,
    refusal: str = "",
    status: int = 200,
) -> HttpResponse:
    counted = not run.mode.is_large(run) or "count" in request.GET
    context = {
        **_frame(run, SUMMARY),
        "form": form,
        "summary": summary.summarise(run, operation),
        "refusal": refusal,
        "is_counted": run.mode.expected is not None,
        "expected": _expected(run, operation) if counted else None,
        "options": run.form(run.mode.options.slug) if run.mode.options else None,
        "told": notify.told_of_all(run.server, run.draft.owner.email),
    }
    return render(request, "console/wizard_summary.html", context, status=status)


def _expected(run: Run, operation: Operation) -> Any:
    return run.mode.expected(run, operation) if run.mode.expected else None


def _expected_alone(request: HttpRequest, run: Run) -> HttpResponse:
    if request.GET.get("field") != "expected" or run.first_invalid(before=SUMMARY):
        raise Http404
    context = {"run": run, "expected": _expected(run, run.operation())}
    return render(request, "console/_expected.html", context)


def _end(request: HttpRequest, run: Run) -> HttpResponse:
    """Finish, or go back and keep what was typed: it is checked when the run is finished."""
    before = run.before(SUMMARY)
    if run.mode.options:
        options = run.mode.options(run, data=request.POST)
        options.is_valid()  # boxes are, however they are ticked
        run.keep(options)
        if earlier := run.first_invalid(before=SUMMARY):
            return SeeOther(run.url(earlier))
    if "previous" not in request.POST and "apply" not in request.POST:
        return _finish_once(request, run)
    typed = request.POST.get("notifications", "").replace("\0", "")
    run.keep_words(SUMMARY, {"notifications": typed[:_LONGEST]})
    return SeeOther(run.url(before if before and "previous" in request.POST else SUMMARY))


def _finish_once(request: HttpRequest, run: Run) -> HttpResponse:
    """Finish; a click that another one has overtaken is led to what that one started."""
    answer = _finish(request, run)
    return answer if answer.status_code == SeeOther.status_code else _overtaken(run) or answer


def _overtaken(run: Run) -> HttpResponse | None:
    """Return the way to the operation if the run was finished since this request began."""
    row = summary.finished(run.draft)
    return SeeOther(resolve_url("operation", row.pk)) if row else None


def _finish(request: HttpRequest, run: Run) -> HttpResponse:
    """Start what the summary showed, once; else show the summary again and say why not."""
    form = SummaryForm(request.POST)
    plain = run.operation()
    if not form.is_valid():
        return _summary_page(request, run, form, plain, status=422)
    if form.cleaned_data["shown"] != summary.summarise(run, plain).digest:
        changed = gettext(
            "This summary is not what was shown before. Verify it again, then press Finish."
        )
        return _summary_page(request, run, form, plain, refusal=changed, status=422)
    operation = run.operation(form.cleaned_data["notifications"])
    try:
        row = summary.finish(run, operation)
    except Draft.DoesNotExist:
        raise Http404 from None
    except BackupError as error:
        return _refuse(request, run, form, plain, error=error)
    _note(request, run, row)
    return SeeOther(resolve_url("operation", row.pk))


def _refuse(
    request: HttpRequest, run: Run, form: SummaryForm, operation: Operation, *, error: BackupError
) -> HttpResponse:
    """Show what the operation's own check found, on the step that it is about."""
    audit.note(
        request,
        run.mode.operation.command,
        subject=run.subject,
        result=audit.REFUSED,
        detail=str(error),
    )
    if isinstance(error, BadRequest) and (refused := summary.refused_by(run, error)):
        return _page(request, run, refused, status=422)
    said = " ".join(filter(None, (str(error), error.hint)))
    return _summary_page(request, run, form, operation, refusal=said, status=422)


def _note(request: HttpRequest, run: Run, row: QueuedOperation) -> None:
    audit.note(request, row.command, subject=run.subject, detail=f"queued as {row.pk}")
