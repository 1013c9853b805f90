"""The command `scheduler`: when something runs by itself, on one server or on all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from backupng.engine.errors import BadRequest
from backupng.engine.model import from_ms, to_ms
from backupng.engine.operations.words import DATE_FORMAT
from console import audit, hosting, scheduling
from console.cli import user
from console.cli.base import Console, ConsoleCommand
from console.models import Server
from console.timetable import check_pattern

_NAMES: Final = {"smartscan": "SmartScan", "purge": "purge", "coherencycheck": "coherencyCheck"}
_PROPERTIES: Final = {
    "SmartScan": scheduling.SCAN,
    "purge": scheduling.PURGE,
    "coherencyCheck": scheduling.CHECK,
}
_GET, _SET = "get", "set"
_GLOBAL, _SERVER = "global", "server"
_LOCAL: Final = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler(ConsoleCommand):
    """Show or set a timetable."""

    command: ClassVar[str] = "scheduler"
    title: ClassVar[str] = "Schedules"
    summary: ClassVar[str] = "Schedules: shows or sets when a scan, Purge or check runs by itself"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup scheduler SmartScan get server",
        'backupng backup scheduler SmartScan set server enabled true pattern "0 4 * * *"',
        "backupng backup scheduler SmartScan set global enabled false",
        'backupng backup scheduler purge set server pattern "0 4 * * 6"',
    )
    on_server: ClassVar[bool] = True

    @classmethod
    def needs_server(cls, texts: Mapping[str, str]) -> bool:
        """Say whether it is about one: what is so on all of them is about none."""
        return texts["scope"].lower() != _GLOBAL

    schedule: str = field(metadata={"values": "SmartScan|purge|coherencyCheck"})
    action: str = field(metadata={"values": f"{_GET}|{_SET}"})
    scope: str = field(metadata={"values": f"{_GLOBAL}|{_SERVER}"})
    enabled: bool | None = field(default=None, metadata={"values": "true|false"})
    pattern: str = field(default="", metadata={"values": '"minute hour day month weekday"'})
    target_server: str = field(default=_LOCAL, metadata={"values": _LOCAL})

    def perform(self, console: Console) -> dict[str, Any]:
        """Set it if that is asked for, and return what is so now."""
        name = _NAMES[_one_of("schedule", self.schedule, *_NAMES.values()).lower()]
        action = _one_of("action", self.action, _GET, _SET).lower()
        scope = _one_of("scope", self.scope, _GLOBAL, _SERVER).lower()
        server = console.chosen if scope == _SERVER else None
        _one_of("target_server", self.target_server, _LOCAL, *([server.name] if server else []))
        kept_in = _PROPERTIES[name]
        before = scheduling.timetable(server, kept_in)
        if action == _SET:
            self._set(server, kept_in)
        found = scheduling.timetable(server, kept_in)
        zone = server.zone_info if server else ZoneInfo(hosting.zone())
        next_run = scheduling.in_force(server, kept_in).next_run(console.now, zone)
        response = {
            "schedule": name,
            "scope": scope,
            "enabled": found.enabled,
            "pattern": found.pattern,
            "inherited_from": scheduling.source(server, kept_in),
            "next_run": to_ms(next_run) if next_run else None,
            "zone": zone.key,
        }
        return response | ({"changed": found != before} if action == _SET else {})

    def _set(self, server: Server | None, kept_in: str) -> None:
        before = scheduling.timetable(server, kept_in)
        if self.enabled is None and not self.pattern:
            raise BadRequest(
                "Nothing to set was given.", hint='Add enabled true|false or pattern "0 4 * * *".'
            )
        enabled = before.enabled if self.enabled is None else self.enabled
        pattern = check_pattern(self.pattern) if self.pattern else before.pattern
        wanted = replace(before, enabled=enabled, pattern=pattern)
        scheduling.set_timetable(server, wanted, kept_in)
        where = server.name if server else "all servers"
        audit.note_as(
            user.current(),
            "set property",
            client=audit.CLI,
            subject=kept_in,
            result=audit.DONE,
            detail=f"{where}: {before.spell()} → {wanted.spell()}",
        )

    def shown(self, response: dict[str, Any]) -> dict[str, Any]:
        """Show it as a block under its name."""
        shown = {name: response[name] for name in ("enabled", "pattern", "inherited_from")}
        return {response["schedule"]: shown | {"next_run": _next_run(response)}}


def _next_run(response: Mapping[str, Any]) -> str:
    if response["next_run"] is None:
        return ""
    moment = from_ms(response["next_run"]).astimezone(ZoneInfo(response["zone"]))
    return moment.strftime(f"{DATE_FORMAT} %Z")


def _one_of(parameter: str, word: str, *words: str) -> str:
    if word.lower() not in {each.lower() for each in words}:
        raise BadRequest(
            f"{parameter}: {word!r} is not accepted.",
            hint=f"Expected: {' or '.join(words)}.",
            parameter=parameter,
            value=word,
        )
    return word
