"""A user at the Restore wizard: the steps as a browser without script sends them."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from console import roles
from console.models import Draft

SOURCE = "2190ef42-2b83-40ca-aabb-56cebe98f934"
"""The id of a1@example.com on every sandbox of the tests."""
NOW = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)
MODE = {"mode": "new", "destination_account": "again", "hide_in_gal": "on"}
DATE = {"day": "28/09/2026", "hour": "10", "minute": "15", "second": "10"}
LAST = {"keyword": "last", "day": "", "hour": "00", "minute": "00", "second": "00"}
"""The date step after the button `Last`."""


def a_user(name: str = "anna", role: str = roles.OPERATOR) -> User:
    """Return a new user with a role."""
    user = User.objects.create_user(name, f"{name}@example.com")
    user.groups.add(Group.objects.get(name=role))
    return user


class Visitor:
    """One user and one run of the wizard."""

    def __init__(self, user: User, account: str = SOURCE) -> None:
        self.client = Client()
        self.client.force_login(user)
        self.account = account
        self.door = reverse("restore", args=[account])
        self.draft = ""

    def begin(self, **words: str) -> Any:
        """Press the button that begins a run."""
        answer = self.client.post(self.door, words)
        assert answer.status_code == 303, answer.content.decode()
        self.draft = answer["Location"].split("/")[2]
        return answer

    def url(self, step: str, part: str = "step") -> str:
        """Return the address of a step, or of one of its parts."""
        return reverse(f"wizard-{part}", args=[self.draft, step])

    def see(self, step: str, **query: str) -> Any:
        """Open a step."""
        return self.client.get(self.url(step), query)

    def send(self, step: str, **words: str) -> Any:
        """Send a step."""
        return self.client.post(self.url(step), words)

    def at_summary(self, **words: str) -> Visitor:
        """Begin a run and fill in all steps, with some words of our own."""
        self.begin()
        mode = {name: words.pop(name, text) for name, text in MODE.items()}
        assert self.send("mode", **mode).status_code == 303
        answer = self.send("date", **(DATE | words))
        assert answer.status_code == 303, answer.content.decode()
        return self

    def finish(self, **words: str) -> Any:
        """Press Finish on the summary that is shown now."""
        shown = self.see("summary").context["summary"].digest
        return self.send("summary", **({"notifications": "", "shown": shown} | words))

    @property
    def row(self) -> Draft:
        """The draft of the run."""
        return Draft.objects.get(pk=self.draft)


class Page(HTMLParser):
    """What a page holds: its ids, headings, labels, inputs, text, and what it must not have."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.labelled: set[str] = set()
        self.inputs: list[dict[str, Any]] = []
        self.described: set[str] = set()
        self.forbidden: list[str] = []
        self.links: list[str] = []
        self._texts: list[str] = []
        self.feed(answer.content.decode())

    @property
    def text(self) -> str:
        """All text, blanks collapsed."""
        return " ".join(" ".join(self._texts).split())

    def require_well_made(self, part: str) -> None:
        """Have one heading, ids that are there once, a label for each field, nothing forbidden."""
        assert self.headings.count("h1") == 1, part
        assert len(self.ids) == len(set(self.ids)), part
        assert (part, self.forbidden) == (part, [])
        assert {field["id"] for field in self.inputs} <= self.labelled, part
        assert self.described <= set(self.ids), part

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what counts of a tag."""
        found = dict(attributes)
        self.ids += [str(found["id"])] if "id" in found else []
        self.headings += [tag] if tag in ("h1", "h2", "h3") else []
        self.labelled |= {str(found["for"])} if tag == "label" else set()
        self.described |= set(str(found.get("aria-describedby") or "").split())
        self.links += [str(found["href"])] if tag == "a" else []
        if tag in ("input", "select", "textarea") and found.get("type") != "hidden":
            self.inputs.append(found)
        if "style" in found or tag == "style" or any(name.startswith("on") for name in found):
            self.forbidden.append(f"<{tag} {attributes}>")
        if tag == "script" and "src" not in found:
            self.forbidden.append("inline script")

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self._texts.append(data)
