"""`config set`, `get` and `unset`: the properties of a server, in the words of the manual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.db import transaction

from backupng.engine.errors import BackupError, BadRequest
from backupng.engine.operations.base import Command
from console import audit, connect, hosting, properties
from console.cli import backup
from console.cli.base import Console, ConsoleCommand
from console.cli.grammar import Usage
from console.models import Server, Setting
from console.scanner import switching

_SERVER, _GLOBAL = "server", "global"
_LOCALHOST, _EVERY_SERVER = "localhost", "all_servers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigCommand(ConsoleCommand):
    """A command on one attribute: of servers, or of all that have no value of their own."""

    scope: str = field(metadata={"values": f"{_SERVER}|{_GLOBAL}"})
    host: str = field(metadata={"values": f"name|id|{_LOCALHOST}|{_EVERY_SERVER}"})
    attribute: str

    def perform(self, console: Console) -> dict[str, Any]:
        """Do it for each, all or none, and return what is so then."""
        targets = self.targets()
        # A refusal is in the audit log: for one server there is nothing else to take back.
        with transaction.atomic() if len(targets) > 1 else nullcontext():
            found = [self.on(server) for server in targets]
        return found[0] if len(found) == 1 else {"servers": found}

    def on(self, server: Server | None) -> dict[str, Any]:
        """Do it for a server, or with none for all. Raises BadRequest."""
        raise NotImplementedError

    def targets(self) -> list[Server | None]:
        """Return the servers meant; None is all without a value of their own. Raises BadRequest."""
        if self.scope.lower() == _GLOBAL:
            return [None]
        if self.scope.lower() != _SERVER:
            raise BadRequest(
                f"scope: {self.scope!r} is not accepted.",
                hint=f"Expected: {_SERVER} or {_GLOBAL}.",
                parameter="scope",
                value=self.scope,
            )
        servers = list(Server.objects.order_by("name"))
        found = _named(servers, self.host)
        if not found:
            known = ", ".join(server.name for server in servers)
            raise BadRequest(
                f"There is no server {self.host}.",
                hint=f"There are: {known}." if known else "",
                parameter="host",
                value=self.host,
            )
        return [*found]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSet(ConfigCommand):
    """Set an attribute, at once."""

    command: ClassVar[str] = "set"
    title: ClassVar[str] = "Set an attribute"
    summary: ClassVar[str] = (
        "Set: changes how the backup of a server, or of all, is set up, at once"
    )
    examples: ClassVar[tuple[str, ...]] = (
        "backupng config set server mail1 ZxBackup_RealTimeScanner FALSE",
        "backupng config set global ZxBackup_RealTimeScanner TRUE",
    )

    value: str

    def on(self, server: Server | None) -> dict[str, Any]:
        """Set it and return its new value."""
        if server is None:
            return _keep_for_all(self.command, properties.find(self.attribute), self.value)
        return {"server": server.name} | backup.set_property(server, self.attribute, self.value)

    def text(self, response: dict[str, Any]) -> str:
        """Print `ok`, and below what is due."""
        return _text(response)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigUnset(ConfigCommand):
    """Take an attribute back: what is set for all servers counts, or the default."""

    command: ClassVar[str] = "unset"
    title: ClassVar[str] = "Unset an attribute"
    summary: ClassVar[str] = "Unset: has the value of all servers, or the default, count again"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng config unset server mail1 ZxBackup_RealTimeScanner",
        "backupng config unset global ZxBackup_RealTimeScanner",
    )

    def on(self, server: Server | None) -> dict[str, Any]:
        """Take it back and return the value that counts now."""
        chosen = properties.find(self.attribute)
        if server is None:
            return _keep_for_all(self.command, chosen, None)
        return {"server": server.name} | _unset(server, chosen)

    def text(self, response: dict[str, Any]) -> str:
        """Print `ok`, and below what is due."""
        return _text(response)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigGet(ConfigCommand):
    """Show an attribute."""

    command: ClassVar[str] = "get"
    title: ClassVar[str] = "Attribute"
    summary: ClassVar[str] = "Get: shows an attribute of a server and where its value comes from"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng config get server mail1 ZxBackup_RealTimeScanner",
        "backupng config get global ZxBackup_RealTimeScanner",
    )

    def on(self, server: Server | None) -> dict[str, Any]:
        """Return the value that counts."""
        chosen = properties.find(self.attribute)
        where = {"server": server.name} if server else {"scope": _GLOBAL}
        return {**where, "values": [_value(server, chosen)]}


# The servers


def _named(servers: Sequence[Server], host: str) -> list[Server]:
    """Return the servers that a word means. Raises Usage if it is this host and it has several."""
    word = host.lower()
    if word == _EVERY_SERVER:
        return [*servers]
    if word == _LOCALHOST:
        here = [each for each in servers if each.identity in ("", hosting.identity())]
        if len(here) > 1:
            names = ", ".join(each.name for each in here)
            raise Usage("There are several servers here.", hint=f"Name one: {names}.")
        return here
    named = [each for each in servers if each.name.lower() == word]
    return named or [each for each in servers if _id_of(each).lower() == word]


def _id_of(server: Server) -> str:
    """Return the id that its directory gives it, as its Backup Path has it; empty if unknown."""
    with suppress(BackupError), connect.context(server) as ctx:
        try:
            return ctx.path.form.server_id
        except BackupError:
            return ctx.source.server_id
    return ""


# Values


def _keep_for_all(command: str, chosen: properties.Property, text: str | None) -> dict[str, Any]:
    """Keep a text for all servers without one of their own, or none any more. Raises BadRequest."""
    _refuse_unfit(chosen)
    kept = Setting.objects.filter(server=None, name=chosen.name)
    with transaction.atomic():
        if text is None:
            kept.delete()
        else:
            value = chosen.spell(chosen.parse(text))
            kept.update_or_create(name=chosen.name, server=None, defaults={"value": value})
        properties.check_together({name: each.value for name, each in _values(None).items()})
        said = [_settled(server, chosen) for server in Server.objects.order_by("name")]
    now = chosen.spell(_values(None)[chosen.name].value)
    _note(command, f"{chosen.name} on all servers", detail=f"→ {now}")
    found = {"scope": _GLOBAL, "properties": {chosen.name: now}}
    return found | ({"invitation": "\n".join(filter(None, said))} if any(said) else {})


def _settled(server: Server, chosen: properties.Property) -> str:
    """Have a new value for all take effect on a server; returns what is due there."""
    properties.check_together({name: each.value for name, each in connect.values(server).items()})
    return switching.after_setting(server, chosen.name, by=hosting.user_name())


def _unset(server: Server, chosen: properties.Property) -> dict[str, Any]:
    _refuse_unfit(chosen)
    with transaction.atomic():
        Setting.objects.filter(server=server, name=chosen.name).delete()
        invitation = switching.after_setting(server, chosen.name, by=hosting.user_name())
    _note(ConfigUnset.command, f"{chosen.name} on {server.name}")
    found = {"properties": {chosen.name: chosen.spell(connect.values(server)[chosen.name].value)}}
    return found | ({"invitation": invitation} if invitation else {})


def _refuse_unfit(chosen: properties.Property) -> None:
    """Refuse what each server has its own of. Raises BadRequest."""
    if chosen.name == properties.DEST_PATH or chosen.read_only:
        raise BadRequest(
            f"{chosen.name} has no value for all servers.",
            hint="Each server has its own.",
            parameter="attribute",
            value=chosen.name,
        )


def _value(server: Server | None, chosen: properties.Property) -> Mapping[str, Any]:
    name = chosen.name
    if server is None:
        _refuse_unfit(chosen)
    elif chosen.read_only:
        return {"attribute": name, "value": connect.measured(server)[name], "isInherited": False}
    is_own = name == properties.DEST_PATH
    is_own = is_own or Setting.objects.filter(server=server, name=name).exists()
    value = chosen.spell(_values(server)[name].value)
    return {"attribute": name, "value": value, "isInherited": not is_own, "modules": ["backup"]}


def _values(server: Server | None) -> Mapping[str, properties.Value]:
    if server is not None:
        return connect.values(server)
    everywhere = Setting.objects.filter(server=None).values_list("name", "value")
    return properties.resolve({}, dict(everywhere))


def _note(action: str, subject: str, *, detail: str = "") -> None:
    audit.note_as(hosting.user_name(), action, client=audit.CLI, subject=subject, detail=detail)


def _text(response: Mapping[str, Any]) -> str:
    return "".join(map(backup.set_text, response.get("servers", [response])))


COMMANDS: dict[str, type[Command]] = {
    each.command: each for each in (ConfigSet, ConfigGet, ConfigUnset)
}
