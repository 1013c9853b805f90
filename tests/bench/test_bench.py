"""What the benchmarks answer to wrong words; what they measure is measured by hand only."""

from __future__ import annotations

import pytest

from tests.bench.__main__ import EXIT_USAGE, main


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["speed"], "There is no benchmark speed. Known: reader, catchup, lag"),
        (["lag", "seconds", "0"], "seconds wants a whole number above 0."),
        (["rounds", "none"], "rounds wants a whole number above 0."),
        (["scan", "items", "3"], "items is one of 2000, 20000."),
        (["seconds"], "seconds wants a whole number above 0."),
    ],
)
def test_wrong_words_are_refused_before_anything_is_measured(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == EXIT_USAGE
    assert capsys.readouterr().err.startswith(why)
