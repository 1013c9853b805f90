"""The one table of parameter types: type -> label, how to read it from text, how to spell it.

Command line, queue row, wizard, summary and mail all use these words, so a parameter reads the same
everywhere. A new type is one new line in `WORDS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NewType
from zoneinfo import ZoneInfo

from backupng.engine.backuppath.typed import misspelling
from backupng.engine.errors import BadRequest

AccountName = NewType("AccountName", str)
AccountNameOrId = NewType("AccountNameOrId", str)
AccountNames = NewType("AccountNames", tuple)  # type: ignore[type-arg]  # a runtime key of WORDS
Addresses = NewType("Addresses", tuple)  # type: ignore[type-arg]  # a runtime key of WORDS
Uuid = NewType("Uuid", str)
"""The id of an operation, or its beginning."""
Text = NewType("Text", str)
"""Any text, an empty one and one of several lines too."""
Words = NewType("Words", tuple)  # type: ignore[type-arg]  # a runtime key of WORDS
Days = NewType("Days", int)
"""A whole number of days, 0 for ever; the manual calls it a String."""
Domains = NewType("Domains", tuple)  # type: ignore[type-arg]  # a runtime key of WORDS
Paths = NewType("Paths", tuple)  # type: ignore[type-arg]  # a runtime key of WORDS
ItemIds = NewType("ItemIds", tuple)  # type: ignore[type-arg]  # a runtime key of WORDS
NO_ADDRESSES = Addresses(())
ALL_DOMAINS = Domains(())

_DATE = re.compile(r"(\d{2})/(\d{2})/(\d{4}) (\d{2}):(\d{2}):(\d{2})")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS = re.compile(
    rf"(?=.{{1,64}}@)(?!-){_ATOM}(\.{_ATOM})*@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"
)
"""A dot-atom of RFC 5321, which no list, path or option is mistaken for."""
_UUID = re.compile(r"[0-9a-f]{6,8}|[0-9a-f]{8}-[0-9a-f-]{0,27}")
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
DATE_FORMAT = "%d/%m/%Y %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Moment:
    """A date as an admin gives it: a second, or a keyword such as `last`.

    `at` is aware; it means the *end* of that second: a change stamped inside it is included.
    """

    at: datetime | None = None
    keyword: str = ""

    def __str__(self) -> str:
        return self.keyword or (self.at.strftime(DATE_FORMAT) if self.at else "")


LAST = Moment(keyword="last")
FIRST = Moment(keyword="first")


@dataclass(frozen=True, slots=True)
class Word:
    """One parameter type: its label on the help page, its reader, its writer, a value as typed.

    `parse` takes the text and the server's time zone and raises ValueError with what is expected.
    """

    label: str
    parse: Callable[[str, ZoneInfo], Any]
    spell: Callable[[Any, ZoneInfo], str]
    example: str = ""


def parse(kind: Any, text: str, *, name: str, zone: ZoneInfo) -> Any:
    """Read the value of parameter `name` from text. Raises BadRequest (bad_value, date_…)."""
    word = WORDS[kind]
    try:
        return word.parse(text, zone)
    except (ValueError, OverflowError) as error:
        raise BadRequest(
            f"{name}: {text!r} is not accepted: {error}.",
            hint=f"Expected: {word.label}{f', such as {word.example}' if word.example else ''}.",
            parameter=name,
            value=text,
        ) from error


def spell(kind: Any, value: Any, zone: ZoneInfo) -> str:
    """Write a value as an admin would type it; `parse` reads it back."""
    return WORDS[kind].spell(value, zone)


def is_address(text: str) -> bool:
    """Say whether `text` has the form of a mail address."""
    return _ADDRESS.fullmatch(text) is not None


def is_ambiguous(moment: Moment, zone: ZoneInfo) -> bool:
    """Say whether a clock change makes this local time happen twice (the later is meant)."""
    if moment.at is None:
        return False
    local = moment.at.astimezone(zone).replace(tzinfo=zone)
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def _parse_moment(text: str, zone: ZoneInfo) -> Moment:
    if text.lower() in ("last", "first", "all", "most_recent", "least_recent"):
        return Moment(keyword=text.lower())
    found = _DATE.fullmatch(text)
    if found is None:
        return Moment(at=_iso(text, zone))
    day, month, year, hour, minute, second = (int(part) for part in found.groups())
    return Moment(at=_local(datetime(year, month, day, hour, minute, second, tzinfo=zone), zone))


def _iso(text: str, zone: ZoneInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("no date of the form dd/MM/yyyy HH:mm:ss") from error
    moment = moment.replace(microsecond=0)
    return moment.astimezone(UTC) if moment.tzinfo else _local(moment.replace(tzinfo=zone), zone)


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return the UTC moment of a local time: the later of two, refused if it never existed."""
    later = moment.replace(fold=1).astimezone(UTC)
    if later.astimezone(zone).replace(tzinfo=None) != moment.replace(tzinfo=None):
        raise ValueError(f"the clocks of {zone.key} skipped that time")
    return later


