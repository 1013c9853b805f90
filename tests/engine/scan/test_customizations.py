"""Archives of the configuration folders: made when they changed, whole, named as in the manual."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.customizations import archive_of
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

    report = run(mail)

    (name,) = archives(mail)
    with tarfile.open(mail.backup_path / "server" / name) as archive:
        assert archive.getmember("conf/link").linkname == "/etc/passwd"
        assert not {"conf/huge", "conf/pipe"} & set(archive.getnames())
    assert [note for note in report.notes if "conf/huge (larger than" in note]


def test_what_is_gone_before_it_is_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "short-lived").touch()
    configuration = Configuration(tmp_path)
    assert configuration.mark
    (tmp_path / "conf" / "short-lived").unlink()

    unread = configuration.pack(lambda _data: None, pause=lambda: None)

    assert unread == [("conf/short-lived", "no such file or directory")]


def test_a_server_without_such_folders_has_nothing_to_archive(tmp_path: Path) -> None:
    assert Configuration(tmp_path).mark == ""


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
