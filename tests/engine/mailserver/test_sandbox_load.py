"""`sandbox load`: a server from what a real one wrote, and everything that is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.mailserver.sandbox import arrivals, edits
from backupng.engine.mailserver.sandbox.listing import listing
from backupng.engine.mailserver.sandbox.load import load
from backupng.engine.mailserver.sandbox.schema import GROUP_TABLES, ZIMBRA_TABLES
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import EntryKind, ItemState
from tests.engine.mailserver.consistency import assert_consistent
from tests.engine.mailserver.mailboxes import ADDRESS, Box, open_box, thread

MARIO = "mario.rossi@example.com"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory as a server with one mailbox wrote it."""
    folder = tmp_path_factory.mktemp("written")
    with open_box(folder) as box:
        box.deliver(thread("Lunch", "1"))
        box.do(edits.tag, box.deliver(thread("Re: Lunch", "2", "1")), "Work")
        box.save(b"first")
        box.save(b"second")
        box.do(arrivals.make_folder, "/Büro")
        write(box, folder / "data")
    return folder / "data"


@pytest.fixture
def data(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "data")


def write(box: Box, directory: Path) -> None:
    """Write a server's rows and volumes as `load` reads them."""
    names = [("zimbra", name) for name in ZIMBRA_TABLES]
    names += [(f"mboxgroup{box.mailbox['group_id']}", name) for name in GROUP_TABLES]
    (directory / "db-rows").mkdir(parents=True)
    for schema, name in names:
        lines = [json.dumps(row) + "\n" for row in box.select(schema, name, "1")]
        (directory / "db-rows" / f"{schema}.{name}.jsonl").write_text("".join(lines))
    for name in ("store", "store2"):
        shutil.copytree(box.sandbox.folder / name, directory / "volumes" / name)
    (directory / "redolog").mkdir()
    (directory / "redolog" / "redo.log").write_bytes(b"log")


def rewrite(data: Path, table: str, **columns: Any) -> None:
    """Set columns of the first row of a table."""
    file = data / "db-rows" / f"{table}.jsonl"
    first, *rest = file.read_text().splitlines(keepends=True)
    file.write_text(json.dumps(json.loads(first) | columns) + "\n" + "".join(rest))


def refused(data: Path, tmp_path: Path) -> str:
    """Load what must be refused; return the sentence. Nothing may be left of it."""
    with pytest.raises(BadRequest) as caught:
        load(tmp_path / "servers" / "mail2", name="mail2", directory=data)
    assert caught.value.code == "bad_value"
    assert list((tmp_path / "servers").glob("*")) == []
    return str(caught.value)


@pytest.fixture
def loaded(data: Path, tmp_path: Path) -> Iterator[Sandbox]:
    with load(tmp_path / "mail2", name="mail2", directory=data) as sandbox:
        yield sandbox


# --- what comes in


def test_a_server_comes_back_from_what_it_wrote(loaded: Sandbox) -> None:
    account = loaded.account(ADDRESS)

    shown = listing(loaded, account)

    documents = [item["name"] for item in shown["items"] if item["type"] == "document"]
    assert documents == ["plan.txt"]
    assert [item["tags"] for item in shown["items"] if item["tags"]] == [["Work"]]
    assert (loaded.folder / "redolog" / "redo.log").read_bytes() == b"log"
    assert_consistent(loaded)


def test_numbers_go_on_above_those_that_were_used(loaded: Sandbox) -> None:
    box = Box(loaded, loaded.account(ADDRESS))
    assert box.mailbox["change_checkpoint"] % 100 == 99
    assert box.mailbox["item_id_checkpoint"] % 20 == 19

    item = box.deliver()

    assert (item % 20, box.row(item)["mod_metadata"] % 100) == (0, 0)
    assert_consistent(loaded)


