"""The codec of the `metadata` column against random maps, garbage, and all genuine rows."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backupng.engine.errors import BrokenItem
from backupng.engine.mailserver.zimbra.metadata import (
    Value,
    decode,
    decode_column,
    encode,
    encode_column,
)


@contextmanager
def dice() -> Iterator[random.Random]:
    """Give fresh random numbers; a failure inside tells the seed that makes them again."""
    seed = secrets.randbits(32)
    try:
        yield random.Random(seed)  # noqa: S311  # test data, no secret
    except BaseException as error:
        error.add_note(f"the random numbers had seed {seed}")
        raise


def rows(genuine: Path, pattern: str) -> list[dict[str, Any]]:
    files = sorted((genuine / "history" / "db-rows").glob(pattern))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def item_columns(genuine: Path) -> list[str]:
    found = [
        *rows(genuine, "mboxgroup*.mail_item.jsonl"),
        *rows(genuine, "mboxgroup*.mail_item_dumpster.jsonl"),
        *rows(genuine, "mboxgroup*.revision.jsonl"),
    ]
    return [row["metadata"] for row in found if row["metadata"] is not None]


# --- random


def random_text(dice: random.Random) -> str:
    alphabet = "abe:0123=;dlié€\uffff\ue000😀\U0010ffff\x00"
    return "".join(dice.choices(alphabet, k=dice.choice((0, 1, 1, 3, 12, 40))))


def random_value(dice: random.Random, depth: int) -> Value:
    match dice.randrange(6 if depth < 5 else 3):
        case 0:
            return dice.randrange(-(2**63), 2**63) >> dice.choice((0, 32, 60))
        case 1 | 2:
            return random_text(dice)
        case 3:
            return [random_value(dice, depth + 1) for _ in range(dice.randrange(5))]
    return random_map(dice, depth + 1)


def random_map(dice: random.Random, depth: int = 0) -> dict[str, Value]:
    return {random_text(dice): random_value(dice, depth) for _ in range(dice.randrange(7))}


def damaged(dice: random.Random, text: str) -> str:
    """Return the text cut, or with some of its characters removed, doubled or replaced."""
    if dice.random() < 0.2:
        return text[: dice.randrange(len(text))]
    characters = list(text)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(characters))
        characters[at] = dice.choice(("", characters[at] * 2, dice.choice("deli:019-=;xé😀\ud83d")))
    return "".join(characters)


def garbage(dice: random.Random) -> str:
    match dice.randrange(5):
        case 0:
            return "d" + "".join(dice.choices("deli:0123459-", k=dice.randrange(60)))
        case 1:
            return "".join(chr(dice.randrange(0x110000)) for _ in range(dice.randrange(40)))
        case 2:
            return damaged(dice, "name=5:value;old=13:b=3:x=y;c=0:;;")
    return damaged(dice, dice.choice((encode, encode_column))(random_map(dice)))


def is_read_or_broken(text: str) -> bool:
    """Read a text; anything but a map or a BrokenItem comes out as the error it is."""
    try:
        values = decode_column(text)
    except BrokenItem:
        return True
    return decode(encode(values)) == values


def test_random_maps_come_back_from_their_text() -> None:
    with dice() as numbers:
        maps = [random_map(numbers) for _ in range(1000)]
        assert [decode(encode(one)) for one in maps] == maps
        assert [decode_column(encode_column(one)) for one in maps] == maps


def test_columns_of_random_maps_hold_no_character_above_16_bits() -> None:
    with dice() as numbers:
        columns = "".join(encode_column(random_map(numbers)) for _ in range(1000))
        assert max(columns) <= "\uffff"


def test_random_maps_taken_for_latin1_come_back() -> None:
    with dice() as numbers:
        maps: list[dict[str, Value]] = [{"a": random_map(numbers), "n": "é€"} for _ in range(300)]
        mangled = [encode(one).encode("utf-8").decode("latin-1") for one in maps]
        assert [decode(text) for text in mangled] == maps


def test_random_garbage_is_read_or_a_broken_item() -> None:
    with dice() as numbers:
        assert all(is_read_or_broken(garbage(numbers)) for _ in range(3000))


# --- genuine


def test_every_genuine_column_encodes_to_itself(genuine: Path) -> None:
    columns = item_columns(genuine)
    assert len(columns) > 300
    assert [encode_column(decode_column(column)) for column in columns] == columns


def test_every_other_genuine_metadata_text_encodes_to_itself(genuine: Path) -> None:
    found = [
        *(row["metadata"] for row in rows(genuine, "zimbra.mailbox_metadata.jsonl")),
        *(row["metadata"] for row in rows(genuine, "zimbra.volume.jsonl")),
        *(row["policy"] for row in rows(genuine, "mboxgroup*.tag.jsonl")),
    ]
    texts = [text for text in found if text is not None]
    assert len(texts) >= 2
    assert [encode(decode(text)) for text in texts] == texts


def test_genuine_columns_decode_to_what_the_server_read(genuine: Path) -> None:
    columns = {
        (row["mailbox_id"], row["id"]): row["metadata"]
        for row in rows(genuine, "mboxgroup*.mail_item.jsonl")
    }
    items = rows(genuine, "../items.jsonl")
    assert len(items) == len(columns)
    assert [decode_column(columns[item["mailboxId"], item["id"]]) for item in items] == [
        item["decoded"] or {} for item in items
    ]
