"""The look: contrast of every pair of colours, themes that agree, files of others unchanged."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parent.parent.parent / "static"
OWN = STATIC / "console"
TOKENS = (OWN / "tokens.css").read_text(encoding="utf-8")
COLOUR = re.compile(r"(--[\w-]+):\s*(#[0-9a-f]{6})\b")

GROUNDS = ("bg", "surface", "surface-2")
STATES = ("ok", "warn", "err", "info", "run", "idle")
TEXT_PAIRS = (
    *((text, ground) for text in ("text", "muted", "accent", "accent-hover") for ground in GROUNDS),
    *((state, f"{state}-bg") for state in STATES),
    *((text, f"{state}-bg") for text in ("text", "muted", "accent") for state in STATES[:4]),
    *(("err", ground) for ground in GROUNDS),
    ("on-accent", "accent"),
    ("on-accent", "accent-hover"),
    ("accent", "info-bg"),
)
BORDER_PAIRS = (
    *(("border-strong", ground) for ground in GROUNDS),
    *(("accent", ground) for ground in GROUNDS),
    *((state, f"{state}-bg") for state in STATES),
    *((f"c{number}", "surface") for number in range(1, 7)),
    ("run", "surface"),
)


def colours(opening: str) -> dict[str, str]:
    """Return the colours of the rule that begins so, by name."""
    rule = TOKENS[TOKENS.index(opening) + len(opening) :].partition("}")[0]
    return {name.removeprefix("--"): value for name, value in COLOUR.findall(rule)}


LIGHT = colours(":root, :root[data-theme=light] {")
DARK = colours(":root[data-theme=dark] {")
THEMES = {"light": LIGHT, "dark": DARK}


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2, 1 to 21."""
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_reckoned_as_in_the_standard() -> None:
    assert round(contrast("#000000", "#ffffff"), 2) == 21
    assert round(contrast("#767676", "#ffffff"), 2) == 4.54


@pytest.mark.parametrize("theme", THEMES)
def test_every_text_can_be_read_on_its_ground(theme: str) -> None:
    found = THEMES[theme]
    ratios = {pair: contrast(found[pair[0]], found[pair[1]]) for pair in TEXT_PAIRS}
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("theme", THEMES)
def test_every_border_and_mark_can_be_seen(theme: str) -> None:
    found = THEMES[theme]
    ratios = {pair: contrast(found[pair[0]], found[pair[1]]) for pair in BORDER_PAIRS}
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 3} == {}


def test_dark_is_the_same_whether_chosen_or_the_systems() -> None:
    system = colours(":root:not([data-theme=light]) {")
    assert system == DARK
    assert set(DARK) == set(LIGHT)


def test_light_is_the_same_whether_chosen_or_the_systems() -> None:
    assert ":root, :root[data-theme=light] {" in TOKENS
    assert "@media (prefers-color-scheme: light)" not in TOKENS


@pytest.mark.parametrize("name", ["base.css", "components.css"])
def test_colours_stand_in_the_tokens_alone(name: str) -> None:
    assert not re.search(r"#[0-9a-f]{3,8}\b(?![^{}]*\{)", (OWN / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["base.css", "components.css"])
def test_every_token_that_is_used_is_there(name: str) -> None:
    used = set(re.findall(r"var\((--[\w-]+)\)", (OWN / name).read_text(encoding="utf-8")))
    assert used <= set(re.findall(r"(--[\w-]+):", TOKENS))


def test_the_style_sheets_stay_small() -> None:
    assert sum(path.stat().st_size for path in OWN.glob("*.css")) < 24_000


# Scripts


def test_the_script_is_short_and_evaluates_nothing() -> None:
    text = (OWN / "app.js").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert not re.search(
        r"\beval\b|\bFunction\(|innerHTML|outerHTML|insertAdjacent|\.style\b", text
    )


VENDORED = dict(
    re.findall(
        r"^\| `([^`]+)` .*\| `([0-9a-f]{64})` \|$",
        (STATIC / "VENDORED.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
)


def test_every_file_of_others_is_listed() -> None:
    foreign = {
        str(path.relative_to(STATIC))
        for path in STATIC.rglob("*")
        if path.is_file() and not path.is_relative_to(OWN) and path.name != "VENDORED.md"
    }
    assert set(VENDORED) == foreign


@pytest.mark.parametrize("name", VENDORED)
def test_a_file_of_others_is_unchanged(name: str) -> None:
    assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == VENDORED[name]


def test_the_pages_load_the_files_that_are_listed() -> None:
    base = (STATIC.parent / "templates" / "base.html").read_text(encoding="utf-8")
    loaded = set(re.findall(r"{% static '(htmx/[^']+)' %}", base))
    assert loaded == set(VENDORED)
