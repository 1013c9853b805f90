"""Module `sandbox` of the command line: the embedded mail server, made, filled, changed, listed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from backupng.engine.errors import BadRequest
from backupng.engine.operations.base import Command
from backupng.engine.operations.words import Text
from console import connect
from console.cli import sandbox_items, sandbox_play
from console.cli.base import Console, ConsoleCommand

_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?"
)
_MOST = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateServer(ConsoleCommand):
    """Make a sandbox server with seeded content."""

    command: ClassVar[str] = "createServer"
    title: ClassVar[str] = "Create server"
    summary: ClassVar[str] = "Create server: makes an embedded mail server with seeded content"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox createServer mail1 domain example.com accounts 3 items 50 seed 7",
    )

    name: str
    domain: str = "example.com"
    accounts: int = 3
    items: int = 40
    seed: int = 1

    def perform(self, console: Console) -> dict[str, Any]:
        """Make it; returns name, Backup Path, domain and addresses."""
        domain = self.domain.lower()
        if not _DOMAIN.fullmatch(domain):
            raise BadRequest(f"{self.domain!r} is no domain name.")
        if max(self.accounts, self.items) > _MOST:
            raise BadRequest(f"At most {_MOST} accounts and {_MOST} items each.")
        server = connect.create_sandbox(
            connect.SandboxRequest(
                name=self.name,
                domain=domain,
                accounts=self.accounts,
                items=self.items,
                seed=self.seed,
            )
        )
        return {"name": server.name, "backup_path": str(server.path), **connect.outline(server)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(ConsoleCommand):
    """Make a sandbox server from what a real one wrote."""

    command: ClassVar[str] = "load"
    title: ClassVar[str] = "Load"
    summary: ClassVar[str] = "Load: makes an embedded mail server from rows and files of a real one"
    examples: ClassVar[tuple[str, ...]] = ("backupng sandbox load zimbra1 ./history",)

    name: str
    directory: str

    def perform(self, console: Console) -> dict[str, Any]:
        """Make it; returns name, Backup Path, domain and addresses."""
        server = connect.load_sandbox(self.name, Path(self.directory).absolute())
        return {"name": server.name, "backup_path": str(server.path), **connect.outline(server)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAccount(ConsoleCommand):
    """Make an account on a sandbox."""

    command: ClassVar[str] = "createAccount"
    title: ClassVar[str] = "Create account"
    summary: ClassVar[str] = "Create account: makes an account with an empty mailbox"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox createAccount mail1 john@example.com cos staff",
    )

    server: str
    address: str
    cos: str = ""

    def perform(self, console: Console) -> dict[str, Any]:
        """Make it; returns its name and id."""
        with connect.sandbox(self.server) as client:
            account_id = client.create_account(self.address, cos=self.cos)
        return {"name": self.address.lower(), "id": account_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAccount(ConsoleCommand):
    """Remove an account from a sandbox."""

    command: ClassVar[str] = "deleteAccount"
    title: ClassVar[str] = "Delete account"
    summary: ClassVar[str] = "Delete account: removes an account and all its mailbox holds"
    examples: ClassVar[tuple[str, ...]] = ("backupng sandbox deleteAccount mail1 john@example.com",)

    server: str
    account: str

    def perform(self, console: Console) -> dict[str, Any]:
        """Remove it."""
        with connect.sandbox(self.server) as client:
            client.delete_account(self.account)
        return {"deleted": self.account}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCos(ConsoleCommand):
    """Put an account into a class of service."""

    command: ClassVar[str] = "setCos"
    title: ClassVar[str] = "Set class of service"
    summary: ClassVar[str] = "Set class of service: puts an account into one, new if the name is"
    examples: ClassVar[tuple[str, ...]] = ("backupng sandbox setCos mail1 john@example.com staff",)

    server: str
    account: str
    cos: str

    def perform(self, console: Console) -> dict[str, Any]:
        """Set it."""
        with connect.sandbox(self.server) as client:
            client.set_cos(self.account, self.cos)
        return {"account": self.account, "cos": self.cos}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCosNotes(ConsoleCommand):
    """Set the Notes of a class of service."""

    command: ClassVar[str] = "setCosNotes"
    title: ClassVar[str] = "Set Notes"
    summary: ClassVar[str] = "Set Notes: writes the Notes of a class of service, new if the name is"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox setCosNotes mail1 staff '${ZxBackup_Disabled}'",
    )

    server: str
    cos: str
    notes: Text

    def perform(self, console: Console) -> dict[str, Any]:
        """Set them."""
        with connect.sandbox(self.server) as client:
            client.set_cos_notes(self.cos, self.notes)
        return {"cos": self.cos, "notes": self.notes}


COMMANDS: dict[str, type[Command]] = {
    each.command: each
    for each in (
        CreateServer,
        Load,
        CreateAccount,
        DeleteAccount,
        SetCos,
        SetCosNotes,
        *sandbox_items.COMMANDS,
        sandbox_play.Play,
    )
}
