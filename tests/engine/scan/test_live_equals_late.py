"""One scanner follows live, another starts when all is over, a third is killed again and again.

Their histories are equal. Of what only exact records told, to the last time and field. Of what a
record only hinted at (calendar items, conversations, bearers of a renamed tag …) the late one may
have fewer states, each of them one that the live one has too, and the last is the same.
"""

from __future__ import annotations

import os
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.mailserver.sandbox import arrivals, edits, removal, tags
from backupng.engine.mailserver.sandbox.arrivals import Look
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.codes import Flag
from backupng.engine.model import FOLDER_LIKE, AccountId, ItemId, ItemKind, ItemState
from backupng.engine.scan import replay
from backupng.engine.scan.effects import Effect, Operation
from backupng.engine.scan.known import Known
from backupng.engine.scan.table import effect_of
from tests.cast import ALICE, BOB, Office, message
from tests.engine.scan.scanners import Histories, Scanner, rows_of, settled, shown
from tests.engine.scan.scenes import MESSAGE, log_items

START_MS = 1_790_000_000_000
ACCOUNTS = 2
KILL_CHANCE = 0.08
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.link", "os.mkdir")

NAMING = {
    "CreateMessage": "msgId",
    "CreateChat": "msgId",
    "SaveDraft": "msgId",
    "CreateContact": "contactId",
    "ModifyContact": "contactId",
    "SaveDocument": "msgId",
    "AddDocumentRevision": "docId",
    "CreateFolder": "folderId",
    "CreateFolderPath": "folders",
    "CreateSavedSearch": "searchId",
    "CreateMountpoint": "id",
    "CreateTag": "tagId",
    "MoveItem": "ids",
    "AlterItemTag": "ids",
    "SetItemTags": "ids",
    "ColorItem": "ids",
    "DateItem": "id",
    "RenameItem": "id",
    "CopyItem": "copies",
    "DeleteItem": "ids",
}
"""Operations whose records tell exactly what becomes of the items named in this field."""
USUAL = frozenset({"CreateMessage", "MoveItem", "AlterItemTag", "DeleteItem"})
"""Those of them that are in every play: it goes on until it has had them all."""


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


def named_by(op: Operation, known: Known) -> set[ItemId]:
    """Return the items of which a record has to tell all: no conversation, no folder deleted."""
    named: Any = op.fields[NAMING[op.name]] if op.name in NAMING else []
    if op.name == "CopyItem":
        copied = {each["destId"]: known.content(each["srcId"]) for each in named}
        return {ItemId(item) for item, source in copied.items() if source is not None}
    if op.name == "CreateFolderPath":
        named = [each["id"] for each in named]
    found = {ItemId(item) for item in (named if isinstance(named, list) else [named]) if item > 0}
    last = {item: known.living(item) for item in found}
    if op.name.endswith("Contact") and (op.fields["data"].length or has_blob(last.values())):
        # A contact with a picture has a blob that no record holds.
        return set()
    kinds = {ItemKind.CONVERSATION} | (FOLDER_LIKE if op.name == "DeleteItem" else set())
    if not op.name.startswith(("Create", "SaveDocument")):
        found = {item for item, state in last.items() if state and state.kind not in kinds}
    return found


def has_blob(states: Iterable[ItemState | None]) -> bool:
    """Say whether one of these states has content of its own."""
    return any(state is not None and state.digest is not None for state in states)


class Exactness:
    """Which states exact records told; noted of the live scanner's records.

    Of an item that a record only hinted at, later ones may be passed over by a late scanner.
    """

    def __init__(self) -> None:
        self._told: set[State] = set()
        self._hinted: set[tuple[AccountId, ItemId]] = set()
        self._copied: dict[tuple[AccountId, ItemId], tuple[AccountId, ItemId]] = {}
        self._named: dict[str, set[State]] = defaultdict(set)
        self._listening = True

    def note(self, op: Operation, known: Known, effect: Effect) -> None:
        account = known.account
        # A late scanner may know less: of a tag that came and went it never saw the name.
        self._hinted |= {(account, item) for item in effect.touched | effect.doomed}
        if self._listening:
            self._told |= {(account, state.item_id, state.mod) for state in effect.exact}
            self._named[op.name] |= {(account, item, op.mod) for item in named_by(op, known)}
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

    def by_operation(self, live: Histories) -> dict[str, set[State]]:
        """Return what records of the operations in `NAMING` have visibly changed, by operation."""
        changed = {
            (*key, state[1])
            for key, states in live.items()
            for before, state in zip([None, *states], states, strict=False)
            if before is None or (before[:1], before[3:]) != (state[:1], state[3:])
        }
        return {name: named & changed for name, named in self._named.items() if named & changed}

    def untold(self, live: Histories) -> dict[str, set[State]]:
        """Return what of that no record told by itself."""
        found = {name: named - self._told for name, named in self.by_operation(live).items()}
        return {name: states for name, states in found.items() if states}

    @staticmethod
    def in_both(live: Histories, other: Histories) -> set[State]:
        """Return the states that are equal in two histories."""
        return {
            (*key, state[1])
            for key, states in live.items()
            for state in states
            if state in other.get(key, ())
        }

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
            for number in range(20 * steps):
                if number >= steps and exact.by_operation(live.histories()).keys() >= USUAL:
                    break
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


