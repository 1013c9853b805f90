"""The reader of localconfig.xml: values, references, defaults, and other files in its place."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from backupng.engine.errors import MailServerError
from backupng.engine.mailserver.zimbra.localconfig import LocalConfig

SECRET = "s3cret &amp; ${half"


def config(folder: Path, *keys: tuple[str, str], home: str = "zimbra") -> LocalConfig:
    """Return the configuration of an installation in `folder` that has these keys."""
    lines = [f'<key name="{name}"><value>{value}</value></key>' for name, value in keys]
    return written(
        folder, f'<?xml version="1.0"?><localconfig>{"".join(lines)}</localconfig>', home
    )


def written(folder: Path, text: str, home: str = "zimbra") -> LocalConfig:
    path = folder / home / "conf" / "localconfig.xml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return LocalConfig.read(path)


def test_a_value_is_the_text_of_its_key(tmp_path: Path) -> None:
    found = config(tmp_path, ("zimbra_mysql_password", SECRET), ("mysql_port", "7310"))

    assert found.value("zimbra_mysql_password") == "s3cret & ${half"
    assert found.number("mysql_port", highest=65_535) == 7310


def test_the_last_of_two_keys_of_a_name_counts(tmp_path: Path) -> None:
    found = config(tmp_path, ("mysql_port", "1"), ("mysql_port", "2"))

    assert found.value("mysql_port") == "2"


def test_a_comment_and_other_elements_are_no_values(tmp_path: Path) -> None:
    text = (
        "<localconfig><!-- by zmsetup -->\n <key name='a'> <default>x</default>\n"
        "<value>y<!-- no --></value> <other><value>z</value></other></key></localconfig>"
    )

    assert written(tmp_path, text).value("a") == "y"


def test_a_value_may_refer_to_others(tmp_path: Path) -> None:
    found = config(
        tmp_path,
        ("mysql_socket", "${mysql_directory}/mysql.sock"),
        ("mysql_directory", "${zimbra_home}/db"),
        ("zimbra_home", "/srv/zimbra"),
    )

    assert found.value("mysql_socket") == "/srv/zimbra/db/mysql.sock"


@pytest.mark.parametrize(
    ("home", "user"), [("zimbra", "zimbra"), ("zextras", "zextras"), ("other", "zimbra")]
)
def test_what_is_not_in_the_file_has_the_default_of_its_product(
    tmp_path: Path, home: str, user: str
) -> None:
    found = config(tmp_path, home=home)

    assert found.value("zimbra_mysql_user") == user
    assert found.home == tmp_path / home
    assert found.number("zimbra_mailbox_groups", highest=1000) == 100
    assert not found.flag("zimbra_relative_volume_path")


@pytest.mark.parametrize("chain", [("a", "${b}", "b", "${a}"), ("a", "${a}")])
def test_a_value_that_refers_to_itself_is_refused(tmp_path: Path, chain: tuple[str, ...]) -> None:
    keys = list(zip(chain[::2], chain[1::2], strict=True))

    with pytest.raises(MailServerError, match="the value of a refers to itself"):
        config(tmp_path, *keys).value("a")


def test_a_few_keys_cannot_make_a_huge_value(tmp_path: Path) -> None:
    keys = [("k0", "x" * 64), *((f"k{n}", f"${{k{n - 1}}}" * 10) for n in range(1, 40))]

    with pytest.raises(MailServerError, match="longer than any setting"):
        config(tmp_path, *keys).value("k39")


def test_no_error_and_no_repr_shows_a_secret(tmp_path: Path) -> None:
    found = config(tmp_path, ("zimbra_mysql_password", "top${hidden}secret"))

    with pytest.raises(MailServerError) as caught:
        found.value("zimbra_mysql_password")

    assert "zimbra_mysql_password" in str(caught.value)
    shown = f"{caught.value} {caught.value.hint} {found!r} {found}"
    assert not re.search("top|hidden|secret", shown)


@pytest.mark.parametrize("value", ["", "0", "-1", "70000", "1e3", "²", "9" * 40])
def test_what_is_no_number_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(MailServerError, match="mysql_port"):
        config(tmp_path, ("mysql_port", value)).number("mysql_port", highest=65_535)


def test_a_key_without_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(MailServerError, match=r"lacks the key zimbra_ldap_password\.") as caught:
        config(tmp_path).value("zimbra_ldap_password")

    assert "zmlocalconfig zimbra_ldap_password" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "key = value",
        "<localconfig>",
        "<config><key name='a'><value>b</value></key></config>",
        "<?xml version='1.0' encoding='klingon'?><localconfig/>",
        "<localconfig><key name='a'><value>\x01</value></key></localconfig>",
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(MailServerError, match=r"is no localconfig\.xml") as caught:
        written(tmp_path, text)

    assert "/opt/zextras/conf/localconfig.xml" in caught.value.hint


def test_no_entity_is_expanded(tmp_path: Path) -> None:
    text = (
        '<!DOCTYPE localconfig [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        "<localconfig><key name='x'><value>&a;</value></key></localconfig>"
    )

    with pytest.raises(MailServerError, match="declares a document type"):
        written(tmp_path, text)


def test_a_file_without_end_is_not_read_whole(tmp_path: Path) -> None:
    with pytest.raises(MailServerError, match="too long"):
        written(tmp_path, f"<localconfig>{' ' * 2**20}</localconfig>")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MailServerError, match=f"There is no {tmp_path}/none") as caught:
        LocalConfig.read(tmp_path / "none")

    assert caught.value.hint


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: object) -> None:
    path = tmp_path / "localconfig.xml"
    assert callable(make)
    make(path)

    with pytest.raises(MailServerError):
        LocalConfig.read(path)


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(MailServerError) as caught:
        LocalConfig.read(tmp_path)

    assert str(caught.value) == f"{tmp_path} is a folder, not a file."


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_another_user_says_who_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "localconfig.xml"
    path.write_text("<localconfig/>")
    path.chmod(0)

    with pytest.raises(MailServerError, match="may not be read") as caught:
        LocalConfig.read(path)

    assert "as zimbra or zextras" in caught.value.hint
