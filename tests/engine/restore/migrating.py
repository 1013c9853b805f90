"""Two servers for tests of imports: an office as the source, an empty one as the destination."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from backupng.engine.mailserver.sandbox import edits, redo
from backupng.engine.mailserver.sandbox.series import MailboxSeries
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import DirectoryEntry, EntryKind, ItemKind, ItemState, to_ms
from backupng.engine.operations.base import Operation, Report
from backupng.engine.operations.do_external_restore import ExternalRestore
from backupng.engine.restore.importing.shares import folders_there
from tests.cast import ALICE, BOB, DAVE, NOON, Office, message
from tests.commandline import comparable

HASH = b"{SSHA512}" + b"A" * 96
TEAM = "team@example.com"
SIGNATURE, SOURCE = (f"{n}1111111-2222-4333-8444-555555555555" for n in (2, 3))


@contextmanager
def empty_office(
    folder: Path, *, name: str = "mail2", domain: str = "example.net"
) -> Iterator[Office]:
    """Open a server without any account, and the folder of its Backup Path."""
    with (
        Sandbox.create(folder / name, name=name, domain=domain, seed=2) as sandbox,
        ExitStack() as stack,
    ):
        (folder / f"{name}-path").mkdir()
        (folder / f"{name}-path" / "backup").mkdir()
        made = Office(folder / f"{name}-path", sandbox, now=NOON)
        stack.push(made.opened)
        yield made


def bring(source: Office, to: Office, **parameters: Any) -> Report:
    """Run an External Restore of an office's Backup Path."""
    to.later(seconds=1)
    report = to.run(ExternalRestore(source_path=source.backup_path, **parameters))
    if not parameters.get("dryrun"):
        assert_true(report)
    return report


def assert_true(report: Report) -> None:
    """Every item that was planned is accounted for."""
    counters = report.counters
    done = sum(counters[name] for name in ("restored", "skipped", "unrestored"))
    assert counters["planned"] == done
    assert counters["unrestored"] == sum(map(len, report.unrestored.values()))


def seen(mail: Office, address: str) -> list[tuple[str, ...]]:
    """Return a mailbox as a restore has to bring it back."""
    return comparable(mail.client.list(address))


class Doomed(Office):
    """An office whose process is killed when it looks at the clock for the n-th time.

    Every change of the mail server and every note in a map looks at it just before.
    """

    looks = 0

    @property
    def now(self) -> datetime:
        """The moment, once more."""
        type(self).looks -= 1
        if type(self).looks == 0:
            os.killpg(os.getpgid(0), signal.SIGKILL)
        return self._moment

    @now.setter
    def now(self, moment: datetime) -> None:
        self._moment = moment