def test_a_new_account_gets_a_mailbox_of_its_own(loaded: Sandbox) -> None:
    bob = loaded.create_account("bob@example.com", "bob", now_ms=1, attributes={})

    assert loaded.mailbox(bob).mailbox_id == 2
    assert_consistent(loaded)


def test_what_was_read_only_there_is_written_to_here(data: Path, tmp_path: Path) -> None:
    for path in (data / "volumes").rglob("*"):
        path.chmod(0o500 if path.is_dir() else 0o400)

    with load(tmp_path / "mail2", name="mail2", directory=data) as sandbox:
        modes = {path.stat().st_mode & 0o200 for path in (sandbox.folder / "store").rglob("*")}

    assert modes == {0o200}


def test_the_mailbox_of_a_group_without_rows_is_empty(data: Path, tmp_path: Path) -> None:
    rewrite(data, "zimbra.mailbox", group_id=7)

    with load(tmp_path / "mail2", name="mail2", directory=data) as sandbox:
        assert listing(sandbox, sandbox.account(ADDRESS))["items"] == []


def test_rows_with_impossible_values_come_in_and_are_broken_items(
    data: Path, tmp_path: Path
) -> None:
    rewrite(data, "mboxgroup1.mail_item", size="big", flags=-(2**40))

    with load(tmp_path / "mail2", name="mail2", directory=data) as sandbox:
        source = sandbox.source()
        mailbox = sandbox.mailbox(sandbox.account(ADDRESS))
        states = dict(source.states(mailbox, source.heads(mailbox)))

    assert [item for item, state in states.items() if isinstance(state, ItemError)] == [11]
    assert len(states) > 20


def test_genuine_data_comes_in_whole(genuine: Path, tmp_path: Path) -> None:
    history = genuine / "history"

    with load(tmp_path / "zimbra1", name="zimbra1", directory=history) as sandbox:
        accounts = [entry.name for entry in sandbox.directory.entries(EntryKind.ACCOUNT)]
        source = sandbox.source()
        states = [
            state
            for name in accounts
            for mailbox in [sandbox.mailbox(sandbox.account(name))]
            for _, state in source.states(mailbox, source.heads(mailbox))
        ]

    assert accounts == ["anna.bianchi@example.com", "luca.verdi@example.com", MARIO]
    assert all(isinstance(state, ItemState) for state in states)
    rows = sum(
        len(path.read_text().splitlines()) for path in history.glob("db-rows/*.mail_item.jsonl")
    )
    assert len(states) == rows + 2


# --- what is refused


@pytest.mark.parametrize(
    "missing", ["", "db-rows", "db-rows/zimbra.mailbox.jsonl", "volumes/store"]
)
def test_a_folder_that_lacks_something_is_refused(data: Path, tmp_path: Path, missing: str) -> None:
    path = data / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()

    assert "holds no data of a mail server" in refused(data, tmp_path)


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("zimbra.volume", {"path": "/"}),
        ("zimbra.volume", {"path": "/opt/.."}),
        ("zimbra.volume", {"path": "/opt/index"}),
        ("zimbra.volume", {"type": 99}),
        ("zimbra.volume", {"file_bits": "many"}),
        ("zimbra.current_volumes", {"message_volume_id": 2}),
        ("zimbra.current_volumes", {"message_volume_id": 99}),
        ("zimbra.current_volumes", {"next_mailbox_id": "next"}),
        ("zimbra.mailbox", {"group_id": '1"; DROP TABLE x'}),
        ("zimbra.mailbox", {"group_id": -1}),
        ("zimbra.mailbox", {"change_checkpoint": "last"}),
        ("zimbra.mailbox", {"item_id_checkpoint": -5}),
        ("zimbra.mailbox", {"comment": None}),
        ("zimbra.mailbox", {"comment": "nobody"}),
        ("zimbra.mailbox", {"account_id": ""}),
        ("mboxgroup1.mail_item", {"id": "one"}),
        ("mboxgroup1.mail_item", {"mod_metadata": None}),
        ("mboxgroup1.mail_item", {"size": 2**70}),
        ("mboxgroup1.mail_item", {"subject": {"a": 1}}),
        ("mboxgroup1.mail_item", {"subject": "\ud800"}),
        ("mboxgroup1.mail_item", {"id": 2}),
        ("mboxgroup1.mail_item", {"colour": 1}),
    ],
    ids=str,
)
def test_rows_that_no_server_can_have_are_refused(
    data: Path, tmp_path: Path, table: str, columns: dict[str, Any]
) -> None:
    rewrite(data, table, **columns)

    assert refused(data, tmp_path)


