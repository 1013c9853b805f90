"""The way in to a real MariaDB, and what is said where there is none."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from backupng.engine.errors import MailServerError, MailServerRefused, MailServerUnreachable
from backupng.engine.mailserver.zimbra.mariadb import Login, MariaDatabase
from tests.mariadb import PASSWORD, USER, MariaDB
from tests.processes import own_port

pytestmark = pytest.mark.services


@pytest.mark.parametrize(
    ("user", "password"), [(USER, "wrong"), (USER, ""), ("nobody", PASSWORD), (USER, "ключ")]
)
def test_a_refused_login_names_the_user_and_no_password(
    mariadb: MariaDB, user: str, password: str
) -> None:
    login = replace(mariadb.login, user=user, password=password)

    with pytest.raises(MailServerRefused, match=f"refuses the login of {login.user}") as caught:
        next(MariaDatabase(login).rows("SELECT 1 AS one"))

    assert caught.value.hint
    assert PASSWORD not in f"{caught.value!r} {mariadb.login!r}"
    assert not caught.value.transient


def test_nobody_listening_is_transient() -> None:
    login = Login(user=USER, password=PASSWORD, port=own_port())

    with pytest.raises(
        MailServerUnreachable, match="does not answer: Connection refused"
    ) as caught:
        next(MariaDatabase(login).rows("SELECT 1 AS one"))

    assert f"127.0.0.1:{login.port}" in str(caught.value)
    assert caught.value.transient


def test_a_socket_is_a_way_in_too(mariadb: MariaDB, tmp_path: Path) -> None:
    there = MariaDatabase(replace(mariadb.login, socket=str(mariadb.socket)))
    gone = MariaDatabase(replace(mariadb.login, socket=str(tmp_path / "none")))

    assert list(there.rows("SELECT 1 AS one")) == [{"one": 1}]
    with pytest.raises(MailServerUnreachable, match="none does not answer: No such file"):
        next(gone.rows("SELECT 1 AS one"))
    there.close()


@pytest.mark.parametrize(
    "greeting", [b"", b"220 mail ESMTP\r\n", b"\x01\0\0\0\x0a", b"\xff" * 90, b"\2\0\0\0\xff\x15"]
)
def test_a_port_where_something_else_listens_is_told(greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            with suppress(OSError), listener.accept()[0] as visitor:
                visitor.sendall(greeting)

        threading.Thread(target=greet).start()
        login = Login(user=USER, password=PASSWORD, port=listener.getsockname()[1])
        with pytest.raises(MailServerError, match=f"127.0.0.1:{login.port} is (no|lost)"):
            next(MariaDatabase(login).rows("SELECT 1 AS one"))


def test_one_that_never_answers_is_not_waited_for(mariadb: MariaDB) -> None:
    database = MariaDatabase(mariadb.login, answer_timeout_s=1)

    with pytest.raises(MailServerUnreachable) as caught:
        next(database.rows("SELECT SLEEP(60) AS one"))

    assert caught.value.transient


def test_what_the_login_may_not_read_is_named(mariadb: MariaDB) -> None:
    database = MariaDatabase(mariadb.login)

    with pytest.raises(MailServerRefused, match=r"global_priv") as caught:
        next(database.rows("SELECT * FROM mysql.global_priv"))

    assert "mboxgroup" in caught.value.hint
    database.close()
