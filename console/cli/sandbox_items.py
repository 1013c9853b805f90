"""Module `sandbox`, second part: items of a mailbox, added, changed, shown."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from backupng.engine.errors import BadRequest
from backupng.engine.model import ItemKind
from backupng.engine.operations.words import LAST, Moment, Words
from console import connect
from console.cli.base import Console, ConsoleCommand

if TYPE_CHECKING:
    from backupng.engine.mailserver.sandbox.client import SandboxClient

_STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnMailbox(ConsoleCommand):
    """A command on one mailbox of a sandbox."""

    server: str
    account: str

    def perform(self, console: Console) -> dict[str, Any]:
        """Open the sandbox and act."""
        with connect.sandbox(self.server) as client:
            return self.act(client, console)

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Do it and return the `response`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Adding(OnMailbox):
    """A command that adds an item and answers with its id; text mode prints that alone."""

    def text(self, response: dict[str, Any]) -> str:
        """Print the id."""
        return f"{response['id']}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFolder(Adding):
    """Make a folder."""

    command: ClassVar[str] = "createFolder"
    title: ClassVar[str] = "Create folder"
    summary: ClassVar[str] = "Create folder: makes a folder, and missing parents with it"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox createFolder mail1 john@example.com /Inbox/Invoices",
    )

    path: str

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Make it; returns its id."""
        return {"id": client.create_folder(self.account, self.path)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver(Adding):
    """Deliver a message."""

    command: ClassVar[str] = "deliver"
    title: ClassVar[str] = "Deliver"
    summary: ClassVar[str] = (
        "Deliver: puts a message into a folder, unread; - reads it from standard input"
    )
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox deliver mail1 john@example.com message.eml folder /Inbox",
    )

    file: str
    folder: str = "/Inbox"
    date: Moment = field(
        default=LAST, metadata={"values": '"dd/MM/yyyy HH:mm:ss"', "default": "now"}
    )

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Deliver it; returns its id."""
        raw = read_file(self.file, console)
        item = client.deliver(self.account, raw, folder=self.folder, date=self.date.at)
        return {"id": item}


@dataclass(frozen=True, slots=True, kw_only=True)
class AddContact(Adding):
    """Add a contact."""

    command: ClassVar[str] = "addContact"
    title: ClassVar[str] = "Add contact"
    summary: ClassVar[str] = "Add contact: adds a contact from a vCard"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox addContact mail1 john@example.com anna.vcf",
    )

    file: str

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Add it; returns its id."""
        return {"id": client.add_contact(self.account, read_file(self.file, console))}


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAppointment(Adding):
    """Add an appointment."""

    command: ClassVar[str] = "addAppointment"
    title: ClassVar[str] = "Add appointment"
    summary: ClassVar[str] = "Add appointment: adds an appointment from an iCalendar file"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox addAppointment mail1 john@example.com appointment.ics",
    )

    file: str

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Add it; returns its id."""
        raw = read_file(self.file, console)
        item = client.add_calendar_item(self.account, raw, kind=ItemKind.APPOINTMENT)
        return {"id": item}


@dataclass(frozen=True, slots=True, kw_only=True)
class AddTask(Adding):
    """Add a task."""

    command: ClassVar[str] = "addTask"
    title: ClassVar[str] = "Add task"
    summary: ClassVar[str] = "Add task: adds a task from an iCalendar file"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox addTask mail1 john@example.com task.ics",
    )

    file: str

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Add it; returns its id."""
        raw = read_file(self.file, console)
        item = client.add_calendar_item(self.account, raw, kind=ItemKind.TASK)
        return {"id": item}


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveDocument(Adding):
    """Save a document."""

    command: ClassVar[str] = "saveDocument"
    title: ClassVar[str] = "Save document"
    summary: ClassVar[str] = (
        "Save document: saves a file in the Briefcase; the same name again makes a new version"
    )
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox saveDocument mail1 john@example.com report.odt",
    )

    file: str
    name: str = field(default="", metadata={"default": "the name of the file"})

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Save it; returns its id."""
        name = self.name or Path(self.file).name
        if name == _STANDARD_INPUT:
            raise BadRequest(
                "A document from standard input needs a name.", hint="Add: name report.odt."
            )
        raw = read_file(self.file, console)
        return {"id": client.save_document(self.account, raw, name=name)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Move(OnMailbox):
    """Move an item."""

    command: ClassVar[str] = "move"
    title: ClassVar[str] = "Move"
    summary: ClassVar[str] = "Move: moves an item into a folder"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox move mail1 john@example.com 257 /Trash",
    )

    item: int
    folder: str

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Move it; returns how many items changed."""
        return {"changed": client.move(self.account, self.item, self.folder)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFlags(OnMailbox):
    """Set and clear flags."""

    command: ClassVar[str] = "flag"
    title: ClassVar[str] = "Flag"
    summary: ClassVar[str] = "Flag: sets (+) and clears (-) flags of an item"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox flag mail1 john@example.com 257 +flagged,-unread",
    )

    item: int
    flags: Words = field(metadata={"values": "+unread|-flagged|…"})

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Set them; returns how many items changed."""
        return {"changed": client.flag(self.account, self.item, self.flags)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag(OnMailbox):
    """Tag an item."""

    command: ClassVar[str] = "tag"
    title: ClassVar[str] = "Tag"
    summary: ClassVar[str] = "Tag: puts a tag on an item; a new name makes a tag"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox tag mail1 john@example.com 257 Urgent",
    )

    item: int
    name: str

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Tag it; returns how many items changed."""
        return {"changed": client.tag(self.account, self.item, self.name)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(OnMailbox):
    """Delete an item."""

    command: ClassVar[str] = "delete"
    title: ClassVar[str] = "Delete"
    summary: ClassVar[str] = "Delete: deletes an item for good, a folder with all below it"
    examples: ClassVar[tuple[str, ...]] = ("backupng sandbox delete mail1 john@example.com 257",)

    item: int

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Delete it; returns how many items went."""
        return {"changed": client.delete(self.account, self.item)}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyFolder(OnMailbox):
    """Empty a folder."""

    command: ClassVar[str] = "emptyFolder"
    title: ClassVar[str] = "Empty folder"
    summary: ClassVar[str] = "Empty folder: deletes all that is in a folder and below it"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox emptyFolder mail1 john@example.com /Trash",
    )

    folder: str

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Empty it; returns how many items went."""
        return {"changed": client.empty_folder(self.account, self.folder)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Share(OnMailbox):
    """Share a folder."""

    command: ClassVar[str] = "share"
    title: ClassVar[str] = "Share"
    summary: ClassVar[str] = "Share: grants another account rights on a folder"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng sandbox share mail1 john@example.com /Calendar anna@example.com rw",
    )

    folder: str
    grantee: str
    rights: str

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Share it; returns how many items changed."""
        changed = client.share(self.account, self.folder, grantee=self.grantee, rights=self.rights)
        return {"changed": changed}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListItems(OnMailbox):
    """List a mailbox."""

    command: ClassVar[str] = "list"
    title: ClassVar[str] = "List"
    summary: ClassVar[str] = "List: shows every live item of a mailbox and its tags"
    examples: ClassVar[tuple[str, ...]] = ("backupng sandbox list mail1 john@example.com",)

    deleted: bool = field(default=False, metadata={"values": "true|false"})

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Return account, items and tags; with `deleted` also what the dumpster holds."""
        return client.list(self.account, deleted=self.deleted)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetBlob(OnMailbox):
    """Print a blob."""

    command: ClassVar[str] = "getBlob"
    title: ClassVar[str] = "Blob"
    summary: ClassVar[str] = "Blob: prints the plain bytes of an item's blob and nothing else"
    examples: ClassVar[tuple[str, ...]] = ("backupng sandbox getBlob mail1 john@example.com 257",)

    item: int

    def act(self, client: SandboxClient, console: Console) -> dict[str, Any]:
        """Return the bytes as base64."""
        blob = client.blob(self.account, self.item)
        return {"blob_base64": base64.b64encode(blob).decode("ascii")}

    def text(self, response: dict[str, Any]) -> bytes:
        """Print the bytes themselves."""
        return base64.b64decode(response["blob_base64"])


COMMANDS = (
    CreateFolder,
    Deliver,
    AddContact,
    AddAppointment,
    AddTask,
    SaveDocument,
    Move,
    SetFlags,
    Tag,
    Delete,
    EmptyFolder,
    Share,
    ListItems,
    GetBlob,
)


def read_file(name: str, console: Console) -> bytes:
    """Read a file named on the command line, `-` for standard input. Raises BadRequest."""
    if name == _STANDARD_INPUT:
        return console.read_input()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise BadRequest(f"The file {name} cannot be read: {error.strerror}.") from error
