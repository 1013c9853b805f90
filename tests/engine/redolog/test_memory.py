"""Bodies stream: a log of 4 GiB is read in little memory. Sparse files, so nothing is written."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from backupng.engine.redolog.header import SIZE
from tests.engine.redolog.logs import HEADER, commit, message

BODY_BYTES = (1 << 31) - 1
"""The longest body a record can have."""
LIMIT_BYTES = 128 << 20
LONGER_BYTES = LIMIT_BYTES + (16 << 20)
READ = """
import sys
from pathlib import Path
from backupng.engine.redolog.reader import RedoLog
with RedoLog(Path(sys.argv[1])) as log:
    for found in log.records():
        if sys.argv[2] == "with digests" and "data" in getattr(found, "fields", {}):
            print(log.digest(found.fields["data"]))
    print(found.reason, found.at, found.records)
"""
FOLLOW = """
import sys
from pathlib import Path
from backupng.engine.redolog.files import LogFiles
from backupng.engine.redolog.follow import Follower
log = Path(sys.argv[1])
follower = Follower(LogFiles(log, log.parent / "archive"), position=None)
events = follower.read(10)
print(len(events), follower.position.offset, follower.behind_bytes)
"""


def sparse(path: Path, *bodies_bytes: int, tail_bytes: int = 0) -> int:
    """Write a log with messages of zeros, and zeros behind them; return where its records end."""
    with path.open("wb") as file:
        file.write(HEADER.encode())
        for number, size in enumerate(bodies_bytes, start=1):
            head = message(b"", number)
            file.write(head[:-4] + struct.pack(">i", size))
            file.seek(size, 1)
            file.write(commit(27, number))
        end = file.tell()
        file.truncate(end + tail_bytes)
    return end


def read_in_little_memory(path: Path, how: str, program: str = READ) -> list[str]:
    """Read a log in a process of its own that may have no more than LIMIT_BYTES."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), how],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES)),
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_log_of_4_gib_is_read_in_little_memory(tmp_path: Path) -> None:
    end = sparse(tmp_path / "redo.log", BODY_BYTES, BODY_BYTES, 4)
    assert end > 4 << 30
    assert read_in_little_memory(tmp_path / "redo.log", "passing over") == [f"end {end} 6"]


def test_a_log_of_4_gib_is_followed_in_little_memory(tmp_path: Path) -> None:
    end = sparse(tmp_path / "redo.log", BODY_BYTES, BODY_BYTES, 4)
    found = read_in_little_memory(tmp_path / "redo.log", "", FOLLOW)
    assert found == [f"3 {end} 0"]


def test_bodies_and_padding_longer_than_the_memory_are_read(tmp_path: Path) -> None:
    end = sparse(tmp_path / "redo.log", LONGER_BYTES, 4, tail_bytes=LONGER_BYTES)
    found = read_in_little_memory(tmp_path / "redo.log", "with digests")
    assert found[0] == "2ca8f698096c926a0ed939656eb5e7a81f2635b99b6889bd815a84ab811eb4f5"
    assert found[2:] == [f"zero padding {end} 4"]


@pytest.mark.proofs
def test_every_byte_of_a_log_of_4_gib_is_read_in_little_memory(tmp_path: Path) -> None:
    end = sparse(tmp_path / "redo.log", BODY_BYTES, BODY_BYTES, tail_bytes=SIZE)
    found = read_in_little_memory(tmp_path / "redo.log", "with digests")
    assert found[0] == found[1]
    assert found[2:] == [f"zero padding {end} 4"]
