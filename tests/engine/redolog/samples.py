"""Seeded values for any layout, in any version."""

from __future__ import annotations

import random
import struct
from typing import Any

from backupng.engine.redolog.kinds import (
    AsManyAs,
    Bulk,
    Fields,
    Group,
    Grown,
    Kind,
    Many,
    Number,
    Text,
)
from backupng.engine.redolog.layouts import Layout

TEXTS = (None, "", "a", "/x/y", "caf\u00e9 \U0001f600", "d1:ai1ee", "nul\0", "\udcff", "ZMREDO")


def fields(form: Layout, minor: int, dice: random.Random) -> dict[str, Any]:
    """Return values for all fields that a record of version 1.`minor` has."""
    return _group(Group(form.slots), minor, dice)


def _group(group: Group, minor: int, dice: random.Random) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for name, slot in group.slots.items():
        if slot.is_there(minor, chosen):
            chosen[name] = _value(slot.kind, minor, dice, seen=chosen)
    return chosen


def _value(kind: Kind, minor: int, dice: random.Random, *, seen: Fields) -> Any:
    match kind:
        case Number(form):
            return _number(form.format[-1], dice)
        case Grown(grown, older, newer):
            return _value(newer if minor >= grown else older, minor, dice, seen=seen)
        case Text():
            return dice.choice(TEXTS)
        case Bulk():
            return dice.randbytes(dice.randrange(40))
        case Group():
            return _group(kind, minor, dice)
    return _values(kind, minor, dice, seen=seen)


def _values(kind: Kind, minor: int, dice: random.Random, *, seen: Fields) -> Any:
    match kind:
        case AsManyAs(name, inner):
            return [_value(inner, minor, dice, seen=seen) for _ in seen[name]]
        case Many(inner, _, nullable):
            if nullable and dice.random() < 0.2:
                return None
            return [_value(inner, minor, dice, seen=seen) for _ in range(dice.randrange(4))]
    raise TypeError(f"no samples of {kind}")


def _number(letter: str, dice: random.Random) -> Any:
    if letter == "?":
        return dice.random() < 0.5
    most = 1 << (8 * struct.calcsize(letter) - 1)
    return dice.choice((-1, 0, 1, 2, 7, most - 1, -most, dice.randrange(most)))
