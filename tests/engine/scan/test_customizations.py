"""Archives of the configuration folders: made when they changed, whole, named as in the manual."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tarfile
import tracemalloc
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.customizations import archive_of, check
from backupng.engine.errors import OperationError
from backupng.engine.mailserver.zimbra import archiving
from backupng.engine.mailserver.zimbra.configuration import Configuration
from backupng.engine.operations.base import Report, Settings
from backupng.engine.operations.smart_scan import SmartScan
from tests.cast import Office


def run(mail: Office) -> Report:
    return SmartScan().run(mail)


def archives(mail: Office) -> list[str]:
    return sorted(each.name for each in (mail.backup_path / "server").glob("customizations_*"))


def contents(mail: Office, name: str) -> dict[str, bytes | None]:
    with tarfile.open(mail.backup_path / "server" / name) as archive:
        files = {each.name: archive.extractfile(each) for each in archive if not each.issym()}
        return {path: file.read() if file else None for path, file in files.items()}


def test_a_first_scan_archives_the_configuration_named_in_the_zone_of_the_server(
    mail: Office,
) -> None:
    mail.settings = Settings(zone="Asia/Tokyo")
    (mail.sandbox.folder / "conf" / "zmztozmig.conf").write_bytes(b"SourceZCSServer=old\n")

    report = run(mail)

    (name,) = archives(mail)
    assert name == "customizations_02_03_26#21_00_00.tar.gz"
    assert report.counters["customizations_new"] == 1
    assert contents(mail, name) == {
        "conf": None,
        "conf/zmztozmig.conf": b"SourceZCSServer=old\n",
        "postfix/conf": None,
        "postfix/conf/main.cf": b"myhostname = mail1\n",
    }


def test_another_archive_is_made_only_when_something_has_changed(mail: Office) -> None:
    run(mail)
    mail.later(seconds=60)
    second = run(mail)
    unchanged = archives(mail)
    (mail.sandbox.folder / "postfix" / "conf" / "main.cf").write_text("mynetworks = 10.0.0.0/8\n")
    mail.later(seconds=60)

    third = run(mail)

    assert (second.counters["customizations_new"], len(unchanged)) == (0, 1)
    assert third.counters["customizations_new"] == 1
    newest = archives(mail)[-1]
    assert contents(mail, newest)["postfix/conf/main.cf"] == b"mynetworks = 10.0.0.0/8\n"
    assert [note for note in third.notes if newest in note]


def test_two_archives_of_one_second_have_two_names(mail: Office) -> None:
    run(mail)
    (mail.sandbox.folder / "conf" / "new").touch()

    run(mail)

    assert len(archives(mail)) == 2


def test_an_archive_that_was_lost_is_made_anew(mail: Office) -> None:
    run(mail)
    (name,) = archives(mail)
    (mail.backup_path / "server" / name).unlink()

    run(mail)

    assert len(archives(mail)) == 1


def test_none_is_made_when_the_property_is_off(mail: Office) -> None:
    mail.settings = Settings(backup_customizations=False)

    report = run(mail)

    assert (archives(mail), report.counters["customizations_new"]) == ([], 0)


def test_links_are_kept_as_links_and_what_cannot_be_read_is_named(
    mail: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = mail.sandbox.folder / "conf"
    (conf / "link").symlink_to("/etc/passwd")
    (conf / "huge").write_bytes(b"x" * 65)
    os.mkfifo(conf / "pipe")
    monkeypatch.setattr(archiving, "LARGEST", 64)

    report, _ = run(mail), run(mail)

    (name,) = archives(mail)
    with tarfile.open(mail.backup_path / "server" / name) as archive:
        assert archive.getmember("conf/link").linkname == "/etc/passwd"
        assert not {"conf/huge", "conf/pipe"} & set(archive.getnames())
    (told,) = report.warnings
    assert "conf/huge (larger than" in told
    assert "conf/pipe" not in told


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Return a configuration folder with one file."""
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "my.cnf").write_text("port = 7306\n")
    os.utime(folder / "my.cnf", (1_700_000_000, 1_700_000_000))
    return folder


def packed(configuration: Configuration) -> tuple[dict[str, tarfile.TarInfo], list[str]]:
    """Return the members of the archive, and what was not read."""
    data = BytesIO()
    unread = configuration.pack(data.write, pause=lambda: None)
    data.seek(0)
    with tarfile.open(fileobj=data) as archive:
        return {each.name: each for each in archive}, list(map(str, unread))


def test_modes_owners_and_times_are_kept(conf: Path) -> None:
    (conf / "my.cnf").chmod(0o640)
    if os.geteuid() == 0:
        os.chown(conf / "my.cnf", 1234, 5678)
    seen = (conf / "my.cnf").stat()

    members, unread = packed(Configuration(conf.parent))

    found = members["conf/my.cnf"]
    assert (found.mode, found.mtime, unread) == (0o640, 1_700_000_000, [])
    assert (found.uid, found.gid) == (seen.st_uid, seen.st_gid)


