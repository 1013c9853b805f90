"""The codec of the `metadata` column: worked examples, older formats, bad input."""

from __future__ import annotations

import base64
import time
from functools import reduce
from typing import Any

import pytest

from backupng.engine.errors import BrokenItem
from backupng.engine.mailserver.zimbra.metadata import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    Value,
    as_bool,
    as_int,
    decode,
    decode_column,
    encode,
    encode_column,
)

CALENDAR_TEXT = (
    "d4:aclmd1:gld1:ei0e1:g36:3c2f1a0b-1111-2222-3333-4444555566661:ri1e1:ti1eee2:gei0e2:iei0ee"
    "1:ci33488896e3:das5:false3:i4di1e3:i4li3e3:i4ri200e5:mdveri2e4:mseqi1040e"
    "2:sdi1700000000000e2:sg5:guid12:szi1234e4:unxti258e3:url14:http://x/y.ics1:vi10e2:vti11e"
    "4:wosdi30ee"
)
CALENDAR: dict[str, Value] = {
    "aclm": {
        "g": [{"e": 0, "g": "3c2f1a0b-1111-2222-3333-444455556666", "r": 1, "t": 1}],
        "ge": 0,
        "ie": 0,
    },
    "c": 33488896,
    "das": "false",
    "i4d": 1,
    "i4l": 3,
    "i4r": 200,
    "mdver": 2,
    "mseq": 1040,
    "sd": 1700000000000,
    "sg": "guid1",
    "sz": 1234,
    "unxt": 258,
    "url": "http://x/y.ics",
    "vt": 11,
    "wosd": 30,
}
MESSAGE_TEXT = (
    "d1:f8:Hello hi1:p4:Re: 1:s21:Ann <ann@example.com>1:t15:bob@example.com1:vi10e"
    "6:xd.sec15:d1:k1:v1:vi10eee"
)
EXAMPLES: tuple[tuple[str, dict[str, Value]], ...] = (
    ("d1:vi10ee", {}),
    ("d1:n5:Caféx1:vi10ee", {"n": "Caféx"}),
    ("d1:n7:Café 😀1:vi10ee", {"n": "Café 😀"}),
    ("d1:b4:true1:vi10ee", {"b": "true"}),
    ("d1:ci33521664e1:vi10ee", {"c": 0x01FF8000}),
    ("d1:n0:1:vi10e1:zlee", {"n": "", "z": []}),
    ("d1:ai-9223372036854775808e1:bi9223372036854775807e1:vi10ee", {"a": -(2**63), "b": 2**63 - 1}),
    (
        "d3:das5:false4:mseqi1040e4:unxti258e1:vi10e2:vti5ee",
        {"das": "false", "mseq": 1040, "unxt": 258, "vt": 5},
    ),
    (CALENDAR_TEXT, CALENDAR),
    (
        MESSAGE_TEXT,
        {
            "f": "Hello hi",
            "p": "Re: ",
            "s": "Ann <ann@example.com>",
            "t": "bob@example.com",
            "xd.sec": "d1:k1:v1:vi10ee",
        },
    ),
    (
        "d3:fldd5:email13:z@example.com9:firstName3:Zoëe1:vi10ee",
        {"fld": {"email": "z@example.com", "firstName": "Zoë"}},
    ),
)
WRAPPED = "=?UTF-8?B?ZDE6bjc6Q2Fmw6kg8J+YgDE6dmkxMGVl?="

