"""Every page, full and empty: sound HTML, nothing inline, all texts translatable."""

from __future__ import annotations

import gettext
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client
from django.utils import translation
from django.utils.translation import trans_real
from pytest_django import Settings

from console.access import allowed
from console.models import Server
from console.urls import urlpatterns
from tests.console import pages
from tests.console.markup import Markup, problems_of_page
from tests.console.pages import Site

ROOT = Path(__file__).resolve().parent.parent.parent
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
PARTS = {each.name for each in urlpatterns if getattr(each.callback, "live", False)}
HTML = "text/html; charset=utf-8"
NAMED = {"server", "account", "notification", "operation"}
"""Pages whose title is the name of what they show, which is in no language."""


@pytest.fixture
def site(scanned: Server) -> Site:
    """Return a console with one of everything."""
    return pages.site(scanned)


def drawn(site: Site, role: str = "Administrator") -> dict[str, Any]:
    """Return all answers with HTML of one role, by the name of their address."""
    client = site.client(role)
    answers = {name: client.get(site.address(name, role)) for name in pages.names()}
    return {
        name: answer
        for name, answer in answers.items()
        if answer.status_code == 200 and answer.headers["Content-Type"] == HTML
    }


def problems(answers: dict[str, Any]) -> dict[str, list[str]]:
    """Return what is wrong with each answer, those without a problem left out."""
    found = {
        name: Markup(answer.content.decode()).problems
        if name in PARTS
        else problems_of_page(answer.content.decode())
        for name, answer in answers.items()
    }
    return {name: each for name, each in found.items() if each}


# Sound HTML


def test_every_page_of_an_administrator_is_sound(site: Site) -> None:
    answers = drawn(site)
    assert len(answers) > 20
    assert problems(answers) == {}


def test_every_page_of_a_viewer_is_sound(site: Site) -> None:
    assert problems(drawn(site, "Viewer")) == {}


@pytest.fixture
def anna(db: None, data: Path, settings: Settings) -> Client:
    """Return the browser of an administrator of an empty console."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    user = User.objects.create_user("anna", "anna@example.com", "a long password")
    user.groups.add(Group.objects.get(name="Administrator"))
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize(
    "path",
    ["/", "/servers/", "/accounts/", "/cos/", "/notifications/", "/operations/", "/settings/"],
)
def test_a_page_of_an_empty_console_is_sound_and_says_what_to_do(anna: Client, path: str) -> None:
    answer = anna.get(path)
    assert answer.status_code == 200
    assert problems_of_page(answer.content.decode()) == []
    assert "verdict" in answer.content.decode()


def test_pages_instead_of_a_page_are_sound(anna: Client) -> None:
    anna.logout()
    login = anna.get("/login/")
    wrong = anna.post("/login/", {"username": "anna", "password": "x"})
    for _ in range(4):
        locked = anna.post("/login/", {"username": "anna", "password": "x"})
    missing = anna.get("/nothing/")
    assert (locked.status_code, missing.status_code) == (429, 404)
    assert problems({str(each): each for each in (login, wrong, locked, missing)}) == {}


def test_the_form_of_preferences_says_what_is_wrong_beside_the_field(anna: Client) -> None:
    answer = anna.post("/preferences/", {"theme": "", "zone": "Mars/Olympus"})
    text = answer.content.decode()
    assert answer.status_code == 422
    assert problems_of_page(text) == []
    assert 'aria-invalid="true"' in text
    assert 'value="Mars/Olympus"' in text


BROKEN = {
    "<div><p>x</div>": "</div> inside <p>",
    "<p><div></div></p>": "<div> in <p>",
    '<a id="a"></a><a id="a"></a>': "the id 'a' is there 2 times",
    '<p style="x"></p>': "inline style",
    '<p onclick="x"></p>': "inline onclick",
    "<script>x</script>": "inline script",
    '<input name="x">': "<input name=x> has no label",
    '<p aria-describedby="x"></p>': "aria-describedby leads to x, which is not there",
    '<a href="javascript:x"></a>': "script in href",
    "<a><button></button></a>": "<button> in a link or button",
    '<p id="a" id="b"></p>': "<p> has id twice",
    "<div>": "<div> is not closed",
}


@pytest.mark.parametrize(("text", "problem"), BROKEN.items())
def test_the_reader_of_pages_sees(text: str, problem: str) -> None:
    assert any(problem in each for each in Markup(text).problems)


# Translation


class Longer(gettext.NullTranslations):
    """A language whose texts are 40 % longer, and recognisable."""

    def gettext(self, message: str) -> str:
        return f"{message}{'~' * max(1, len(message) * 4 // 10)}" if message else ""

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)

    def pgettext(self, context: str, message: str) -> str:
        return self.gettext(message)

    def to_language(self) -> str:
        return "xx"

    def language(self) -> str:
        return "xx"


def test_every_page_is_drawn_in_a_language_of_longer_words(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer: dict[str, Any] = {"xx": Longer()}
    monkeypatch.setattr(trans_real, "_translations", longer)
    with translation.override("xx"):
        answers = drawn(site)
    titles = {
        name: Markup(answer.content.decode()).texts["title"]
        for name, answer in answers.items()
        if name not in PARTS
    }
    assert problems(answers) == {}
    assert len(titles) > 12
    assert {name for name, title in titles.items() if "~" not in title} == NAMED


def bare_words(source: str) -> list[str]:
    """Return the words of a template that no translation reaches."""
    source = re.sub(r"{% comment %}.*?{% endcomment %}|{#.*?#}", "", source, flags=re.S)
    source = re.sub(r"{% blocktranslate.*?{% endblocktranslate %}", "", source, flags=re.S)
    source = re.sub(r"{%.*?%}|{{.*?}}", "", source, flags=re.S)
    # Commands and programs are typed as they stand.
    source = re.sub(r'<(code|pre|p) class="mono">.*?</\1>', "", source, flags=re.S)
    spoken = re.findall(r'(?:title|aria-label|alt|placeholder|data-\w+)="([^"]*)"', source)
    texts = re.sub(r"<[^>]*>", " ", source)
    names = r"Backup NG|ZxBackup_\w+|–|&\w+;"
    words = re.findall(r"[^\W\d_]{2,}", re.sub(names, " ", texts))
    return words + [each for each in spoken if re.search(r"^[A-Z][a-z]+", each)]


def test_a_template_has_no_words_beside_the_translated_ones() -> None:
    found = {str(path): bare_words(path.read_text(encoding="utf-8")) for path in TEMPLATES}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "source", ["<p>Hello</p>", '<p title="Hello"></p>', "{% translate 'x' %} there"]
)
def test_a_bare_word_is_found(source: str) -> None:
    assert bare_words(source)


# Rules of templates


def test_a_template_marks_no_text_as_safe() -> None:
    marks = re.compile(r"\|\s*safe\b|autoescape off|hx-on|js:|hx-vals")
    found = {str(path): marks.findall(path.read_text(encoding="utf-8")) for path in TEMPLATES}
    assert {name: marked for name, marked in found.items() if marked} == {}


def test_a_view_without_a_permission_would_be_seen() -> None:
    def view() -> HttpResponse:
        return HttpResponse()

    assert not hasattr(view, "permission")
    assert getattr(allowed("view_status")(view), "permission", "") == "view_status"
