"""A server that two scanners watch: one looks after every act, the other at the end only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backupng.engine.mailserver.sandbox import redo
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.model import ItemId
from tests.cast import ALICE, CAROL, Office, message
from tests.engine.scan.scanners import Scanner, rows_of, settled, shown

FOLDER, TAG, CONVERSATION, MESSAGE, NOTE = 1, 3, 4, 5, 9


@dataclass
class Scene:
    """What happens on a server, and the two who watch it."""

    mail: Office
    live: Scanner
    late: Scanner
    is_faithful: bool = True
    """Whether the log tells what the database has."""

    def act(self, what: Callable[[], Any]) -> Any:
        """Let one thing happen, a second later, and the live scanner see it."""
        self.mail.later(seconds=1)
        found = what()
        self.live.catch_up()
        return found

    def change(self, what: Callable[[Change], Any]) -> Any:
        """Let one change of the first mailbox happen that no client makes."""

        def made() -> Any:
            with self.mail.client._on(ALICE).change() as change:
                return what(change)

        return self.act(made)

    def rows(self, where: str) -> list[dict[str, Any]]:
        """Return the rows of items of the first mailbox that fit a condition."""
        sandbox = self.mail.sandbox
        mailbox = sandbox.mailbox(sandbox.account(ALICE))
        table = sandbox.database.table(f"mboxgroup{mailbox.group_id}", "mail_item")
        query = f"SELECT * FROM {table} WHERE mailbox_id = ? AND ({where}) ORDER BY id"  # noqa: S608
        return list(sandbox.database.rows(query, mailbox.mailbox_id))

    def deliver(self, subject: str, *, to: str = ALICE, answers: str = "") -> ItemId:
        """Deliver a message, perhaps an answer to another."""
        raw = message(subject)
        if answers:
            earlier = message(answers).partition(b"Message-ID: <")[2].partition(b">")[0]
            raw = raw.replace(b"\r\n\r\n", b"\r\nIn-Reply-To: <%s>\r\n\r\n" % earlier, 1)
        item: ItemId = self.act(lambda: self.mail.client.deliver(to, raw, folder="/Inbox"))
        return item

    def end(self) -> None:
        """Let the late scanner look, and what waits be settled."""
        for scanner in (self.late, self.live):
            self.mail.later(seconds=61)
            scanner.catch_up()

    def history(self, item: int, *, of: Scanner | None = None) -> list[tuple[Any, ...]]:
        """Return when which state of an item of the first mailbox began."""
        histories = (of or self.late).states()
        account = self.mail.account_id(ALICE)
        return [shown(state) for state in histories.get((account, ItemId(item)), ())]

    def doubts(self, scanner: Scanner) -> dict[str, str]:
        """Return the accounts that a scanner has marked as uncertain, and why."""
        with scanner.path() as path:
            return {who: each["reason"] for who, each in path.scanner()["uncertain"].items()}


@contextmanager
def scene_on(mail: Office, tmp_path: Path) -> Iterator[Scene]:
    live, late = (
        Scanner(mail.source, tmp_path / name, clock=lambda: mail.now) for name in ("live", "late")
    )
    live.catch_up()
    made = Scene(mail, live, late)
    yield made
    made.end()
    if made.is_faithful:
        assert_ends(made)


def assert_ends(scene: Scene) -> None:
    """Both end with what the database says, and have nothing left that waits."""
    carol = scene.mail.account_id(CAROL)
    rows = {key: row for key, row in rows_of(scene.mail.source).items() if key[0] != carol}
    for scanner in (scene.live, scene.late):
        living = {
            key: states[-1]
            for key, states in scanner.states().items()
            if not states[-1].deleted and key[0] in {each for each, _ in rows}
        }
        if not scene.doubts(scanner):
            assert {k: shown(state) for k, state in living.items()} == {
                k: shown(row) for k, row in rows.items()
            }
            assert {key: settled(state) for key, state in living.items()} == {
                key: settled(row) for key, row in rows.items()
            }
        with scanner.path() as path:
            pending = path.scanner()["pending"].values()
        assert [each for each in pending if each["doomed"]] == []


def ends(scene: Scene, item: int) -> list[tuple[int, bool]]:
    """Return change number and end of an item's states as the late scanner has them."""
    return [(state[1], state[2]) for state in scene.history(item)]


def log_items(change: Change, op: str, ids: list[int], item_type: int, **fields: Any) -> None:
    change.log(op, **(redo.items(ids, item_type) | fields))
