"""Operations whose number has several layouts in one version: told apart by where they end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backupng.engine.redolog.faults import Torn
from backupng.engine.redolog.records import Record
from tests.engine.redolog.logs import commit, decode, make, op, outline, read

REMOTE: dict[str, Any] = {"id": 400, "uuid": "u", "name": "n", "ownerId": "o", "remoteId": 5}
MOUNTPOINT: dict[str, Any] = {
    "remoteUuid": "r",
    "folderId": 1,
    "view": 5,
    "flags": 0,
    "color": 0,
    "reminder": True,
}
SHARED: dict[str, Any] = {
    "remoteUuid": "r",
    "folderId": 20,
    "ownerName": "n",
    "contentType": "t",
    "rights": "r",
}
VOLUME: dict[str, Any] = {
    "id": 3,
    "type": 1,
    "name": "message2",
    "rootPath": "/opt/zimbra/store2",
    "mboxGroupBits": 8,
    "mboxBits": 12,
    "fileGroupBits": 8,
    "fileBits": 12,
    "compressBlobs": True,
}
STORE: dict[str, Any] = {
    "storeType": 1,
    "storeManagerClass": "com.zimbra.cs.store.file.FileBlobStore",
}
PURGE: dict[str, Any] = {"type": 1, "itemId": 2, "purge": [{"id": None, "lifetime": "30d"}]}
VARIANTS = {
    "mountpoint": (op("CreateMountpoint", **REMOTE, **MOUNTPOINT), "CreateMountpoint", 11),
    "shared file": (op("CreateFileSharedWithMe", **REMOTE, **SHARED), "CreateFileSharedWithMe", 10),
    "link": (op("CreateLink", **REMOTE, folderId=16), "CreateLink", 6),
    "volume of Zimbra 10": (op("CreateVolume", **VOLUME, **STORE), "CreateVolume", 11),
    "volume of before": (op("CreateVolume", place=1, **VOLUME), "CreateVolume", 9),
    "policy of Zimbra": (op("SetRetentionPolicy", keep=[], **PURGE), "SetRetentionPolicy", 4),
    "policy of Carbonio": (op("SetRetentionPolicy", place=1, **PURGE), "SetRetentionPolicy", 3),
}
ONE_OF_EACH = pytest.mark.parametrize(
    ("data", "name", "fields"), VARIANTS.values(), ids=VARIANTS.keys()
)


@ONE_OF_EACH
def test_the_layout_is_the_one_that_ends_where_the_next_record_begins(
    tmp_path: Path, data: bytes, name: str, fields: int
) -> None:
    found = read(make(tmp_path, data, commit(35)))
    assert outline(found) == [(name, 1), ("CommitTxn", 1), ("end", 512 + len(data) + 50, 2)]
    assert isinstance(found[0], Record)
    assert len(found[0].fields) == fields


@ONE_OF_EACH
def test_the_layout_is_the_one_that_ends_with_the_file(data: bytes, name: str, fields: int) -> None:
    record = decode(data)
    assert (record.op, len(record.fields), record.end) == (name, fields, len(data))


@ONE_OF_EACH
def test_the_layout_is_the_one_that_ends_where_padding_begins(
    tmp_path: Path, data: bytes, name: str, fields: int
) -> None:
    found = read(make(tmp_path, data, bytes(4096)))
    assert outline(found) == [(name, 1), ("zero padding", 512 + len(data), 1)]
    assert isinstance(found[0], Record)
    assert len(found[0].fields) == fields


@ONE_OF_EACH
def test_in_a_file_that_grows_the_layout_is_open_until_the_next_magic_is_there(
    data: bytes, name: str, fields: int
) -> None:
    following = commit(35)
    with pytest.raises(Torn):
        decode(data, is_final=False)
    with pytest.raises(Torn):
        decode(data + following[:5], is_final=False)
    record = decode(data + following[:6], is_final=False)
    assert (record.op, len(record.fields)) == (name, fields)


def test_operations_that_the_server_itself_cannot_read_are_read(tmp_path: Path) -> None:
    revoked = op("ExpireAccess", 1, folderId=257, grantee="acc", dueToExpiry=True)
    disabled = op("SetDisableActiveSync", 2, folderId=257, disable=True)
    found = read(make(tmp_path, revoked, commit(90, 1), disabled, commit(91, 2)))
    assert [each.fields for each in found if isinstance(each, Record)] == [
        {"folderId": 257, "grantee": "acc", "dueToExpiry": True},
        {"opcode": 90},
        {"folderId": 257, "disable": True},
        {"opcode": 91},
    ]
