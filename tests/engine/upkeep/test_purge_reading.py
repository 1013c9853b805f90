"""What a purge takes at a glance: the same as with care, or nothing."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest

from backupng.engine.backuppath import metadata, values
from backupng.engine.backuppath.metadata import spell_state
from backupng.engine.model import Digest, ItemState, to_ms
from backupng.engine.upkeep.purge_reading import deleted_since, told
from tests.engine.backuppath.samples import deletion, message
from tests.engine.upkeep.purging import DAY, LONG_AGO, old

SEED = "ng1/a/257"
SUM = zlib.crc32(SEED.encode())
FIRST = Digest("A" * 43 + "=")
SECOND = Digest("B" * 43 + "=")
ROW = {"row": {"blob_digest": SECOND}}
PLAYS: dict[str, Sequence[ItemState]] = {
    "an item": [message(257, 11, digest=FIRST, **ROW)],
    "a changed item": [message(257, 11, digest=FIRST), message(257, 12, digest=SECOND)],
    "an item without a blob": [message(257, 11, digest=None)],
    "a deleted item": [message(257, 11, digest=FIRST), deletion(257, 12)],
    "one that was only ever deleted": [deletion(257, 12)],
}


def sealed(*bodies: bytes) -> bytes:
    data, digits = b"", metadata.first_digits(SEED)
    for body in bodies:
        line, digits = metadata.seal(digits, body)
        data += line
    return data


def spelled(states: Sequence[ItemState]) -> list[bytes]:
    return [values.dump_body(spell_state(state, at)) for at, state in enumerate(states, 1)]


@pytest.mark.parametrize("states", PLAYS.values(), ids=PLAYS)
def test_a_glance_tells_what_care_would(states: Sequence[ItemState]) -> None:
    bodies = spelled(states)
    data = sealed(*bodies)

    found = told(data, SUM)

    assert found is not None
    since = deleted_since(bodies, before_ms=None)
    assert set(found.names) == metadata.quoted_digests(data)
    assert (found.mod, found.deleted_ms) == (states[-1].mod, since and since[0])


def test_a_deletion_counts_from_no_earlier_than_the_lines_before_it_at_a_glance_too() -> None:
    bodies = spelled([old(message(257, 11), LONG_AGO + DAY), old(deletion(257, 12))])

    found = told(sealed(*bodies), SUM)

    assert found is not None
    assert found.deleted_ms == to_ms(LONG_AGO + DAY)


LIVING, DELETED = spelled([message(257, 11, digest=FIRST)])[0], spelled([deletion(257, 12)])[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        sealed(LIVING)[:-1],
        sealed(LIVING) + b"x",
        sealed(LIVING).replace(b"A", b"B", 1),
        sealed(LIVING, DELETED, LIVING),
        sealed(LIVING.replace(b'"folder"', b'"more":"x","folder"')),
        sealed(LIVING.replace(b"AAA", b"\\u0041AA")),
        sealed(LIVING.replace(b'{"n"', b'{ "n"')),
        sealed(LIVING.replace(b'"folder"', b'"deleted":false,"folder"')),
        sealed(DELETED.replace(b"true", b"false")),
        sealed(DELETED[:-1] + b',"t":5}'),
        sealed(LIVING.replace(b'{"n"', b'{ "n"'), DELETED),
        sealed(b"[]"),
    ],
    ids=[
        "empty",
        "torn",
        "with a torn tail",
        "damaged",
        "deleted and back",
        "with a bulk",
        "with an escaped digest",
        "with blanks",
        "said not to be deleted",
        "a deletion that is none",
        "a deletion with two times",
        "a deletion behind a line with blanks",
        "no object",
    ],
)
def test_whatever_is_different_is_read_with_care(data: bytes) -> None:
    assert told(data, SUM) is None


def test_a_history_cut_or_flipped_anywhere_is_not_whole() -> None:
    data = sealed(LIVING, DELETED)
    ends = {len(sealed(LIVING))}
    cut = [data[:at] for at in range(len(data)) if at and at not in ends]
    flipped = [data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :] for at in range(len(data))]

    assert [each for each in (*cut, *flipped) if metadata.whole_bodies(each, SUM) is not None] == []
    assert metadata.whole_bodies(data, SUM) == [LIVING, DELETED]
    assert metadata.whole_bodies(data, SUM + 1) is None
