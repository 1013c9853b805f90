"""One scanner follows live, another starts when all is over, a third is killed again and again.

Their histories are equal. Of what only exact records told, to the last time and field. Of what a
record only hinted at (calendar items, conversations, bearers of a renamed tag …) the late one may
have fewer states, each of them one that the live one has too, and the last is the same.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import AccountId, ItemId
from backupng.engine.scan import replay
from backupng.engine.scan.effects import Effect, Operation
from backupng.engine.scan.known import Known
from backupng.engine.scan.table import effect_of
from tests.engine.scan.scanners import Histories, Scanner, rows_of, settled, shown

START_MS = 1_790_000_000_000
ACCOUNTS = 2
KILL_CHANCE = 0.08
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.link", "os.mkdir")


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> Exactness:
    found = Exactness()
    known_effect_of = effect_of

    def watched(op: Operation, known: Known) -> Effect:
        effect = known_effect_of(op, known)
        found.note(op, known, effect)
        return effect

    monkeypatch.setattr(replay, "effect_of", watched)
    return found


State = tuple[AccountId, ItemId, int]


class Exactness:
    """Which states exact records told; noted of the live scanner's records.

    Of an item that a record only hinted at, later ones may be passed over by a late scanner.
    """

    def __init__(self) -> None:
        self._told: set[State] = set()
        self._hinted: set[tuple[AccountId, ItemId]] = set()
        self._copied: dict[tuple[AccountId, ItemId], tuple[AccountId, ItemId]] = {}
        self._listening = True

    def note(self, op: Operation, known: Known, effect: Effect) -> None:
        account = known.account
        # A late scanner may know less: of a tag that came and went it never saw the name.
        self._hinted |= {(account, item) for item in effect.touched | effect.doomed}
        if self._listening:
            self._told |= {(account, state.item_id, state.mod) for state in effect.exact}
            self._copied |= {
                (account, ItemId(copy["destId"])): (account, ItemId(copy["srcId"]))
                for copy in op.fields.get("copies", ())
            }

    def items(self, live: Histories) -> set[tuple[AccountId, ItemId]]:
        """Return the items that exact records told of from their first state on."""
        return {key for key in live if self._is_exact(key, live)}

    def _is_exact(self, key: tuple[AccountId, ItemId], live: Histories) -> bool:
        """Say so of an item and of all that it is a copy of."""
        told = key in live and (*key, live[key][0][1]) in self._told
        origin = self._copied.get(key)
        is_told = told and key not in self._hinted
        return is_told and (origin is None or self._is_exact(origin, live))

    def states(
        self, histories: Histories, items: set[tuple[AccountId, ItemId]]
    ) -> dict[tuple[AccountId, ItemId], list[Any]]:
        """Return what exact records told of these items."""
        return {
            key: [state for state in histories.get(key, ()) if (*key, state[1]) in self._told]
            for key in items
        }

    @contextmanager
    def deaf(self) -> Iterator[None]:
        self._listening = False
        try:
            yield
        finally:
            self._listening = True


def test_live_late_and_killed_scanners_agree(tmp_path: Path, exact: Exactness) -> None:
    seed = random.SystemRandom().randrange(10**6)
    run_play(tmp_path, exact, seed=seed, steps=120)


@pytest.mark.proofs
@pytest.mark.parametrize("number", range(20))
def test_they_agree_over_long_plays(tmp_path: Path, exact: Exactness, number: int) -> None:
    seed = random.SystemRandom().randrange(10**6) + number
    run_play(tmp_path, exact, seed=seed, steps=600)


def run_play(folder: Path, exact: Exactness, *, seed: int, steps: int) -> None:
    print(f"seed {seed}, {steps} steps")  # noqa: T201  # a failure shows it, and can be repeated
    dice = random.Random(seed)  # noqa: S311  # a play, no secrets
    with Sandbox.create(folder / "server", name="mail", domain="example.com", seed=seed) as sandbox:
        for number in range(ACCOUNTS):
            sandbox.create_account(
                f"a{number}@example.com",
                f"{number:08d}-0000-4000-8000-000000000000",
                now_ms=START_MS,
                attributes={},
            )
        play = Play(sandbox, seed=seed)
        live, late, killed = (
            Scanner(sandbox.source(), folder / name) for name in ("live", "late", "killed")
        )
        with live.running() as scanner:
            while scanner.turn(0):
                pass
            now_ms = START_MS
            for _ in range(steps):
                now_ms += dice.randrange(1, 2_000)
                play.step(now_ms=now_ms)
                while scanner.turn(0):
                    pass
                if dice.random() < KILL_CHANCE:
                    run_and_kill(killed, sandbox.folder, after=dice.randrange(1, 60))
        with exact.deaf():
            killed.catch_up()
            late.catch_up()
        told = live.histories()
        assert_agree(told, killed.histories(), exact)
        assert_agree(told, late.histories(), exact)
        for scanner_of_test in (live, late, killed):
            assert_last_states_are_rows(scanner_of_test, sandbox)


def assert_agree(live: Histories, other: Histories, exact: Exactness) -> None:
    items = exact.items(live)
    assert len(items) > len(live) // 10
    assert exact.states(live, items) == exact.states(other, items)
    assert other.keys() <= live.keys()
    for key, states in other.items():
        rest = iter(live[key])
        assert all(state in rest for state in states), (key, states, live[key])
    for key, states in live.items():
        # What came and went between two looks, and no record told of, nobody can know.
        ends = other.get(key, states if states[-1][3] else [])
        assert ends[-1:] == states[-1:], (key, ends, states)


def assert_last_states_are_rows(scanner: Scanner, sandbox: Sandbox) -> None:
    states = {key: each[-1] for key, each in scanner.states().items()}
    living = {key: state for key, state in states.items() if not state.deleted}
    rows = rows_of(sandbox.source())
    assert {key: shown(state) for key, state in living.items()} == {
        key: shown(row) for key, row in rows.items()
    }
    assert {key: settled(state) for key, state in living.items()} == {
        key: settled(row) for key, row in rows.items()
    }


def run_and_kill(scanner: Scanner, server: Path, *, after: int) -> None:
    """Let it catch up in a process that dies at so many uses of files, or at its end."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        with Sandbox.open(server) as sandbox:
            scanner.source = sandbox.source()
            sys.addaudithook(_bomb(after))
            scanner.catch_up()
    finally:
        os._exit(0)


def _bomb(after: int) -> Callable[[str, Any], None]:
    left = [after]

    def count(event: str, _arguments: Any) -> None:
        if event in FILE_EVENTS:
            left[0] -= 1
            if not left[0]:
                os._exit(9)

    return count