BROKEN = {
    "nothing but an end": "e",
    "a list": "l1:ae",
    "a number": "i5e",
    "a string": "1:a",
    "no end": "d1:ai5e",
    "only a beginning": "d",
    "a key without value": "d1:ae",
    "text after the end": "d1:vi10eeX",
    "a second map": "d1:vi10eed1:vi10ee",
    "a length that is too long": "d1:n9:abce",
    "a length that is no number": "d1:nx:abce",
    "a negative length": "d1:n-1:abce",
    "a signed length": "d1:n+1:ae",
    "digits that are not ASCII": "d1:n\u0661:ae",
    "a length without its colon": "d1:n3abce",
    "a length of many digits": "d1:n" + "0" * 5000 + "1:ae",
    "a number without digits": "d1:nie",
    "a number with a plus": "d1:ni+5ee",
    "a number with a blank": "d1:ni 5ee",
    "a number without end": "d1:ni5",
    "a number above 64 bits": "d1:ni9223372036854775808ee",
    "a number below 64 bits": "d1:ni-9223372036854775809ee",
    "a number of many digits": "d1:ni" + "9" * 5000 + "ee",
    "a number as key": "di5e1:ae",
    "a map as key": "dd1:vi10ee1:ae",
    "a length that ends inside a character": "d1:n1:😀1:vi10ee",
    "half a character": "d1:n1:\ud83d1:vi10ee",
    "half a character in a key": "d1:\ude001:ae",
    "too many levels": "l" * 100_000,
    "too many levels, complete": f"d1:a{'l' * (MAX_DEPTH + 1)}{'e' * (MAX_DEPTH + 1)}e",
    "too many values": "d1:al" + "le" * MAX_VALUES + "ee",
    "too many characters": "d1:n16777210:" + "x" * 16_777_210 + "e",
    "too many bytes": f"d1:n{MAX_BYTES // 2}:{'é' * (MAX_BYTES // 2)}e",
    "an old map without its last semicolon": "a=1:1;b=1:2",
    "an old map with text behind it": "a=1:1;b",
    "an old map with a length that is too long": "a=9:1;",
    "an old map of a MiB": "a=1:1;" * 200_000,
}

BROKEN_COLUMNS = {
    "no end": "=?UTF-8?B?ZDE6dmkxMGVl",
    "no encoding": "=?UTF-8?ZDE6dmkxMGVl?=",
    "another encoding": "=?UTF-8?Q?d1:vi10ee?=",
    "another charset": "=?UTF-16?B?ZDE6dmkxMGVl?=",
    "letters that are not base64": "=?UTF-8?B?ZDE6dmkxMGV*?=",
    "letters that are not ASCII": "=?UTF-8?B?ZDE6dmkxMGVé?=",
    "a missing letter": "=?UTF-8?B?ZDE6dmkxMGV?=",
    "bytes that are not UTF-8": "=?UTF-8?B?/////w==?=",
    "a second word": "=?UTF-8?B?ZDE6dmkxMGVl?= =?UTF-8?B?ZDE6dmkxMGVl?=",
    "no map inside": "=?UTF-8?B?aGVsbG8=?=",
    "a word inside": f"=?UTF-8?B?{base64.b64encode(WRAPPED.encode()).decode()}?=",
    "nothing inside but junk outside": "=?UTF-8?B??",
}

