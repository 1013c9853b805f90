"""Module `config` of the command line, as far as it adds mail servers and checks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from backupng.engine.errors import BackupError, BadRequest
from backupng.engine.operations.base import Command, IncompleteAnswer
from console import audit, connect, hosting
from console.cli.base import Console, ConsoleCommand
from console.models import Server

if TYPE_CHECKING:
    from backupng.engine.mailserver.zimbra.checks import Check

_HOMES: Final = (Path("/opt/zimbra"), Path("/opt/zextras"))
_LOCALCONFIG: Final = Path("conf", "localconfig.xml")
_BACKUP_PATH: Final = Path("backup", "ng")
_SCAN: Final = "backupng --host {name} backup doSmartScan"
_SHOWN: Final = ("name", "ok", "message", "hint", "necessary")


class Unfit(IncompleteAnswer):
    """Something that every backup of the server needs is missing; the checks are its answer."""

    code = "check_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddServer(ConsoleCommand):
    """Add a real mail server of this host."""

    command: ClassVar[str] = "addServer"
    title: ClassVar[str] = "Add server"
    summary: ClassVar[str] = (
        "Add server: checks a mail server of this host, then puts it under backup"
    )
    examples: ClassVar[tuple[str, ...]] = (
        "backupng config addServer mail1 zimbra",
        "backupng config addServer mail1 zimbra localconfig /opt/zextras/conf/localconfig.xml",
        "backupng config addServer mail1 zimbra backup_path /mnt/backup/ng",
    )

    name: str
    kind: str = field(metadata={"values": connect.ZIMBRA})
    localconfig: Path | None = field(
        default=None, metadata={"default": str(_HOMES[0] / _LOCALCONFIG)}
    )
    backup_path: Path | None = field(
        default=None, metadata={"default": f"{_HOMES[0] / _BACKUP_PATH}/"}
    )

    def perform(self, console: Console) -> dict[str, Any]:
        """Check it and add it. Raises Unfit when something necessary is missing."""
        if self.kind.lower() != connect.ZIMBRA:
            raise BadRequest(
                f"kind: {self.kind!r} is not accepted.",
                hint="Expected: zimbra, for Carbonio too. A sandbox is made by"
                " backupng sandbox createServer.",
                parameter="kind",
                value=self.kind,
            )
        try:
            added = self._add()
        except BackupError as error:
            self._note(audit.REFUSED, str(error))
            raise
        self._note(audit.DONE, f"its Backup Path is {added['backup_path']}")
        return added

    def text(self, response: dict[str, Any]) -> str:
        """Print a line for each check, and what comes next."""
        lines = _lines(response["checks"])
        if "name" in response:
            name = response["name"]
            lines += [
                "",
                f"The server {name} is added. Its first scan: {_SCAN.format(name=name)}",
            ]
        return "".join(f"{line}\n" for line in lines)

    def _add(self) -> dict[str, Any]:
        home = next((each for each in _HOMES if (each / _LOCALCONFIG).exists()), _HOMES[0])
        backup_path = self.backup_path or home / _BACKUP_PATH
        found = connect.add_zimbra(
            self.name,
            localconfig=self.localconfig or home / _LOCALCONFIG,
            backup_path=backup_path,
        )
        _refuse_unfit(self.name, found, then="Nothing was added: grant what is missing, try again.")
        return {
            "name": self.name,
            "kind": connect.ZIMBRA,
            "backup_path": str(backup_path),
            "checks": _spelled(found),
        }

    def _note(self, result: str, detail: str) -> None:
        audit.note_as(
            hosting.user_name(),
            self.command,
            client=audit.CLI,
            subject=self.name,
            result=result,
            detail=detail,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckServer(ConsoleCommand):
    """Check a mail server that was added."""

    command: ClassVar[str] = "checkServer"
    title: ClassVar[str] = "Check server"
    summary: ClassVar[str] = (
        "Check server: says what a backup of a mail server lacks, and how to grant it"
    )
    examples: ClassVar[tuple[str, ...]] = ("backupng config checkServer mail1",)

    server: str

    def perform(self, console: Console) -> dict[str, Any]:
        """Check it. Raises Unfit when something necessary is missing."""
        server = Server.objects.filter(name__iexact=self.server).first()
        if server is None:
            known = ", ".join(Server.objects.order_by("name").values_list("name", flat=True))
            raise BadRequest(
                f"There is no server {self.server}.",
                hint=f"There are: {known}." if known else "Add one: backupng config addServer.",
            )
        found = connect.examine(server)
        _refuse_unfit(server.name, found, then="Grant what is missing, and check again.")
        opened = {"name": "sandbox", "ok": True, "message": f"The sandbox {server.name} opens."}
        return {"checks": _spelled(found) or [opened | {"hint": "", "necessary": True}]}

    def text(self, response: dict[str, Any]) -> str:
        """Print a line for each check."""
        return "".join(f"{line}\n" for line in _lines(response["checks"]))


def _refuse_unfit(name: str, found: Sequence[Check], *, then: str) -> None:
    missing = [each for each in found if each.necessary and not each.ok]
    if not missing:
        return
    names = ", ".join(each.name for each in missing)
    error = Unfit(f"The server {name} lacks: {names}.", {"checks": _spelled(found)}, hint=then)
    if any(each.unreachable for each in missing):
        error.code = "server_unreachable"
    raise error


def _spelled(found: Sequence[Check]) -> list[dict[str, Any]]:
    return [{name: asdict(each)[name] for name in _SHOWN} for each in found]


def _lines(checks: Sequence[dict[str, Any]]) -> list[str]:
    """Spell each check as one line: whether it is so, what, and how it would be."""
    return [
        f"{'ok' if each['ok'] else 'missing':<9}{each['message']}  {each['hint']}".rstrip()
        for each in checks
    ]


COMMANDS: dict[str, type[Command]] = {each.command: each for each in (AddServer, CheckServer)}
