"""Properties: names, values, and which of several values counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupng.engine.errors import BadRequest
from console import properties


def test_a_name_is_known_in_any_case() -> None:
    assert properties.find("zxbackup_destpath").name == "ZxBackup_DestPath"


def test_an_unknown_name_gets_the_three_closest() -> None:
    with pytest.raises(BadRequest) as caught:
        properties.find("ZxBackup_BlobCodex")
    assert caught.value.code == "bad_value"
    assert caught.value.hint.startswith("The closest names: ZxBackup_BlobCodec, ")
    assert caught.value.hint.count(",") == 2


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ZxBackup_DestPath", "/backup/ng/", Path("/backup/ng")),
        ("ZxBackup_BlobCodec", "GZIP", "gzip"),
        ("backupCompressionLevel", "19", 19),
        ("ZxBackup_SpaceThreshold", "0", 0),
        ("backupSkipDLAndDynamicGroups", "yes", True),
        ("exitCodes", "compat", "compat"),
    ],
)
def test_a_value_is_read_by_its_type(name: str, text: str, value: object) -> None:
    assert properties.find(name).parse(text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ZxBackup_DestPath", "backup/ng"),
        ("ZxBackup_BlobCodec", "lzma"),
        ("backupCompressionLevel", "0"),
        ("backupCompressionLevel", "20"),
        ("backupCompressionLevel", "three"),
        ("ZxBackup_SpaceThreshold", "-1"),
        ("backupSkipDLAndDynamicGroups", "maybe"),
        ("backup_initialized", "true"),
    ],
)
def test_a_value_of_another_type_or_range_is_refused(name: str, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        properties.find(name).parse(text)
    assert caught.value.code == "bad_value"
    assert caught.value.details["parameter"] == name


def test_the_value_of_the_server_counts_before_the_global_one() -> None:
    found = properties.resolve({"exitCodes": "compat"}, {"exitCodes": "extended"})
    assert found["exitCodes"] == properties.Value("compat", "server")


def test_the_global_value_counts_before_the_default() -> None:
    found = properties.resolve({}, {"backupSkipDLAndDynamicGroups": "true"})
    assert found["backupSkipDLAndDynamicGroups"] == properties.Value(True, "global")  # noqa: FBT003 - a plain value


def test_what_nobody_set_has_its_default() -> None:
    assert properties.resolve({}, {})["backupCompressionLevel"] == properties.Value(3, "default")


def test_what_is_spelled_reads_back() -> None:
    level = properties.find("backupCompressionLevel")
    assert level.parse(level.spell(7)) == 7


def test_gzip_has_no_level_above_9() -> None:
    with pytest.raises(BadRequest) as caught:
        properties.check_together({"ZxBackup_BlobCodec": "gzip", "backupCompressionLevel": 10})
    assert caught.value.hint == "Set backupCompressionLevel to at most 9."


def test_zstd_has_levels_up_to_19() -> None:
    properties.check_together({"ZxBackup_BlobCodec": "zstd", "backupCompressionLevel": 19})