def is_killed(to: Office, operation: Operation, *, looks: int) -> bool:
    """Run an operation in a process that is killed at its n-th look; False if it came to its end.

    Raises AssertionError when it failed.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setpgid(0, 0)
            Doomed.looks = looks
            with Sandbox.open(to.sandbox.folder) as sandbox, ExitStack() as stack:
                Doomed(to.folder, sandbox, now=to.now, opened=stack).run(operation)
            status = 0
        except BaseException:  # noqa: BLE001 - it ends here, whatever it is
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.waitstatus_to_exitcode(status) != 0


def modify(mail: Office, address: str, **attributes: bytes | tuple[bytes, ...]) -> None:
    values = {k: v if isinstance(v, tuple) else (v,) for k, v in attributes.items()}
    mail.sandbox.directory.modify(mail.sandbox.account(address), values)


def entry(mail: Office, kind: EntryKind, name: str) -> DirectoryEntry:
    found = mail.destination.entry(kind, name)
    assert found is not None
    return found


def account(mail: Office, name: str) -> DirectoryEntry:
    return entry(mail, EntryKind.ACCOUNT, name)


def mount(mail: Office, address: str, owner: str, folder: str) -> None:
    shared = next(e["id"] for e in mail.client.list(owner)["items"] if f"/{e['name']}" == folder)
    series = MailboxSeries(mail.sandbox, mail.sandbox.account(address), lambda: to_ms(mail.now))
    with mail.sandbox.change(mail.sandbox.account(owner), now_ms=to_ms(mail.now)) as change:
        row = change.row(shared)
        change.log("ColorItem", color=0, **redo.items([shared], row["type"]))
    with series.change() as change:
        edits.mount(change, "Theirs", owner_id=mail.account_id(owner), folder=row)


def mounted_in(mail: Office, address: str) -> list[ItemState]:
    found = folders_there(mail.source, mail.source.mailbox(mail.account_id(address)))
    return [state for state in found.values() if state.kind is ItemKind.MOUNTPOINT]


def add_child(mail: Office, kind: EntryKind, name: str, child_id: str, **more: str) -> None:
    names = {EntryKind.SIGNATURE: "zimbraSignature", EntryKind.DATA_SOURCE: "zimbraDataSource"}
    values = {f"{names[kind]}Id": child_id, f"{names[kind]}Name": name} | more
    child = DirectoryEntry(
        kind=kind,
        entry_id=child_id,
        name=name,
        dn="",
        attributes={key: (value.encode(),) for key, value in values.items()},
    )
    mail.destination.put_child(account(mail, ALICE), child)


def fill(mail: Office) -> None:
    first = mail.client.deliver(ALICE, message("one"), folder="/Inbox")
    mail.client.deliver(ALICE, message("two"), folder="/Inbox")
    mail.client.create_folder(ALICE, "/Inbox/Invoices")
    mail.client.move(ALICE, first, "/Inbox/Invoices")
    mail.client.flag(ALICE, first, ["-unread", "+flagged"])
    mail.client.tag(ALICE, first, "Urgente")
    mail.client.deliver(DAVE, message("three"), folder="/Shared")


def furnish(mail: Office) -> None:
    """Give a server a bit of everything, and scan it."""
    fill(mail)
    right = f"{mail.account_id(BOB)} usr adminLoginAs".encode()
    mail.client.set_cos(ALICE, "sales")
    mail.client.set_cos(BOB, "press")
    mail.client.set_cos_notes("sales", "ours")
    mail.client.set_cos_notes("unused", "nobody's")
    modify(
        mail,
        ALICE,
        userPassword=HASH,
        zimbraPrefLocale=b"it",
        zimbraIsAdminAccount=b"TRUE",
        zimbraACE=right,
        odd=b"y",
    )
    modify(mail, DAVE, zimbraCOSId=b"gone", zimbraPrefLocale=b"fr")
    mail.sandbox.add_list(TEAM, "11111111-2222-4333-8444-555555555555", [ALICE, "x@example.org"])
    mail.destination.add_alias(account(mail, ALICE), "al@example.com")
    target = entry(mail, EntryKind.DOMAIN, "example.com").entry_id.encode()
    alias = {"zimbraDomainType": (b"alias",), "zimbraDomainAliasTargetId": (target,)}
    mail.destination.create(EntryKind.DOMAIN, "alias.example", alias)
    mount(mail, ALICE, DAVE, "/Shared")
    fetched = mail.client.create_folder(ALICE, "/Inbox/Fetched")
    add_child(mail, EntryKind.SIGNATURE, "short", SIGNATURE)
    add_child(
        mail, EntryKind.DATA_SOURCE, "old mail", SOURCE, zimbraDataSourceFolderId=f"{fetched}"
    )
    modify(
        mail,
        ALICE,
        zimbraPrefDefaultSignatureId=SIGNATURE.encode(),
        zimbraPrefMailFoldersCheckedForNewMsgIndicator=f"2,{fetched}".encode(),
        zimbraMailSieveScript=b"keep;",
    )
    mail.client.deliver(BOB, message("large", body="x" * 5000), folder="/Inbox")
    mail.scan()
