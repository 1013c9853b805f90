"""Bodies: JSON on one line, read strictly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from backupng.engine.backuppath import values
from backupng.engine.errors import BrokenItem
from backupng.engine.model import from_ms


@pytest.mark.parametrize(
    "body",
    [
        {"subject": "Größe «№» \u2028 \x85 \x7f \x00 \n \r"},
        {"name": "\ud800 alone, \udfff"},
        {"row": {"a": -(2**63), "b": 2**63 - 1, "c": 1.5}},
        {"deep": [[[{"a": [None, True, False]}]]]},
    ],
)
def test_what_is_written_is_read_back(body: dict[str, Any]) -> None:
    data = values.dump_body(body)

    assert b"\n" not in data
    assert values.load_body(data) == body


def test_words_stand_in_a_body_as_people_write_them() -> None:
    assert values.dump_body({"subject": "Größe"}) == '{"subject":"Größe"}'.encode()
    assert values.dump_body({"subject": "\ud800"}) == b'{"subject":"\\ud800"}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {1, 2}, object()])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(BrokenItem, match="cannot be written"):
        values.dump_body({"row": {"column": value}})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}{}",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":1,"a":1}',
        b'{"row":{"a":1,"a":2}}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":9223372036854775808}',
        b'{"a":-9223372036854775809}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\x00"}',
        b'{"a":' + b"[" * 33 + b"]" * 33 + b"}",
        b'{"a":' * 100_000,
        b"[" * 100_000,
    ],
)
def test_anything_but_one_strict_object_is_damage(data: bytes) -> None:
    with pytest.raises(BrokenItem):
        values.load_body(data)


def test_a_body_may_be_as_long_as_the_format_says_and_no_longer() -> None:
    longest = b'{"a":"' + b"x" * (values.LONGEST_BODY - 8) + b'"}'

    assert len(values.load_body(longest)) == 1
    with pytest.raises(BrokenItem, match="longer"):
        values.load_body(longest + b" ")


@pytest.mark.parametrize(
    ("read", "good"),
    [
        (values.integer, 5),
        (values.text, "a"),
        (values.optional_text, None),
        (values.flag, True),
        (values.array, [1]),
        (values.mapping, {"a": 1}),
        (values.texts, {"a": "b"}),
        (values.row, {"a": "b", "c": 1, "d": 1.5}),
    ],
)
def test_a_value_of_its_type_is_taken(read: Callable[[object], object], good: object) -> None:
    assert read(good) == good


@pytest.mark.parametrize(
    ("read", "bad"),
    [
        (values.integer, True),
        (values.integer, 5.0),
        (values.integer, "5"),
        (values.integer, None),
        (values.text, 5),
        (values.text, ["a"]),
        (values.optional_text, False),
        (values.flag, 1),
        (values.flag, "true"),
        (values.flag, None),
        (values.array, "abc"),
        (values.array, {"a": 1}),
        (values.mapping, [["a", "b"]]),
        (values.texts, {"a": 1}),
        (values.texts, {"a": None}),
        (values.row, {"a": True}),
        (values.row, {"a": None}),
        (values.row, {"a": []}),
        (values.row, {"a": {}}),
        (values.row, [["a", 1]]),
        (values.moment, True),
        (values.moment, 1.5),
        (values.moment, "0"),
        (values.moment, 253_402_300_800_000),
        (values.moment, -62_135_596_800_001),
        (values.moment, 2**63 - 1),
    ],
)
def test_a_value_of_another_type_is_refused(read: Callable[[object], object], bad: object) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read(bad)


def test_a_moment_is_milliseconds_from_the_year_1_to_9999() -> None:
    assert values.moment(1_772_452_800_123) == from_ms(1_772_452_800_123)
    assert values.moment(-62_135_596_800_000).year == 1
    assert values.moment(253_402_300_799_999).year == 9999


def test_the_bulk_of_a_body_is_its_objects_lists_and_long_texts() -> None:
    body = {"n": 1, "subject": "short", "name": "x" * 1025, "row": {"a": 1}, "tags": ["b"]}

    head, bulk = values.split_bulk(body)

    assert head == {"n": 1, "subject": "short"}
    assert bulk == {"name": "x" * 1025, "row": {"a": 1}, "tags": ["b"]}
