"""A strict reader of pages: what browsers would silently mend, it reports."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "hr", "img", "circle", "path", "rect", "line", "use"}
LABELLED = {"input", "select", "textarea"}
UNLABELLED_TYPES = {"hidden", "submit"}
REFERENCES = ("aria-describedby", "aria-labelledby", "for", "list", "form")
NOT_IN_PARAGRAPHS = {"p", "div", "ul", "ol", "dl", "table", "form", "section", "pre", "h1", "h2"}
INTERACTIVE = {"a", "button", "select", "textarea"}


class Markup(HTMLParser):
    """A parsed page or part: `problems` is what is wrong with it, in the order of the text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self.elements: Counter[str] = Counter()
        self.texts: dict[str, str] = {}
        """The texts of title and h1."""
        self._open: list[str] = []
        self._ids: list[str] = []
        self._references: list[tuple[str, str]] = []
        self._labelled: set[str] = set()
        self._controls: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        self._conclude()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        # A drawing has titles of its own.
        self.elements[tag] += not (tag == "title" and "svg" in self._open)
        self._look_at_place(tag)
        self._look_at_attributes(tag, attrs)
        found = dict(attrs)
        if tag in LABELLED and found.get("type") not in UNLABELLED_TYPES:
            self._controls.append((tag, found | ({"aria-label": "x"} if self._in_label else {})))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open and close an element, which only drawings may."""
        if tag not in VOID:
            self._report(f"<{tag}/> closes nothing")
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Close an element, which must be the last one opened."""
        if not self._open or self._open[-1] != tag:
            self._report(f"</{tag}> inside <{self._open[-1] if self._open else ''}>")
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Take a text."""
        inside = self._open[-1] if self._open else ""
        if inside in ("script", "style") and data.strip():
            self._report(f"inline {inside}")
        for name in ("title", "h1"):
            if name in self._open and "svg" not in self._open:
                self.texts[name] = self.texts.get(name, "") + data

    @property
    def _in_label(self) -> bool:
        return "label" in self._open

    def _report(self, problem: str) -> None:
        self.problems.append(f"line {self.getpos()[0]}: {problem}")

    def _look_at_place(self, tag: str) -> None:
        if tag in NOT_IN_PARAGRAPHS and "p" in self._open:
            self._report(f"<{tag}> in <p>")
        if tag in INTERACTIVE and {"a", "button"} & set(self._open):
            self._report(f"<{tag}> in a link or button")
        if tag == "form" and "form" in self._open:
            self._report("form in form")

    def _look_at_attributes(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, times in Counter(name for name, _ in attrs).items():
            if times > 1:
                self._report(f"<{tag}> has {name} twice")
        for name, value in attrs:
            if name == "style" or name.startswith(("on", "hx-on")):
                self._report(f"inline {name}")
            if value and value.strip().lower().startswith("javascript:"):
                self._report(f"script in {name}")
            self._remember(name, value or "")

    def _remember(self, name: str, value: str) -> None:
        if name == "id":
            self._ids.append(value)
        if name in REFERENCES:
            self._references += [(name, each) for each in value.split()]
        if name == "for":
            self._labelled.add(value)

    def _conclude(self) -> None:
        if self._open:
            self._report(f"<{self._open[-1]}> is not closed")
        for name, times in Counter(self._ids).items():
            if times > 1 or not name:
                self._report(f"the id {name!r} is there {times} times")
        for name, target in self._references:
            if target not in self._ids:
                self._report(f"{name} leads to {target}, which is not there")
        for tag, attrs in self._controls:
            named = attrs.get("id") in self._labelled or {"aria-label", "aria-labelledby"} & set(
                attrs
            )
            if not named:
                self._report(f"<{tag} name={attrs.get('name')}> has no label")


def problems_of_page(text: str) -> list[str]:
    """Return what is wrong with a whole page."""
    page = Markup(text)
    once = ("h1", "title", "main")
    found = [f"{page.elements[tag]} {tag}" for tag in once if page.elements[tag] != 1]
    found += page.problems
    if not page.texts.get("h1", "").strip():
        found.append("the h1 is empty")
    if page.texts.get("title", "").split("–")[0].strip() in ("", "Backup NG"):
        found.append("the title says nothing")
    return found
