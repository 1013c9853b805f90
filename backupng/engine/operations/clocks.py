"""Local times and the moments they mean, where clocks are put forward and back too. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_SECOND = timedelta(seconds=1)


def readings(local: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """Return the moments, UTC, at which the clocks of a zone show a local time, earliest first.

    There is one; two where the clocks were put back over it; none where they were put forward.
    """
    shown = local.replace(tzinfo=None, fold=0)
    meant = {shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return tuple(
        sorted(each for each in meant if each.astimezone(zone).replace(tzinfo=None) == shown)
    )


def around_gap(local: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the last second before and the first one after the gap of a time that never was, UTC.

    `local` is one of whole seconds for which `readings` are none.
    """
    shown = local.replace(tzinfo=None, fold=0)
    # The new offset, which fold 1 means, leads to before the change; the old one to after it.
    before = shown.replace(tzinfo=zone, fold=1).astimezone(UTC)
    after = shown.replace(tzinfo=zone, fold=0).astimezone(UTC)
    old = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return before, after