UNWRITABLE = {
    "no value": {"a": None},
    "a fraction": {"a": 1.5},
    "bytes": {"a": b"x"},
    "a number above 64 bits": {"a": 2**63},
    "a number of many digits": {"a": 10**5000},
    "half a character": {"a": "\ud83d"},
    "half a character in a name": {"\ud83d": 1},
    "a name that is no text": {"a": {1: "x"}},
    "a nested number that is too big": {"a": [{"b": -(2**63) - 1}]},
    "too many bytes": {"a": "é" * (MAX_BYTES // 2)},
}


def nested_lists(levels: int) -> list[Value]:
    nested: list[Value] = []
    for _ in range(levels - 1):
        nested = [nested]
    return nested


# --- examples


@pytest.mark.parametrize(("text", "values"), EXAMPLES)
def test_a_worked_example_decodes(text: str, values: dict[str, Value]) -> None:
    assert decode(text) == values


@pytest.mark.parametrize(("text", "values"), EXAMPLES)
def test_a_worked_example_encodes(text: str, values: dict[str, Value]) -> None:
    assert encode(values) == text


@pytest.mark.parametrize("reader", [decode, decode_column])
@pytest.mark.parametrize("text", [None, ""])
def test_no_text_is_the_empty_map(reader: Any, text: str | None) -> None:
    assert reader(text) == {}


def test_only_the_outermost_version_is_dropped() -> None:
    assert decode("d1:ad1:vi3ee1:vi10ee") == {"a": {"v": 3}}


def test_the_version_is_written_whatever_the_map_says() -> None:
    assert encode({"v": "mine", "z": 1}) == "d1:vi10e1:zi1ee"


def test_keys_are_sorted_by_utf16_code_unit() -> None:
    # U+FF5E comes after the surrogates of U+1F600, though its code point is lower.
    text = encode({"\uff5e": 1, "\U0001f600": 2, "a": {"\uff5e": 1, "\U0001f600": 2}})
    assert text == "d1:ad2:😀i2e1:\uff5ei1ee1:vi10e2:😀i2e1:\uff5ei1ee"


def test_keys_in_another_order_are_read_and_the_last_of_two_equal_ones_counts() -> None:
    assert decode("d1:zi1e1:ai2e1:zi3ee") == {"z": 3, "a": 2}


def test_booleans_are_written_as_words() -> None:
    assert encode({"a": True, "b": [False]}) == "d1:a4:true1:bl5:falsee1:vi10ee"


def test_encoding_leaves_the_map_alone() -> None:
    values: dict[str, Value] = {"a": 1}
    encode(values)
    assert values == {"a": 1}


# --- the column


def test_a_column_with_a_character_above_16_bits_is_an_encoded_word() -> None:
    assert encode_column({"n": "Café 😀"}) == WRAPPED


def test_an_encoded_word_in_a_column_decodes() -> None:
    assert decode_column(WRAPPED) == {"n": "Café 😀"}


def test_the_name_of_the_charset_may_have_any_case() -> None:
    assert decode_column(WRAPPED.replace("UTF-8?B", "utf-8?b")) == {"n": "Café 😀"}


@pytest.mark.parametrize("text", ["Café €✓", "\uffff\ue000"])
def test_a_column_of_16_bit_characters_is_plain(text: str) -> None:
    assert encode_column({"n": text}) == encode({"n": text})


def test_only_columns_are_wrapped() -> None:
    with pytest.raises(BrokenItem):
        decode(WRAPPED)


@pytest.mark.parametrize("column", BROKEN_COLUMNS.values(), ids=BROKEN_COLUMNS)
def test_a_broken_encoded_word_is_a_broken_item(column: str) -> None:
    with pytest.raises(BrokenItem):
        decode_column(column)


def test_a_column_that_is_too_long_only_when_wrapped_is_not_written() -> None:
    values: dict[str, Value] = {"n": "😀" + "x" * (MAX_BYTES * 4 // 5)}
    with pytest.raises(BrokenItem):
        encode_column(values)


# --- the two older ways of writing


def test_text_once_taken_for_latin1_is_repaired() -> None:
    values: dict[str, Value] = {"fld": {"firstName": "Zoë", "lastName": "Łęcki 😀"}, "t": "é"}
    mangled = encode(values).encode("utf-8").decode("latin-1")
    assert decode(mangled) == values


def test_text_that_fits_as_it_is_is_not_repaired() -> None:
    assert decode("d1:n2:Ã©1:vi10ee") == {"n": "Ã©"}


def test_mangled_text_that_does_not_fit_when_repaired_is_broken() -> None:
    with pytest.raises(BrokenItem):
        decode("d1:n3:Ã©1:vi10ee")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a=1:1;name=5:Caféx;e=0:;", {"a": "1", "name": "Caféx", "e": ""}),
        ("n=7:Café 😀;z=1:1;", {"n": "Café 😀", "z": "1"}),
        ("v=2:10;a=1:1;", {"a": "1"}),
        ("a=12:b=3:x=y;c=0:;", {"a": "b=3:x=y;c=0:"}),
        ("a=13:b=3:x=y;c=0:;;", {"a": {"b": "x=y", "c": ""}}),
        ("a=20:b=14:c=9:d=4:five;;;;", {"a": {"b": {"c": {"d": "five"}}}}),
        ("a=5:b=0:;;", {"a": "b=0:;"}),
        ("a=6:b=1:c;;", {"a": {"b": "c"}}),
        ("url=17:http://x/?a=1:b=;;", {"url": "http://x/?a=1:b=;"}),
        ("=1:x;", {"": "x"}),
        ("a=4:x;y;;", {"a": "x;y;"}),
    ],
)
def test_the_format_before_bencode_is_read(text: str, values: dict[str, Value]) -> None:
    assert decode(text) == values


# --- bad input


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_text_is_a_broken_item(text: str) -> None:
    with pytest.raises(BrokenItem):
        decode(text)


@pytest.mark.parametrize("values", UNWRITABLE.values(), ids=UNWRITABLE)
def test_a_map_that_cannot_be_written_is_a_broken_item(values: Any) -> None:
    with pytest.raises(BrokenItem):
        encode(values)


def test_a_length_beyond_the_end_is_named() -> None:
    with pytest.raises(BrokenItem, match="a string longer than the text at position 4"):
        decode("d1:n9:abce")


def test_a_character_read_in_two_halves_is_put_together() -> None:
    assert decode("d1:n2:\ud83d\ude001:vi10ee") == {"n": "😀"}


def test_an_old_map_of_endless_levels_is_read_to_a_limit() -> None:
    text = reduce(lambda inner, _: f"a={len(inner)}:{inner};", range(3000), "b=1:c;")
    assert decode(text).keys() == {"a"}


def test_as_many_levels_as_allowed_pass_both_ways() -> None:
    values: dict[str, Value] = {"a": nested_lists(MAX_DEPTH)}
    assert decode(encode(values)) == values


def test_one_level_more_is_not_written() -> None:
    with pytest.raises(BrokenItem):
        encode({"a": nested_lists(MAX_DEPTH + 1)})


def test_a_map_that_contains_itself_is_not_written() -> None:
    endless: list[Value] = []
    endless.append(endless)
    with pytest.raises(BrokenItem):
        encode({"a": endless})


@pytest.mark.parametrize("name", ["😀", "é", "x"])
def test_long_texts_are_read_in_linear_time(name: str) -> None:
    short, long = (encode_column({"a": [name] * number}) for number in (10_000, 100_000))

    # Ten times as long takes ten times as long, and a hundred times where it is quadratic.
    slow, fast = (min(cpu_s_to_read(text) for _ in range(3)) for text in (long, short))
    assert slow < 40 * fast


def cpu_s_to_read(text: str) -> float:
    """Return the seconds of computing that reading takes, whatever else the machine does."""
    started = time.process_time()
    decode_column(text)
    return time.process_time() - started


# --- readers


@pytest.mark.parametrize("value", ["true", "TRUE", "True", "1", 1, True])
def test_a_true_value_is_read_as_true(value: Value) -> None:
    assert as_bool(value) is True


@pytest.mark.parametrize("value", ["false", "FALSE", "0", 0, False])
def test_a_false_value_is_read_as_false(value: Value) -> None:
    assert as_bool(value) is False


@pytest.mark.parametrize("value", ["yes", "", "2", 2, -1, [], {}, ["true"]])
def test_another_value_is_no_boolean(value: Value) -> None:
    with pytest.raises(BrokenItem):
        as_bool(value)


@pytest.mark.parametrize(
    ("value", "number"), [(5, 5), ("5", 5), ("-7", -7), ("+7", 7), ("007", 7), (-(2**63), -(2**63))]
)
def test_digits_are_read_as_a_number(value: Value, number: int) -> None:
    assert as_int(value) == number


@pytest.mark.parametrize(
    "value",
    ["", "x", "1.5", " 5", "5\n", "\u0665", "9" * 5000, "9223372036854775808", 2**63, [], {}],
)
def test_another_value_is_no_number(value: Value) -> None:
    with pytest.raises(BrokenItem):
        as_int(value)
