"""Seeded damage of every kind: no error but our own, no byte unaccounted for, nothing made up."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from backupng.engine.redolog.faults import RedoLogError
from backupng.engine.redolog.header import SIZE
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Record, Skipped, Stop
from tests.engine.redolog.logs import VECTORS, Found, mails, make, read

GOLDEN = b"".join(bytes.fromhex(each["hex"]) for each in VECTORS["records"])


def damaged(data: bytes, dice: random.Random) -> tuple[bytes, int]:
    """Return damaged bytes and where the damage begins."""
    at = dice.randrange(len(data))
    size = dice.choice((1, 2, 4, 50, 700))
    new = {
        "flip": bytes([data[at] ^ 1 << dice.randrange(8)]),
        "noise": dice.randbytes(size),
        "ones": b"\xff" * size,
        "zeros": bytes(size),
        "another place": data[(other := dice.randrange(len(data))) : other + size],
        "a big number": dice.choice((b"\x7f\xff\xff\xff", b"\0\0\xff\xff", b"\x80\0\0\0")),
    }
    kind = dice.choice((*new, "cut", "inserted", "removed"))
    if kind == "cut":
        return data[:at], at
    if kind == "inserted":
        return data[:at] + dice.randbytes(size) + data[at:], at
    if kind == "removed":
        return data[:at] + data[at + size :], at
    return data[:at] + new[kind] + data[at + len(new[kind]) :], at


def complaints(path: Path, data: bytes, seed: int) -> list[str]:
    """Damage a log by a seed, read it, and return what is wrong with what reading yielded."""
    dice = random.Random(seed)  # noqa: S311 - damage, not secrets
    broken, at = damaged(data, dice)
    make(path.parent, broken)
    file = path.read_bytes()
    with RedoLog(path) as log:
        try:
            found = list(log.records())
            copies = [
                (each.offset, each.end, b"".join(log.encoded(each)))
                for each in found
                if isinstance(each, Record)
            ]
        except RedoLogError as error:
            return [f"seed {seed}: {error!r} came out"]
    wrong = []
    if not all(is_copy(copy, file[start:end]) for start, end, copy in copies):
        wrong.append(f"seed {seed}: a record is encoded to other bytes")
    if not is_without_gaps(found, SIZE + len(broken)):
        wrong.append(f"seed {seed}: there are bytes unaccounted for")
    whole = [each for each in read(make(path.parent, data)) if isinstance(each, Record)]
    untouched = [each for each in whole if each.end + len("ZMREDO") <= SIZE + at]
    if found[: len(untouched)] != untouched:
        wrong.append(f"seed {seed}: records before the damage are not read as they were")
    return wrong


def is_copy(copy: bytes, data: bytes) -> bool:
    """Compare byte by byte; of a boolean, which any byte but 0 makes true, 1 is written back."""
    return copy == data or (
        len(copy) == len(data)
        and all(
            mine == theirs or (mine == 1 and theirs > 1)
            for mine, theirs in zip(copy, data, strict=True)
        )
    )


def is_without_gaps(found: list[Found], size: int) -> bool:
    """Say whether what was found covers the file from its header to where reading stopped."""
    place = SIZE
    for each in found:
        start = {Record: "offset", Skipped: "start", Stop: "at"}[type(each)]
        if getattr(each, start) != place:
            return False
        place = place if isinstance(each, Stop) else each.end
    stop = found[-1]
    return isinstance(stop, Stop) and (stop.reason == "end") == (stop.at == size)


@pytest.mark.parametrize("block", range(5))
def test_damaged_logs_are_read_without_surprise(tmp_path: Path, block: int) -> None:
    path = tmp_path / "redo.log"
    seeds = range(block * 20, block * 20 + 20)
    assert [each for seed in seeds for each in complaints(path, GOLDEN, seed)] == []


@pytest.mark.proofs
def test_very_many_damaged_logs_are_read_without_surprise(tmp_path: Path) -> None:
    path = tmp_path / "redo.log"
    seeds = range(1000, 6000)
    assert [each for seed in seeds for each in complaints(path, GOLDEN, seed)] == []


@pytest.mark.proofs
def test_the_genuine_history_damaged_is_read_without_surprise(
    genuine: Path, tmp_path: Path
) -> None:
    data = (genuine / "history/redolog/redo.log").read_bytes()[SIZE:]
    path = tmp_path / "redo.log"
    assert [each for seed in range(300) for each in complaints(path, data, seed)] == []


@pytest.mark.parametrize("seed", range(3))
def test_one_damaged_place_costs_few_records(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - damage, not secrets
    data = mails(1, 100)
    costs = []
    for _ in range(30):
        at = dice.randrange(len(data) - 2000)
        broken = data[:at] + dice.randbytes(8) + data[at + 8 :]
        found = read(make(tmp_path, broken))
        costs.append(200 - sum(isinstance(each, Record) for each in found))
    assert max(costs) <= 2, f"seed {seed}"
