"""`config set`, `get` and `unset`: the properties of a server, in the words of the manual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from django.db import transaction

from backupng.engine.errors import BadRequest
from backupng.engine.operations.base import Command
from console import audit, connect, hosting, properties
from console.cli import backup
from console.cli.base import Console, ConsoleCommand
from console.cli.grammar import Usage
from console.models import Server, Setting
from console.scanner import switching

_SCOPE: Final = "server"
_LOCALHOST: Final = "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigCommand(ConsoleCommand):
    """A command on one attribute of a server that is named in the command itself."""

    scope: str = field(metadata={"values": _SCOPE})
    host: str
    attribute: str

    def find(self) -> Server:
        """Return the server meant, which must be one. Raises BadRequest."""
        if self.scope.lower() != _SCOPE:
            raise BadRequest(
                f"scope: {self.scope!r} is not accepted.",
                hint=f"Expected: {_SCOPE}.",
                parameter="scope",
                value=self.scope,
            )
        found = Server.objects.order_by("name")
        if self.host.lower() == _LOCALHOST:
            found = found.filter(identity__in=("", hosting.identity()))
        else:
            found = found.filter(name__iexact=self.host)
        names = [server.name for server in found]
        if len(names) > 1:
            raise Usage("There are several servers here.", hint=f"Name one: {', '.join(names)}.")
        if not names:
            known = ", ".join(Server.objects.order_by("name").values_list("name", flat=True))
            raise BadRequest(
                f"There is no server {self.host}.",
                hint=f"There are: {known}." if known else "",
                parameter="host",
                value=self.host,
            )
        return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSet(ConfigCommand):
    """Set an attribute of a server, at once."""

    command: ClassVar[str] = "set"
    title: ClassVar[str] = "Set an attribute"
    summary: ClassVar[str] = "Set: changes how the backup of a server is set up, at once"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng config set server mail1 ZxBackup_RealTimeScanner FALSE",
    )

    value: str

    def perform(self, console: Console) -> dict[str, Any]:
        """Set it and return its new value."""
        server = self.find()
        return {"server": server.name} | backup.set_property(server, self.attribute, self.value)

    def text(self, response: dict[str, Any]) -> str:
        """Print `ok`, and below what is due."""
        return backup.set_text(response)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigUnset(ConfigCommand):
    """Take an attribute of a server back: what is set for all servers counts, or the default."""

    command: ClassVar[str] = "unset"
    title: ClassVar[str] = "Unset an attribute"
    summary: ClassVar[str] = "Unset: has the value of all servers, or the default, count again"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng config unset server mail1 ZxBackup_RealTimeScanner",
    )

    def perform(self, console: Console) -> dict[str, Any]:
        """Take it back and return the value that counts now."""
        server = self.find()
        return {"server": server.name} | _unset(server, properties.find(self.attribute))

    def text(self, response: dict[str, Any]) -> str:
        """Print `ok`, and below what is due."""
        return backup.set_text(response)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigGet(ConfigCommand):
    """Show an attribute of a server."""

    command: ClassVar[str] = "get"
    title: ClassVar[str] = "Attribute"
    summary: ClassVar[str] = "Get: shows an attribute of a server and where its value comes from"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng config get server mail1 ZxBackup_RealTimeScanner",
    )

    def perform(self, console: Console) -> dict[str, Any]:
        """Return the value that counts."""
        server, name = self.find(), properties.find(self.attribute).name
        return {"server": server.name, "values": [_value(server, name)]}


def _unset(server: Server, chosen: properties.Property) -> dict[str, Any]:
    if chosen.name == properties.DEST_PATH or chosen.read_only:
        raise BadRequest(
            f"{chosen.name} has no value to go back to.", parameter="attribute", value=chosen.name
        )
    with transaction.atomic():
        Setting.objects.filter(server=server, name=chosen.name).delete()
        invitation = switching.after_setting(server, chosen.name, by=hosting.user_name())
    audit.note_as(
        hosting.user_name(),
        ConfigUnset.command,
        client=audit.CLI,
        subject=f"{chosen.name} on {server.name}",
    )
    found = {"properties": {chosen.name: chosen.spell(connect.values(server)[chosen.name].value)}}
    return found | ({"invitation": invitation} if invitation else {})


def _value(server: Server, name: str) -> Mapping[str, Any]:
    if properties.find(name).read_only:
        return {"attribute": name, "value": connect.measured(server)[name], "isInherited": False}
    is_own = name == properties.DEST_PATH
    is_own = is_own or Setting.objects.filter(server=server, name=name).exists()
    value = properties.find(name).spell(connect.values(server)[name].value)
    return {"attribute": name, "value": value, "isInherited": not is_own, "modules": ["backup"]}


COMMANDS: dict[str, type[Command]] = {
    each.command: each for each in (ConfigSet, ConfigGet, ConfigUnset)
}