def _spell_moment(moment: Moment, zone: ZoneInfo) -> str:
    if moment.at is None:
        return moment.keyword
    text = moment.at.astimezone(zone).strftime(DATE_FORMAT)
    # The earlier of two equal local times has no such spelling; ISO 8601 has one.
    return text if _parse_moment(text, zone).at == moment.at else moment.at.isoformat()


def _parse_boolean(text: str, _zone: ZoneInfo) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError("neither true nor false")
    return text.lower() in _TRUE


def _parse_integer(text: str, _zone: ZoneInfo) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError("no whole number of at least 0")
    return int(text)


def _parse_items(text: str, _zone: ZoneInfo) -> tuple[int, ...]:
    words = _parse_words(text, _zone)
    if not words or not all(re.fullmatch(r"[0-9]{1,10}", word) for word in words):
        raise ValueError("no id of an item, nor several with commas between them")
    return tuple(dict.fromkeys(map(int, words)))


def _parse_days(text: str, _zone: ZoneInfo) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise ValueError("no whole number of days from 0 to 99999")
    return int(text)


def _parse_text(text: str, _zone: ZoneInfo) -> str:
    if not text or any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or _is_half(c) for c in text):
        raise ValueError("empty, or with control characters or bytes that are no text")
    return text


def _is_half(character: str) -> bool:
    """Say whether this is half a character: what a byte that is no UTF-8 is read as."""
    return 0xD800 <= ord(character) < 0xE000


def _parse_uuid(text: str, _zone: ZoneInfo) -> str:
    if not _UUID.fullmatch(text.lower()):
        raise ValueError("neither an id nor six or more characters of its beginning")
    return text.lower()


def _parse_lines(text: str, _zone: ZoneInfo) -> str:
    if any((ord(c) < 32 and c not in "\n\t") or _is_half(c) for c in text):
        raise ValueError("with control characters or bytes that are no text")
    return text


def _parse_addresses(text: str, _zone: ZoneInfo) -> tuple[str, ...]:
    addresses = _parse_words(text, _zone)
    for address in addresses:
        if not is_address(address):
            raise ValueError(f"{address!r} is no mail address")
    return addresses


def _parse_domains(text: str, zone: ZoneInfo) -> tuple[str, ...]:
    """`all`, the default's own word, is every domain: an empty list."""
    return () if text.strip().lower() == "all" else _parse_words(text, zone)


def _parse_words(text: str, _zone: ZoneInfo) -> tuple[str, ...]:
    return tuple(part for part in (part.strip() for part in text.split(",")) if part)


def _parse_path(text: str, _zone: ZoneInfo) -> Path:
    if flaw := misspelling(text):
        raise ValueError(flaw)
    return Path(re.sub("/+", "/", text))


def _parse_paths(text: str, zone: ZoneInfo) -> tuple[Path, ...]:
    return tuple(_parse_path(each, zone) for each in _parse_words(text, zone))


def _plain(value: Any, _zone: ZoneInfo) -> str:
    return str(value)


def _joined(value: Any, _zone: ZoneInfo) -> str:
    return ",".join(value)


WORDS: dict[Any, Word] = {
    AccountName: Word("Account Name", _parse_text, _plain),
    AccountNameOrId: Word("Account Name/ID", _parse_text, _plain),
    AccountNames: Word("Account Name/ID[,..]", _parse_domains, _joined, "john@example.com"),
    Addresses: Word("Email Address[,..]", _parse_addresses, _joined, "john@example.com"),
    Days: Word("String", _parse_days, _plain, "30"),
    Domains: Word("Domain Name[,..]", _parse_domains, _joined),
    ItemIds: Word(
        "Integer[,..]", _parse_items, lambda value, _zone: ",".join(map(str, value)), "4784"
    ),
    Moment: Word("Date", _parse_moment, _spell_moment, '"28/09/2021 10:15:10"'),
    Paths: Word("Path[,..]", _parse_paths, lambda value, _zone: ",".join(map(str, value)), "/mnt"),
    Path: Word("Path", _parse_path, _plain, "/mnt/import"),
    Words: Word("String[,..]", _parse_words, _joined),
    Text: Word("Text", _parse_lines, _plain),
    Uuid: Word("Uuid", _parse_uuid, _plain, "30ed9eb9-eb28-4ca6-b65e-9940654b8601"),
    bool: Word("Boolean", _parse_boolean, lambda value, _zone: str(value).lower(), "true"),
    int: Word("Integer", _parse_integer, _plain),
    str: Word("String", _parse_text, _plain),
}