@pytest.mark.parametrize("change", ["same length", "mode", "name", "gone"])
def test_each_change_is_noticed(conf: Path, change: str) -> None:
    file, before = conf / "my.cnf", Configuration(conf.parent).mark
    again = Configuration(conf.parent).mark

    if change == "same length":
        file.write_text("port = 7307\n")
    elif change == "mode":
        file.chmod(0o600 if file.stat().st_mode & 0o077 else 0o640)
    elif change == "name":
        file.rename(conf / "mysql.cnf")
    else:
        file.unlink()

    assert (again == before, Configuration(conf.parent).mark == before) == (True, False)


@pytest.mark.parametrize("becomes", ["nothing", "link", "pipe"])
def test_what_is_replaced_before_it_is_read_is_named(conf: Path, becomes: str) -> None:
    configuration = Configuration(conf.parent)
    assert configuration.mark
    (conf / "my.cnf").unlink()
    if becomes == "link":
        (conf / "my.cnf").symlink_to("/etc/passwd")
    elif becomes == "pipe":
        os.mkfifo(conf / "my.cnf")

    members, unread = packed(configuration)

    whys = {
        "nothing": "no such file or directory",
        "link": "too many levels of symbolic links",
        "pipe": "it was replaced meanwhile",
    }
    assert (list(members), unread) == (["conf"], [f"conf/my.cnf ({whys[becomes]})"])


def test_a_folder_that_cannot_be_listed_is_named_and_the_scan_ends_well(
    mail: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = mail.sandbox.folder / "conf" / "ca"
    closed.mkdir()
    listdir = os.listdir

    def refuse(place: Any) -> list[str]:
        if place == closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return listdir(place)

    monkeypatch.setattr(os, "listdir", refuse)

    first, second = run(mail), run(mail)

    name = archives(mail)[0]
    assert first.warnings == [
        f"Not in {name}, because it could not be read: conf/ca (permission denied)."
    ]
    assert (second.warnings, archives(mail)) == ([], [name])


def test_what_may_be_read_another_time_is_tried_again_by_the_next_scan(mail: Office) -> None:
    loop = mail.sandbox.folder / "common"
    loop.symlink_to("common")

    first, second = run(mail), run(mail)
    loop.unlink()
    third, fourth = run(mail), run(mail)

    made = [each.counters["customizations_new"] for each in (first, second, third, fourth)]
    assert (made, len(first.warnings), third.warnings) == ([1, 1, 1, 0], 1, [])


def test_an_archive_is_never_called_older_than_the_one_before_it(mail: Office) -> None:
    """In the night in which the clocks go back, the zone has one hour twice."""
    mail.settings = Settings(zone="Europe/Rome")
    mail.now = datetime(2026, 10, 25, 0, 50, tzinfo=UTC)
    run(mail)
    (mail.sandbox.folder / "conf" / "new").touch()
    mail.now = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)

    run(mail)

    assert archives(mail) == [
        "customizations_25_10_26#02_50_00.tar.gz",
        "customizations_25_10_26#02_50_01.tar.gz",
    ]


def test_a_server_without_such_folders_has_nothing_to_archive(mail: Office) -> None:
    for name in ("conf", "postfix"):
        shutil.rmtree(mail.sandbox.folder / name)

    report = run(mail)

    assert (archives(mail), report.warnings) == ([], [])


def test_a_folder_that_is_a_link_itself_is_followed(conf: Path) -> None:
    conf.rename(conf.with_name("elsewhere"))
    conf.symlink_to("elsewhere")

    assert sorted(packed(Configuration(conf.parent))[0]) == ["conf", "conf/my.cnf"]


def test_a_scan_that_is_stopped_meanwhile_leaves_no_half_archive(mail: Office) -> None:
    def stop() -> None:
        raise OperationError("Stopped.", code="stopped")

    place = layout.SERVER / "customizations_02_03_26#21_00_00.tar.gz"
    configuration = mail.source.configuration()

    with (
        mail.owned_path() as path,
        path.writer("scan") as writer,
        pytest.raises(OperationError),
    ):
        writer.add_file(place, lambda write: configuration.pack(write, pause=stop))

    assert archives(mail) == []
    assert not list((mail.backup_path / ".staging").glob("*/*"))


@pytest.mark.parametrize(
    "name",
    [
        "customizations_28_02_14#04_01_14.tar",
        "customizations_31_02_14#04_01_14.tar.gz",
        "customizations_28_02_14#04_01_14.tar.gz.old",
        "domains",
    ],
)
def test_other_names_are_no_archives(name: str) -> None:
    assert archive_of(name) is None


def test_an_archive_that_is_a_bomb_is_read_in_small_pieces(mail: Office) -> None:
    run(mail)
    place = layout.SERVER / archives(mail)[0]
    (mail.backup_path / place).write_bytes(gzip.compress(bytes(16 << 20), 1))

    with mail.path as path:
        tracemalloc.start()
        length = check(path.tree, place)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert length == (mail.backup_path / place).stat().st_size
    assert peak < 1 << 20