@pytest.mark.parametrize("line", ["{", "[]", "{}", "1", pytest.param("[" * 100_000, id="deep")])
def test_a_line_that_is_no_row_is_refused_with_its_number(
    data: Path, tmp_path: Path, line: str
) -> None:
    file = data / "db-rows" / "mboxgroup1.tag.jsonl"
    count = len(file.read_text().splitlines())
    with file.open("a") as rows:
        rows.write(line)

    assert f"mboxgroup1.tag.jsonl, line {count + 1}:" in refused(data, tmp_path)


def test_rows_that_are_no_text_are_refused(data: Path, tmp_path: Path) -> None:
    (data / "db-rows" / "mboxgroup1.tag.jsonl").write_bytes(b"\xff\xfe")

    assert "mboxgroup1.tag.jsonl" in refused(data, tmp_path)


@pytest.mark.parametrize("name", ["redolog", "lock", "mail.sqlite3", "mail.sqlite3-wal"])
def test_a_volume_does_not_lie_where_the_server_keeps_its_own(
    data: Path, tmp_path: Path, name: str
) -> None:
    (data / "volumes" / name).mkdir()
    rewrite(data, "zimbra.volume", path=f"/opt/{name}")

    assert f"has the path /opt/{name}" in refused(data, tmp_path)


def test_a_table_that_no_server_has_is_refused(data: Path, tmp_path: Path) -> None:
    (data / "db-rows" / "zimbra.unheard_of.jsonl").write_text('{"a": 1}\n')

    assert "the table of zimbra.unheard_of" in refused(data, tmp_path)


def test_two_mailboxes_with_one_address_are_refused(data: Path, tmp_path: Path) -> None:
    file = data / "db-rows" / "zimbra.mailbox.jsonl"
    row = json.loads(file.read_text())
    with file.open("a") as rows:
        rows.write(json.dumps(row | {"id": 2, "account_id": "other", "comment": ADDRESS.upper()}))

    assert "no address of its own" in refused(data, tmp_path)


def to_outside(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def to_a_folder(path: Path) -> None:
    path.symlink_to("/etc", target_is_directory=True)


@pytest.mark.parametrize("place", ["db-rows/zimbra.config.jsonl", "volumes/store/x", "redolog/x"])
@pytest.mark.parametrize("make", [to_outside, to_a_folder, os.mkfifo])
def test_nothing_is_read_through_a_link_or_from_a_pipe(
    data: Path, tmp_path: Path, place: str, make: Callable[[Path], None]
) -> None:
    (data / place).unlink(missing_ok=True)
    make(data / place)

    assert "neither a file nor a folder" in refused(data, tmp_path)


def test_a_part_that_is_itself_a_link_is_refused(data: Path, tmp_path: Path) -> None:
    (data / "volumes").rename(tmp_path / "elsewhere")
    (data / "volumes").symlink_to(tmp_path / "elsewhere")

    assert "neither a file nor a folder" in refused(data, tmp_path)


def test_a_server_that_is_there_is_not_touched(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mail2").mkdir()
    (tmp_path / "mail2" / "kept").write_text("x")

    with pytest.raises(BadRequest) as caught:
        load(tmp_path / "mail2", name="mail2", directory=data)

    assert caught.value.code == "already_exists"
    assert [path.name for path in (tmp_path / "mail2").iterdir()] == ["kept"]
