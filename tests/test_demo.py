"""The demo as somebody meets it: first start, login, a kill, Ctrl-C, second start."""

from __future__ import annotations

import http.cookiejar
import os
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import ForkingCommandLine
from tests.processes import DEADLINE_S, own_port, until, with_data

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = {"EMAIL_URL", "BACKUPNG_SERVER", "DATABASE_URL"}
DEMO = (sys.executable, "-m", "django", "demo")
ADMIN = "admin@example.com"


class Demo:
    """A demo with few items on a data folder of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.backupng = ForkingCommandLine(data)
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait for nothing."""
        port = own_port()
        self.url = f"http://127.0.0.1:{port}/"
        environment = {
            name: value for name, value in os.environ.items() if name not in NOT_OURS
        } | {
            "BACKUPNG_DATA": str(self.data),
            "BACKUPNG_PORT": str(port),
            "DJANGO_SETTINGS_MODULE": "tests.light_settings",
        }
        self._said.unlink(missing_ok=True)
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [*DEMO, "--accounts", "2", "--items", "3"],
                cwd=ROOT,
                env=environment,
                stderr=said,
            )

    @property
    def said(self) -> str:
        """What it said since its last start."""
        return self._said.read_text()

    @property
    def _said(self) -> Path:
        return self.data.with_name("said")

    def wait_for(self, text: str) -> None:
        """Wait until it says something."""
        process = self._process
        assert process
        until(lambda: text in self.said or process.poll() is not None)
        assert text in self.said, self.said

    def end(self, number: signal.Signals) -> int:
        """Signal it alone and wait for its end."""
        assert self._process
        self._process.send_signal(number)
        try:
            return self._process.wait(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def password(self) -> str:
        """The password that it printed; empty if it printed none."""
        found = re.search(r"as admin with the password (\S+)", self.said)
        return found[1] if found else ""

    def leader(self, program: str) -> int:
        """The number of the process of a service."""
        found = with_data(self.data).items()
        return min((pid for pid, words in found if program in words), default=0)

    def logs_in(self, password: str) -> bool:
        """Say whether admin gets in with a password, as a browser would."""
        cookies = http.cookiejar.CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
        page = browser.open(f"{self.url}login/").read().decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token
        form = {"csrfmiddlewaretoken": token[1], "username": "admin", "password": password}
        browser.open(f"{self.url}login/", urllib.parse.urlencode(form).encode())
        return "session" in {cookie.name for cookie in cookies}

    def answers(self, query: str = "") -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}healthz{query}", timeout=DEADLINE_S) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo whose first start was killed in the middle; it runs."""
    made = Demo(tmp_path_factory.mktemp("demo") / "data")
    made.start()
    made.wait_for("first SmartScan of mail1")
    made.end(signal.SIGKILL)
    until(lambda: not with_data(made.data))
    made.start()
    made.wait_for("the console is at")
    yield made
    made.end(signal.SIGKILL)
    until(lambda: not with_data(made.data))


def test_ctrl_c_while_it_is_made_is_answered_with_one_line(tmp_path: Path) -> None:
    made = Demo(tmp_path / "data")
    made.start()
    made.wait_for("making the mail server mail2")

    assert made.end(signal.SIGINT) == 130

    assert made.said.splitlines()[-1] == "Interrupted: the next start goes on from here."
    assert "Traceback" not in made.said


def test_the_second_call_continues_the_first_and_prints_how_to_log_in(demo: Demo) -> None:
    assert "making the mail server mail1" not in demo.said
    assert f"the console is at {demo.url}" in demo.said
    assert demo.logs_in(demo.password())
    assert not demo.logs_in("admin")


def test_the_mailbox_of_the_administrator_gets_the_notifications(demo: Demo) -> None:
    def subjects() -> set[str]:
        items = demo.backupng.json("sandbox", "list", "mail1", ADMIN)["items"]
        return {item["subject"] for item in items}

    until(lambda: any("SmartScan – completed" in str(each) for each in subjects()))


def test_a_second_one_on_the_same_data_folder_is_refused(demo: Demo) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "django", "run"],
        cwd=ROOT,
        env=demo.backupng.environment | {"DJANGO_SETTINGS_MODULE": "backupng.settings"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert second.returncode == 1
    assert second.stderr.startswith("Backup NG is running on the data folder")


def test_an_address_as_long_as_proxies_pass_on_is_answered(demo: Demo) -> None:
    assert demo.answers(f"?item={'1.' * 4000}")


def test_a_killed_web_process_comes_back(demo: Demo) -> None:
    before = demo.leader("gunicorn")
    os.kill(before, signal.SIGKILL)

    until(lambda: demo.leader("gunicorn") not in (0, before) and demo.answers())

    assert "web: killed by SIGKILL; starts again in 1 s" in demo.said


def test_ctrl_c_ends_all_and_the_next_start_keeps_all(demo: Demo) -> None:
    password = demo.password()
    assert demo.end(signal.SIGINT) == 0
    assert with_data(demo.data) == {}

    demo.start()
    demo.wait_for("the console is at")

    assert "making" not in demo.said
    assert (demo.password(), "Log in as admin." in demo.said) == ("", True)
    assert demo.logs_in(password)
