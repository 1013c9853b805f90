"""P17. Trees that an enemy made: nothing outside is touched, memory is bounded, every end is ours.

Every case of the corpus `tests/hostile/trees.json` is handed to what reads a tree that somebody
names; what each says of it stands in the corpus, too.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import layout, typed
from backupng.engine.errors import BackupError
from backupng.engine.model import ItemId
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from backupng.engine.operations.do_external_restore import ExternalRestore
from backupng.engine.operations.get_available_accounts import GetAvailableAccounts
from backupng.engine.operations.get_backup_info import GetBackupInfo
from backupng.engine.operations.get_item import GetItem
from backupng.engine.operations.words import AccountNameOrId, Moment
from tests.cast import ALICE, BOB, Office, message, office
from tests.engine.backuppath.conftest import in_memory
from tests.engine.restore.migrating import empty_office
from tests.proofs.spoiling import Victim
from tests.proofs.told import tell

__all__ = ["in_memory"]

CORPUS = Path(__file__).parents[1] / "hostile" / "trees.json"
CASES: list[dict[str, Any]] = json.loads(CORPUS.read_text(encoding="utf-8"))
QUICK = ("item", "check")
"""What every run tries, of some of the cases."""
NOBODY = 65534
_MEMORY = 512 << 20
_PATIENCE_S = 10
_IN_VAIN = 42


@dataclass(frozen=True)
class Arena:
    """A tree as it is in peace, the names in it, and the server that looks at spoilt copies."""

    folder: Path
    source: Office
    names: dict[str, str]

    def victim(self, case: dict[str, Any]) -> Victim:
        """Return a copy that is spoilt as the case says, beside a folder that nobody may touch."""
        room = Path(tempfile.mkdtemp(dir=self.folder))
        room.chmod(0o755)
        outside = room / "outside"
        outside.mkdir()
        (outside / "file").write_text("secret\n")
        (outside / "folder").mkdir()
        shutil.copytree(self.source.backup_path, room / "tree")
        for folder, _, files in os.walk(room / "tree"):
            Path(folder).chmod(0o755)
            for name in files:
                Path(folder, name).chmod(0o644)
        names = self.names | {"outside": str(outside)}
        made = Victim(room / "tree", outside, names)
        made.spoil(case["make"])
        return made


@pytest.fixture(scope="module")
def arena(in_memory: Path) -> Iterator[Arena]:
    """Open two servers, one of them with some mail that was scanned."""
    in_memory.chmod(0o755)
    with pytest.MonkeyPatch.context() as patched, office(in_memory) as mail:
        # The memory that serves as their disk lies below /dev.
        patched.setattr(typed, "CLOSED", ())
        first = mail.client.deliver(ALICE, message("Letter", body="A first one."), folder="/Inbox")
        second = mail.client.deliver(ALICE, message("Other", body="Other."), folder="/Inbox")
        folders = [mail.client.create_folder(ALICE, f"/{name}") for name in ("One", "Two")]
        mail.client.deliver(BOB, message("For Bob"), folder="/Inbox")
        mail.scan()
        made = Arena(in_memory, mail, _names(mail, first, second, folders))
        # What is loaded late could not be read by nobody.
        assert {how: LOOKS[how](made, mail.backup_path) for how in LOOKS} == dict.fromkeys(
            LOOKS, "ok"
        )
        yield made


def _names(mail: Office, first: ItemId, second: ItemId, folders: list[ItemId]) -> dict[str, str]:
    account, bob = mail.account_id(ALICE), mail.account_id(BOB)
    digests = [mail.history(ALICE, item)[-1].digest for item in (first, second)]
    item = layout.item_file(account, first)
    (domain,) = (mail.backup_path / "server" / "domains").iterdir()
    return {
        "account": str(layout.account_folder(account)),
        "second": str(layout.account_folder(bob)),
        "secondid": bob,
        "secondname": BOB,
        "upper": account.upper(),
        "item": str(item),
        "number": f"{first} ".strip(),
        "bucket": str(item.parent),
        "otherbucket": f"{item.parent.parent}/{(first + 1) % 100:02d}",
        "folder": str(layout.item_file(account, folders[0])),
        "folder2": str(layout.item_file(account, folders[1])),
        "foldernumber": str(folders[0]),
        "foldernumber2": str(folders[1]),
        "blob": str(layout.blob_file(digests[0])),
        "blob2": str(layout.blob_file(digests[1])),
        "blobs": str(layout.blob_file(digests[0]).parent),
        "digest": str(digests[0]),
        "digest2": str(digests[1]),
        "checkpoint": str(layout.checkpoint_file(mail.source.server_id)),
        "domain": f"server/domains/{domain.name}",
    }


# Who looks


def _item(arena: Arena, root: Path) -> str:
    number = int(arena.names["number"])
    account = AccountNameOrId(arena.source.account_id(ALICE))
    asked = GetItem(
        account=account,
        item=number,
        date=Moment(keyword="all"),
        dump_blob=True,
        backup_path=root,
    )
    asked.answer(arena.source)
    return "ok"


def _check(arena: Arena, root: Path) -> str:
    counters = arena.source.run(DoCoherencyCheck(backup_path=root)).counters
    flaws = ("broken_metadata", "missing_blobs", "wrong_digests", "orphans", "wrong_sizes")
    told = (*flaws, "wrong_types", "compressed_twice", "read_errors", "foreign_names")
    return ", ".join(name for name in told if counters.get(name)) or "ok"


def _info(arena: Arena, root: Path) -> str:
    GetBackupInfo(backup_path=root).answer(arena.source)
    return "ok"


def _accounts(arena: Arena, root: Path) -> str:
    GetAvailableAccounts(backup_path=root).answer(arena.source)
    return "ok"


def _import(arena: Arena, root: Path) -> str:
    with empty_office(Path(tempfile.mkdtemp(dir=arena.folder))) as target:
        report = target.run(ExternalRestore(source_path=root))
    counters = report.counters
    done = sum(counters[name] for name in ("restored", "skipped", "unrestored"))
    assert counters["planned"] == done, "planned, restored, skipped and unrestored disagree"
    return "losses" if report.losses else "ok"


LOOKS: dict[str, Callable[[Arena, Path], str]] = {
    "item": _item,
    "check": _check,
    "info": _info,
    "accounts": _accounts,
    "import": _import,
}


def look(arena: Arena, victim: Victim, how: str, *, nobody: bool) -> str:
    """Hand the tree to one who reads it, in a process with little memory; return what it says."""
    told = Path(tempfile.mkstemp(dir=arena.folder)[1])
    told.chmod(0o666)
    child = os.fork()
    if child == 0:
        try:
            _limit(nobody=nobody)
            told.write_text(_said(arena, victim, how), encoding="utf-8")
        except BaseException:  # noqa: BLE001  # a fork must not go on as its parent
            traceback.print_exc()
            os._exit(_IN_VAIN)
        os._exit(0)
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        return f"ended by {signal.Signals(os.WTERMSIG(ended)).name}"
    assert os.WEXITSTATUS(ended) == 0
    return told.read_text(encoding="utf-8")


def _limit(*, nobody: bool) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_PATIENCE_S)
    if nobody and os.geteuid() == 0:
        os.seteuid(NOBODY)


def _said(arena: Arena, victim: Victim, how: str) -> str:
    try:
        return LOOKS[how](arena, victim.root)
    except BackupError as error:
        sentence = str(error)
        assert sentence, "there is no sentence"
        assert len(sentence) < 4000, "the sentence is too long"
        return error.code
    except Exception as error:  # noqa: BLE001  # that is what is looked for
        traceback.print_exc(file=sys.stderr)
        return f"defect: {type(error).__name__}"


def seen(folder: Path) -> dict[str, Any]:
    """Return all that can be seen of a folder that nobody may touch."""
    return {
        str(each.relative_to(folder)): (
            each.lstat().st_mode,
            each.lstat().st_mtime_ns,
            each.lstat().st_nlink,
            each.read_bytes() if each.is_file() and each.lstat().st_size < 1 << 20 else b"",
        )
        for each in sorted(folder.rglob("*"))
    }


def tried(arena: Arena, case: dict[str, Any], looks: tuple[str, ...]) -> dict[str, str]:
    """Return what each says of a case; nothing outside of the tree may change meanwhile."""
    victim = arena.victim(case)
    before = seen(victim.outside)
    if case.get("nobody"):
        # Nobody can write to no server.
        looks = tuple(how for how in looks if how != "import")
    try:
        found = {how: look(arena, victim, how, nobody=case.get("nobody", False)) for how in looks}
        assert seen(victim.outside) == before
    finally:
        for folder in (victim.root, *(each for each in victim.root.glob("*/*") if each.is_dir())):
            folder.chmod(0o755)
        shutil.rmtree(victim.root.parent, ignore_errors=True)
    return found


@pytest.mark.parametrize("case", CASES[::16], ids=lambda case: case["name"])
def test_some_hostile_tree_is_read_as_the_corpus_says(arena: Arena, case: dict[str, Any]) -> None:
    assert tried(arena, case, QUICK) == {how: case["says"][how] for how in QUICK}


@pytest.mark.proofs
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_hostile_tree_is_read_as_the_corpus_says(arena: Arena, case: dict[str, Any]) -> None:
    assert tried(arena, case, tuple(LOOKS)) == case["says"]
    tell("P17", 1, "hostile trees, each read by five")
