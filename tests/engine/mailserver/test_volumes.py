"""Volumes: rows, locators, paths, and every genuine blob."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.errors import MailServerError, ReadError
from backupng.engine.mailserver.zimbra.volumes import (
    Volume,
    VolumeType,
    blob_path,
    digest_of,
    find_blob,
    open_blob,
    volume_id_of,
    volume_of_row,
)
from backupng.engine.model import Digest

STORE = Volume(
    volume_id=1, volume_type=VolumeType.PRIMARY, name="message1", path=Path("/opt/zimbra/store")
)
ROW: dict[str, Any] = {
    "id": 3,
    "type": 2,
    "name": "message2",
    "path": "/opt/zimbra/store2",
    "file_bits": 10,
    "file_group_bits": 6,
    "mailbox_bits": 11,
    "mailbox_group_bits": 7,
    "compress_blobs": 1,
    "compression_threshold": 1024,
    "store_type": 1,
    "store_manager_class": "com.zimbra.cs.store.file.FileBlobStore",
}


def rows(genuine: Path, pattern: str) -> list[dict[str, Any]]:
    files = sorted((genuine / "history" / "db-rows").glob(pattern))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


# --- volumes


def test_a_row_becomes_a_volume() -> None:
    assert volume_of_row(ROW) == Volume(
        volume_id=3,
        volume_type=VolumeType.SECONDARY,
        name="message2",
        path=Path("/opt/zimbra/store2"),
        file_bits=10,
        file_group_bits=6,
        mailbox_bits=11,
        mailbox_group_bits=7,
        compress_blobs=True,
        compression_threshold_bytes=1024,
    )


def test_a_row_of_an_older_server_is_an_internal_volume() -> None:
    row = {key: ROW[key] for key in ROW if not key.startswith("store_")}
    assert volume_of_row(row).external is False


@pytest.mark.parametrize(
    "columns", [{"store_type": 2}, {"store_manager_class": "com.example.S3StoreManager"}]
)
def test_a_volume_of_another_store_is_external(columns: dict[str, Any]) -> None:
    assert volume_of_row({**ROW, **columns}).external is True


@pytest.mark.parametrize("path", ["store", "/store"])
def test_relative_volume_paths_lie_below_home(path: str) -> None:
    volume = volume_of_row({**ROW, "path": path}, home=Path("/opt/zimbra"))
    assert volume.path == Path("/opt/zimbra/store")


@pytest.mark.parametrize(
    "columns",
    [{"type": 5}, {"id": None}, {"file_bits": -1}, {"mailbox_group_bits": 32}, {"type": "x"}],
)
def test_a_senseless_row_is_a_fault_of_the_mail_server(columns: dict[str, Any]) -> None:
    with pytest.raises(MailServerError):
        volume_of_row({**ROW, **columns})


def test_a_row_without_a_column_is_a_fault_of_the_mail_server() -> None:
    with pytest.raises(MailServerError):
        volume_of_row({"id": 1})


# --- locators and paths


@pytest.mark.parametrize(
    ("locator", "volume_id"),
    [("1", 1), ("255", 255), ("12@@a/key@@more", 12), ("007", 7), ("3@@two\nlines", 3)],
)
def test_a_locator_names_its_volume(locator: str, volume_id: int) -> None:
    assert volume_id_of(locator) == volume_id


@pytest.mark.parametrize(
    "locator", ["", "0", "256", "-1", "x", "@@key", "1@key", "1 ", "1\n", "\u0661", "2" * 40]
)
def test_an_opaque_locator_is_in_an_external_store(locator: str) -> None:
    with pytest.raises(ReadError, match="external store"):
        volume_id_of(locator)


@pytest.mark.parametrize(
    ("mailbox_id", "item_id", "mod_content", "path"),
    [
        (7, 300, 1039, "/opt/zimbra/store/0/7/msg/0/300-1039.msg"),
        (5000, 1052700, 88, "/opt/zimbra/store/1/5000/msg/1/1052700-88.msg"),
        (7, 300, None, "/opt/zimbra/store/0/7/msg/0/300.msg"),
        (4095, 4095, 0, "/opt/zimbra/store/0/4095/msg/0/4095-0.msg"),
        (4096, 4096, 1, "/opt/zimbra/store/1/4096/msg/1/4096-1.msg"),
        (1048576, 1048575, 1, "/opt/zimbra/store/0/1048576/msg/255/1048575-1.msg"),
    ],
)
def test_a_blob_lies_where_the_server_puts_it(
    mailbox_id: int, item_id: int, mod_content: int | None, path: str
) -> None:
    assert blob_path(STORE, mailbox_id, item_id=item_id, mod_content=mod_content) == Path(path)


def test_the_volumes_own_bits_count() -> None:
    path = blob_path(volume_of_row(ROW), 300_000, item_id=70_000, mod_content=5)
    assert path == Path("/opt/zimbra/store2/18/300000/msg/4/70000-5.msg")


def test_a_server_folder_comes_before_the_mailbox() -> None:
    volume = volume_of_row(ROW, server_folder="0a1b")
    path = blob_path(volume, 7, item_id=300, mod_content=1)
    assert path == Path("/opt/zimbra/store2/0a1b/0/7/msg/0/300-1.msg")


def test_a_blob_of_an_external_volume_has_no_path() -> None:
    with pytest.raises(ReadError, match="external store"):
        blob_path(replace(STORE, external=True), 7, item_id=300, mod_content=1)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ((), "300-1.msg"),
        (("300-1.msg",), "300-1.msg"),
        (("300.msg",), "300.msg"),
        (("300-1.msg", "300.msg"), "300-1.msg"),
    ],
)
def test_the_old_name_counts_only_without_the_new_one(
    tmp_path: Path, names: tuple[str, ...], found: str
) -> None:
    volume = replace(STORE, path=tmp_path)
    folder = blob_path(volume, 7, item_id=300, mod_content=1).parent
    folder.mkdir(parents=True)
    assert [(folder / name).write_bytes(b"x") for name in names] == [1] * len(names)
    assert find_blob(volume, 7, item_id=300, mod_content=1) == folder / found


# --- genuine


def test_every_genuine_blob_opens_and_has_its_digest(genuine: Path) -> None:
    volumes = {row["id"]: volume_of_row(row) for row in rows(genuine, "zimbra.volume.jsonl")}
    found = [
        *rows(genuine, "mboxgroup*.mail_item.jsonl"),
        *rows(genuine, "mboxgroup*.mail_item_dumpster.jsonl"),
        *rows(genuine, "mboxgroup*.revision.jsonl"),
    ]
    with_blob = [row for row in found if row["locator"] is not None]
    assert len(with_blob) > 250
    assert [genuine_digest(genuine, volumes, row) for row in with_blob] == [
        row["blob_digest"] for row in with_blob
    ]


def genuine_digest(genuine: Path, volumes: dict[int, Volume], row: dict[str, Any]) -> Digest:
    volume = volumes[volume_id_of(row["locator"])]
    here = replace(volume, path=genuine / "history" / "volumes" / volume.path.name)
    item_id = row["id"] if "id" in row else row["item_id"]
    path = find_blob(here, row["mailbox_id"], item_id=item_id, mod_content=row["mod_content"])
    with open_blob(path, row["size"]) as stream:
        return digest_of(stream, row["blob_digest"])
