"""The script `run`: which .venv it takes as it is, which it completes, which it makes anew.

The script is loaded as a module on a folder of its own; what it would have installed is recorded.
"""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
BROKEN_INDEX = "every installation fails"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load `run` as if it lay in an empty checkout on a machine without uv."""
    spec = importlib.util.spec_from_loader("run", SourceFileLoader("run", str(ROOT / "run")))
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    for name in ("uv.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    venv = tmp_path / ".venv"
    places = {"ROOT": tmp_path, "VENV": venv, "PYTHON": venv / "bin" / "python"}
    for name, place in (places | {"STAMP": venv / "setup-stamp"}).items():
        monkeypatch.setattr(made, name, place)
    monkeypatch.setattr(made.shutil, "which", lambda _program: None)
    return made


@pytest.fixture
def steps(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what the script starts: making an environment, requirement files."""
    taken: list[str] = []

    def take(command: Sequence[object], **_options: object) -> subprocess.CompletedProcess[bytes]:
        words = list(map(str, command))
        if "venv" in words:
            (script.VENV / "bin").mkdir(parents=True)
            (script.VENV / "bin" / "python").touch()
            (script.VENV / "lib" / "python3" / "site-packages" / "pip").mkdir(parents=True)
            taken.append("venv")
        taken.extend(word for word in words if word.startswith("requirements"))
        broken = (script.ROOT / BROKEN_INDEX).exists()
        return subprocess.CompletedProcess(words, returncode=int(broken))

    monkeypatch.setattr(script.subprocess, "run", take)
    return taken


def test_the_demo_gets_what_it_runs_with_and_no_more(script: ModuleType, steps: list[str]) -> None:
    script.setup(script.RUN)
    script.setup(script.RUN)

    assert steps == ["venv", "requirements.txt"]


def test_the_environment_of_the_tests_runs_the_demo(script: ModuleType, steps: list[str]) -> None:
    script.setup()
    script.setup(script.RUN)
    script.setup()

    assert steps == ["venv", "requirements-test.txt"]


def test_the_environment_of_the_demo_is_completed(script: ModuleType, steps: list[str]) -> None:
    script.setup(script.RUN)
    script.setup()

    assert steps == ["venv", "requirements.txt", "requirements-test.txt"]


def test_another_lock_makes_it_anew(script: ModuleType, steps: list[str]) -> None:
    script.setup(script.RUN)
    (script.VENV / "left over").touch()
    (script.ROOT / "uv.lock").write_text("another")

    script.setup(script.RUN)

    assert steps == ["venv", "requirements.txt"] * 2
    assert not (script.VENV / "left over").exists()


def test_other_parts_make_it_anew(
    script: ModuleType, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script.setup(script.RUN)
    monkeypatch.setattr(script, "SYNCED", {script.RUN: (), script.TEST: ()})

    script.setup(script.RUN)

    assert steps == ["venv", "requirements.txt"] * 2


def test_what_the_demo_runs_with_reaches_a_real_server() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = {line.partition("==")[0] for line in lines}

    assert {"ldap3", "pymysql"} <= names


def test_what_failed_half_way_is_made_anew(script: ModuleType, steps: list[str]) -> None:
    script.setup(script.RUN)
    (script.ROOT / BROKEN_INDEX).touch()
    with pytest.raises(script.Failed):
        script.setup()
    (script.ROOT / BROKEN_INDEX).unlink()

    script.setup()

    first = ["venv", "requirements.txt", "requirements-test.txt"]
    assert steps == [*first, "venv", "requirements-test.txt"]


def test_the_demo_is_started_with_data_and_port_as_typed(
    script: ModuleType, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(
        script.os,
        "execve",
        lambda _program, words, environment: started.append((words, environment)),
    )
    monkeypatch.setenv("DATA", "demo data")
    monkeypatch.setenv("PORT", "8001")
    monkeypatch.chdir(script.ROOT)

    script.demo()

    ((words, environment),) = started
    assert words[1:] == ["manage.py", "demo"]
    assert environment["BACKUPNG_DATA"] == str(script.ROOT / "demo data")
    assert environment["BACKUPNG_PORT"] == "8001"
    assert environment["BACKUPNG_TLS"] == "false"


def test_the_benchmarks_named_are_measured_with_what_the_tests_need(
    script: ModuleType, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(script.os, "execv", lambda _program, words: started.append(words))
    monkeypatch.chdir(script.ROOT)

    # Whatever is started never comes back; here it does, to be told that this is no plain command.
    script.main(["bench", "lag", "seconds", "5"])

    assert started == [[str(script.PYTHON), "-m", "tests.bench", "lag", "seconds", "5"]]
    assert "requirements-test.txt" in steps


def test_what_is_typed_wrong_is_answered_with_the_usage(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["demonstrate"]) == script.EXIT_USAGE
    assert "demo " in capsys.readouterr().err
