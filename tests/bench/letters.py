"""A corpus like that of real mail, made from a seed: sizes, copies, what compresses and what not.

Sizes are log-normal with a median of 12 kB and a long tail; of the larger messages most is an
attachment in base64 that hardly compresses; about a quarter of all items are copies of others.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import uuid
from pathlib import Path
from typing import Any, Final

_MEDIAN, _SIGMA = 12_000, 1.9
_SMALLEST, _LARGEST = 900, 10_000_000
_COPIES: Final = 0.27
_SKEW: Final = 0.8
_START_S, _YEAR_S = 1_735_689_600, 31_536_000
_TEXT_ONLY: Final = 16_000
_FIRST_ID: Final = 257
_FOLDERS: Final = (2, 2, 2, 5, 3, 4)
_SYLLABLES: Final = ("ka", "lo", "mi", "ten", "ra", "sul", "ve", "dor", "in", "pa", "ni", "gor")


def make(folder: Path, *, accounts: int, items: int, seed: int) -> None:
    """Make a corpus in a folder that does not exist yet."""
    dice = random.Random(f"corpus/{seed}")  # noqa: S311  # letters, no secrets
    people = [_account(number, dice) for number in range(1, accounts + 1)]
    weights = [dice.lognormvariate(0, _SKEW) for _ in people]
    words = ["".join(dice.choices(_SYLLABLES, k=dice.randint(1, 4))) for _ in range(4_000)]
    entries: list[dict[str, Any]] = []
    raw = b""
    while len(entries) < items:
        if not raw or dice.random() >= _COPIES:
            raw = _letter(dice, words, len(entries))
        entries.append(_deliver(folder, dice.choices(people, weights)[0], raw, dice))
    entries.sort(key=lambda entry: (entry["mailbox"], entry["id"]))
    _dump(folder / "index.jsonl", entries)
    _dump(folder / "accounts.jsonl", people)
    _dump(folder / "corpus.json", [{"items": items, "seed": seed}])


def _account(number: int, dice: random.Random) -> dict[str, Any]:
    return {
        "id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
        "mailbox": number,
        "name": f"user{number}@example.com",
        "next_id": _FIRST_ID,
    }


def _letter(dice: random.Random, words: list[str], number: int) -> bytes:
    size = int(min(_LARGEST, max(_SMALLEST, _MEDIAN * math.exp(_SIGMA * dice.gauss(0, 1)))))
    head = (
        f"From: Sender {number} <s{number % 500}@example.net>\r\nTo: someone@example.com\r\n"
        f"Subject: {' '.join(dice.choices(words, k=5))}\r\nMessage-ID: <{number}@example.net>\r\n"
        "MIME-Version: 1.0\r\n"
    )
    text = _text(dice, words, size if size < _TEXT_ONLY else dice.randint(1_500, _TEXT_ONLY))
    if size < _TEXT_ONLY:
        return f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n".encode()
    content = dice.randbytes((size - len(text)) * 57 // 78)
    lines = base64.encodebytes(content).replace(b"\n", b"\r\n")
    edge = f"part-{number}"
    before = (
        f'{head}Content-Type: multipart/mixed; boundary="{edge}"\r\n\r\n--{edge}\r\n'
        f"Content-Type: text/plain\r\n\r\n{text}\r\n--{edge}\r\n"
        'Content-Type: application/octet-stream; name="file.bin"\r\n'
        "Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n"
    )
    return before.encode() + lines + f"--{edge}--\r\n".encode()


def _text(dice: random.Random, words: list[str], length: int) -> str:
    lines: list[str] = []
    while length > 0:
        lines.append(" ".join(dice.choices(words, k=9)))
        length -= len(lines[-1]) + 2
    return "\r\n".join(lines)


def _deliver(
    folder: Path, account: dict[str, Any], raw: bytes, dice: random.Random
) -> dict[str, Any]:
    item = account["next_id"]
    account["next_id"] += 1
    path = f"store/{account['mailbox']}/{item}.msg"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(raw)
    return {
        "account": account["id"],
        "mailbox": account["mailbox"],
        "id": item,
        "path": path,
        "date": _START_S + dice.randrange(_YEAR_S),
        "flags": "".join(dice.choices(("", "u", "f", "r"), (60, 30, 4, 6))[0]),
        "folder": dice.choice(_FOLDERS),
        "size": len(raw),
        "digest": hashlib.sha256(raw).hexdigest(),
    }


def _dump(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
