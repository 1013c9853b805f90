"""Properties of one iCalendar component, read leniently: what cannot be read is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from icalendar import Component, vBroken

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.zimbra.parsing.moments import Moment

_LINE_END = re.compile(r"\r?\n")


@dataclass(frozen=True, slots=True)
class Properties:
    """A component under the names of its properties, upper case."""

    source: Component

    def all(self, name: str) -> list[Any]:
        """Return the readable values of a property that may stand there several times."""
        values = self.source.get(name, [])
        if not isinstance(values, list):
            values = [values]
        return [value for value in values if not isinstance(value, vBroken)]

    def one(self, name: str) -> Any:
        """Return the first readable value of a property, or None."""
        return next(iter(self.all(name)), None)

    def text(self, name: str) -> str:
        """Return a property as text, its lines ended as the real server ends them; "" if absent."""
        value = self.one(name)
        return "" if value is None else with_crlf(value)

    def word(self, name: str) -> str:
        """Return a property that is one of a few words, in upper case."""
        return self.text(name).upper()

    def parameter(self, name: str, parameter: str) -> str:
        """Return a parameter of a property, in upper case; "" if either is absent."""
        return str(getattr(self.one(name), "params", {}).get(parameter, "")).upper()

    def number(self, name: str, *, highest: int) -> int | None:
        """Return a property that is a number from 0 to `highest`; anything else is none."""
        with suppress(ValueError, TypeError):
            number = int(self.one(name))
            return number if 0 <= number <= highest else None
        return None

    def moment(self, name: str) -> Moment | None:
        """Return a date property; None if absent. Raises InvalidItem if it is unreadable."""
        return Moment.read(self.one(name), name) if name in self.source else None

    def ms(self, name: str) -> int | None:
        """Return a date property as ms since the epoch; None if absent or unreadable."""
        with suppress(InvalidItem):
            return Moment.read(self.one(name), name).ms
        return None

    def extras(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Yield the X- properties: name, value, parameters."""
        for name, value in self.source.property_items(recursive=False, sorted=False):
            if name.startswith("X-"):
                yield name, with_crlf(value), getattr(value, "params", {})


def with_crlf(value: object) -> str:
    """Return text without blanks around it and with CR LF between its lines."""
    return _LINE_END.sub("\r\n", str(value).strip())
