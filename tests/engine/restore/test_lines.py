"""How long the longest line of a message is, in whatever pieces it comes."""

from __future__ import annotations

import pytest

from backupng.engine.errors import InvalidItem
from backupng.engine.model import ItemId
from backupng.engine.restore.lines import Lines, require_short


@pytest.mark.parametrize(
    ("pieces", "longest"),
    [
        ([b"ab", b"cd\r\ne"], 4),
        ([b"ab", b"cd", b"e\n"], 5),
        ([b"a\nbc", b"def\ng"], 5),
        ([b"abc\r", b"de"], 3),
        ([b"a\rbcd\nef"], 3),
        ([b"\r\n", b""], 0),
    ],
)
def test_a_line_ends_at_either_byte_and_goes_on_in_the_next_piece(
    pieces: list[bytes], longest: int
) -> None:
    lines = Lines()
    for piece in pieces:
        lines.see(piece)

    assert lines.longest == longest


def test_a_line_as_long_as_the_server_takes_passes() -> None:
    require_short([b"abc\n", b"abcd\n"], ItemId(300), 4)

    with pytest.raises(InvalidItem, match="item 300 has a line of 5 bytes: the server takes 4"):
        require_short([b"abc", b"de\n"], ItemId(300), 4)