def test_a_late_scanner_has_from_its_record_alone_what_every_exact_operation_did(
    mail: Office, tmp_path: Path, exact: Exactness
) -> None:
    live, late = (
        Scanner(mail.source, tmp_path / name, clock=lambda: mail.now) for name in ("live", "late")
    )
    with live.running() as scanner:

        def do(act: Callable[[Change], Any]) -> Any:
            mail.later(seconds=1)
            with mail.client._on(ALICE).change() as change:
                made = act(change)
            while scanner.turn(0):
                pass
            return made

        do_one_of_each(do, other=mail.account_id(BOB))
    with exact.deaf():
        late.catch_up()

    told = live.histories()
    rows = {
        (*key, state.mod) for key, states in late.states().items() for state in states if state.row
    }
    by_records = {
        name: states & exact.in_both(told, late.histories()) - rows
        for name, states in exact.by_operation(told).items()
    }
    assert {name for name, states in by_records.items() if states} == set(NAMING)


Do = Callable[[Callable[[Change], Any]], Any]
"""Lets a change of the first mailbox happen, and returns what it made."""


def do_one_of_each(do: Do, *, other: AccountId) -> None:
    """Do everything that a record tells exactly, to things that go on to change."""
    letter, chat = deliver(do, "Letter", 2), deliver(do, "Chat", 14, kind=ItemKind.CHAT)
    draft = deliver(do, "Draft", 6, look=Look(flags="sd"))
    contact, document = do(partial(arrivals.add_contact, raw=card("Eve"))), do(save)
    folders = [
        do(partial(arrivals.new_folder, parent=2, name="Below")),
        do(partial(arrivals.make_folder, path="/New/Newer")),
        do(partial(arrivals.make_search, name="Found", query="in:inbox")),
        do(lambda change: edits.mount(change, "Theirs", owner_id=other, folder=change.row(2))),
    ]
    tag = do(partial(tags.make_tag, name="Blue"))
    do(partial(edits.tag, item=letter, name="Blue"))
    do(partial(edits.set_marks, item=letter, flags=int(Flag.FLAGGED), tags=()))
    do(partial(edits.move, item=letter, folder=5))
    do(partial(edits.date, item=letter, seconds=1))
    copy = do(partial(edits.copy, item=letter, folder=2))
    do(partial(edits.save_draft, item=draft, raw=message("Draft again")))
    do(partial(edits.modify_contact, item=contact, raw=card("Eva")))
    do(save)
    do(partial(edits.rename, item=document, name="b.txt"))
    for color in (1, 2):
        do(partial(tags.color_tag, tag=tag, color=color))
        for item in (letter, chat, draft, contact, document, copy, *folders):
            do(partial(edits.color, item=item, value=color))
    do(partial(delete, message=copy))


def deliver(do: Do, subject: str, folder: int, **more: Any) -> Any:
    raw = message(subject)
    return do(partial(arrivals.deliver, raw=raw, folder=folder, date=0, **more))


def save(change: Change) -> int:
    return arrivals.save_document(
        change,
        b"%d" % change.number,
        name="a.txt",
        content_type="text/plain",
        creator=ALICE,
    )


def card(name: str) -> bytes:
    return f"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:{name}\r\nEND:VCARD\r\n".encode()


def delete(change: Change, message: int) -> int:
    log_items(change, "DeleteItem", [message], MESSAGE)
    return removal.delete_rows(change, [change.row(message)])


def assert_agree(live: Histories, other: Histories, exact: Exactness) -> None:
    assert exact.untold(live) == {}
    assert exact.by_operation(live).keys() >= USUAL
    items = exact.items(live)
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
