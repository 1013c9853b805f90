"""Histories: lines with chained sums, and the item states in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from backupng.engine.backuppath import metadata, values
from backupng.engine.backuppath.metadata import Lines, read_lines, seal
from backupng.engine.errors import BrokenItem
from backupng.engine.model import Digest, ItemId, ItemKind, ItemState
from tests.engine.backuppath.samples import NOON, deletion, message

SEED = "ng1/f449b723-15f8-4727-bb2d-1f7c7a5725b2/257"
BODIES = (b'{"n":1}', b'{"n":2}', b'{"n":3}')
FULL = ItemState(
    item_id=ItemId(257),
    kind=ItemKind.CONTACT,
    mod=11,
    start=NOON,
    source="scan:1",
    folder_id=ItemId(7),
    name="Größe",
    subject="Subject \ud800",
    sender="a@example.org",
    recipients="b@example.org",
    flags="fr",
    unread=True,
    tags=("Urgente", "b"),
    color=3,
    date=1_767_225_600,
    size=2063,
    digest=Digest("y,HYaKC+80I9,GgehOklV,ltOqQiEZnDYM32lsnZ,Ss="),
    fields={"firstName": "Anna"},
    row={"id": 257, "subject": "x", "ratio": 0.5},
    side_rows={"revision": ({"version": 1}, {"version": 2})},
)


def history(*bodies: bytes, seed: str = SEED) -> bytes:
    return b"".join(lines(bodies, seed=seed))


def lines(bodies: Sequence[bytes], *, seed: str = SEED) -> list[bytes]:
    sealed, digits = [], metadata.first_digits(seed)
    for body in bodies:
        line, digits = seal(digits, body)
        sealed.append(line)
    return sealed


# --- lines


def test_a_history_is_read_as_it_was_sealed() -> None:
    data = history(*BODIES)

    found = read_lines(data, SEED)

    assert (found.bodies, found.good, found.torn, found.damage) == (BODIES, len(data), False, "")
    assert data.endswith(f" #{found.digits}\n".encode())


def test_the_sums_are_those_of_the_format() -> None:
    assert metadata.first_digits("ng1/a/1") == "3dd3603a"
    assert history(b"{}", b"{}", seed="ng1/a/1") == b"{} #961d97b9\n{} #74473d11\n"


def test_an_empty_file_is_a_history_without_states() -> None:
    assert read_lines(b"", SEED) == Lines((), 0, metadata.first_digits(SEED))


def test_a_history_cut_anywhere_keeps_its_whole_lines_and_calls_the_rest_torn() -> None:
    data, ends = history(*BODIES), [0, *(len(history(*BODIES[:n])) for n in (1, 2, 3))]

    found = [read_lines(data[:length], SEED) for length in range(len(data) + 1)]

    assert [each.damage for each in found] == [""] * len(found)
    assert [each.torn for each in found] == [n not in ends for n in range(len(data) + 1)]
    assert [each.good for each in found] == [
        max(end for end in ends if end <= n) for n in range(len(data) + 1)
    ]


def test_any_flipped_bit_is_damage_and_never_a_torn_tail() -> None:
    data = history(*BODIES)
    flipped = [
        data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        for at in range(len(data))
        for bit in range(8)
    ]

    assert [each for each in flipped if not read_lines(each, SEED).damage] == []


@pytest.mark.parametrize(
    ("order", "damage"),
    [
        ((1, 2), "line 1 fails its checksum"),
        ((0, 2), "line 2 fails its checksum"),
        ((0, 0, 1, 2), "line 2 fails its checksum"),
        ((0, 2, 1), "line 2 fails its checksum"),
        ((0, 1, 2, 2), "line 4 fails its checksum"),
    ],
)
def test_a_line_dropped_doubled_or_moved_is_damage(order: Sequence[int], damage: str) -> None:
    sealed = lines(BODIES)

    assert read_lines(b"".join(sealed[n] for n in order), SEED).damage == damage


def test_a_history_in_the_wrong_place_is_damage() -> None:
    assert read_lines(history(*BODIES), "ng1/other/257").damage == "line 1 fails its checksum"


def test_a_whole_line_behind_which_another_byte_stands_has_lost_its_break() -> None:
    data = history(*BODIES)[:-1] + b"\x0b"

    assert read_lines(data, SEED).damage == "line 3 has lost its line break"


@pytest.mark.parametrize(
    "tail", [b"x", b"\x00" * 4096, b'{"n":4', b" #00000000", b"x" * 100_000], ids=len
)
def test_what_no_line_break_ends_is_torn(tail: bytes) -> None:
    data = history(*BODIES)

    found = read_lines(data + tail, SEED)

    assert (found.torn, found.good, found.damage) == (True, len(data), "")


@pytest.mark.parametrize("line", [b"\n", b"#\n", b" #0\n", b"\x00\n", b"{} #961D97B9\n", b"{}\n"])
def test_a_line_without_a_right_sum_is_damage(line: bytes) -> None:
    assert read_lines(line, "ng1/a/1").damage == "line 1 fails its checksum"


# --- states


@pytest.mark.parametrize(
    "state", [FULL, message(), deletion(), message(fields={}, row={}, name="", subject="")]
)
def test_a_state_is_read_as_it_was_written(state: ItemState) -> None:
    body = values.load_body(values.dump_body(metadata.spell_state(state, 1)))

    assert metadata.parse_state(state.item_id, body) == state


def test_a_body_has_the_keys_of_the_format_and_leaves_out_what_is_empty() -> None:
    assert list(metadata.spell_state(FULL, 4)) == [
        *("n", "mod", "t", "pos", "type", "folder", "name", "subject", "from", "to", "flags"),
        *("unread", "tags", "color", "date", "size", "digest", "fields", "row", "side"),
    ]
    bare = ItemState(item_id=ItemId(1), kind=ItemKind.MESSAGE, mod=3, start=NOON)
    assert metadata.spell_state(bare, 4) == {
        "n": 4,
        "mod": 3,
        "t": 1_772_452_800_000,
        "pos": "",
        "type": "message",
    }
    assert list(metadata.spell_state(deletion(), 4))[-1] == "deleted"


def test_keys_that_a_reader_does_not_know_are_left_alone() -> None:
    body = metadata.spell_state(FULL, 1) | {"later": {"any": ["thing"]}}

    assert metadata.parse_state(ItemId(257), body) == FULL


@pytest.mark.parametrize("key", ["mod", "t", "type"])
def test_a_body_without_a_key_it_must_have_is_broken(key: str) -> None:
    body = metadata.spell_state(FULL, 1)
    del body[key]

    with pytest.raises(BrokenItem, match="item 257"):
        metadata.parse_state(ItemId(257), body)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mod", "11"),
        ("mod", True),
        ("mod", 1.0),
        ("t", None),
        ("t", 2**62),
        ("t", -(2**62)),
        ("t", True),
        ("type", "virus"),
        ("type", 5),
        ("type", []),
        ("pos", 5),
        ("deleted", 1),
        ("deleted", "false"),
        ("folder", None),
        ("folder", True),
        ("name", 5),
        ("subject", []),
        ("from", {}),
        ("to", False),
        ("flags", None),
        ("unread", 1),
        ("tags", "Urgente"),
        ("tags", [5]),
        ("tags", {"a": "b"}),
        ("color", True),
        ("date", "1767225600"),
        ("size", None),
        ("size", 1.5),
        ("digest", None),
        ("digest", "../../../../../../../../../../../etc/passwd="),
        ("fields", [["a", "b"]]),
        ("fields", {"a": 1}),
        ("row", []),
        ("row", {"a": [1]}),
        ("row", {"a": True}),
        ("side", []),
        ("side", {"revision": {"version": 1}}),
        ("side", {"revision": "ab"}),
        ("side", {"revision": [["version", 1]]}),
        ("side", {"revision": [{"version": {}}]}),
    ],
)
def test_a_value_of_the_wrong_type_makes_a_state_broken(key: str, value: Any) -> None:
    body = metadata.spell_state(FULL, 1) | {key: value}

    with pytest.raises(BrokenItem, match="item 257"):
        metadata.parse_state(ItemId(257), body)
