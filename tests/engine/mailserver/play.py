"""play: what users do in a mailbox, at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox import arrivals, edits
from backupng.engine.mailserver.sandbox.arrivals import Look
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.model import ItemKind
from tests.engine.mailserver.mailboxes import ADDRESS, Box, thread

TAGS: Final = ("Work", "work", "Büro", "Later", "🍕")
NAMES: Final = ("plan.txt", "Notes", "PLAN.TXT", "café")
EVENT: Final = """BEGIN:VCALENDAR\r
VERSION:2.0\r
BEGIN:{kind}\r
UID:{uid}\r
DTSTAMP:20260101T000000Z\r
DTSTART:20260102T090000Z\r
SUMMARY:Meeting\r
END:{kind}\r
END:VCALENDAR\r
"""
CARD: Final = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Zo\r\nN:Zo;;;;\r\nEND:VCARD\r\n"


def play(box: Box, dice: random.Random, *, steps: int) -> int:
    """Take random steps, a change each; return how many the server did not refuse."""
    players = Players(dice)
    taken = 0
    for _ in range(steps):
        try:
            with box.change() as change:
                dice.choice(players.steps)(change)
        except InvalidItem:
            continue
        taken += 1
    return taken


@dataclass
class Players:
    """Steps with random arguments, some of them impossible."""

    dice: random.Random

    @property
    def steps(self) -> list[Callable[[Change], object]]:
        """All steps, the frequent ones more than once."""
        often = [self.deliver, self.move, self.flag, self.tag]
        seldom = [self.chat, self.contact, self.appointment, self.task, self.save, self.comment]
        rest = [self.note, self.folder, self.search, self.delete, self.empty, self.share]
        return [*often * 4, *seldom, self.save, *rest]

    def folders(self, change: Change) -> list[int]:
        """Return folders that items can lie in, and one that is none."""
        return [2, 3, 4, 9999, *(row["id"] for row in change.rows("type = 1 AND id > 255"))]

    def any_folder(self, change: Change) -> int:
        return self.dice.choice(self.folders(change))

    def any_item(self, change: Change) -> int:
        rows = change.rows("id > 255")
        return int(self.dice.choice(rows)["id"]) if rows else 9999

    def look(self) -> Look:
        tags = tuple(self.dice.sample(TAGS, self.dice.randrange(3)))
        flags = "".join(self.dice.sample("srfx", self.dice.randrange(3)))
        return Look(unread=self.dice.random() < 0.5, flags=flags, tags=tags)

    def deliver(self, change: Change) -> None:
        number = self.dice.randrange(40)
        answered = [str(self.dice.randrange(40)) for _ in range(self.dice.randrange(3))]
        raw = thread(f"Subject {number}", str(number), *answered) + b"x" * number * 100
        folder = self.any_folder(change)
        arrivals.deliver(change, raw, folder=folder, date=change.date, look=self.look())

    def chat(self, change: Change) -> None:
        arrivals.deliver(change, b"Hi", folder=14, date=1, look=Look(), kind=ItemKind.CHAT)

    def contact(self, change: Change) -> None:
        arrivals.add_contact(change, CARD)

    def appointment(self, change: Change) -> None:
        self.calendar_item(change, "VEVENT", ItemKind.APPOINTMENT)

    def task(self, change: Change) -> None:
        self.calendar_item(change, "VTODO", ItemKind.TASK)

    def calendar_item(self, change: Change, word: str, kind: ItemKind) -> None:
        raw = EVENT.format(kind=word, uid=self.dice.randrange(60)).encode()
        arrivals.add_calendar_item(change, raw, address=ADDRESS, kind=kind)

    def save(self, change: Change) -> None:
        raw = b"x" * self.dice.randrange(9000)
        name = self.dice.choice(NAMES)
        arrivals.save_document(change, raw, name=name, content_type="text/plain", creator=ADDRESS)

    def comment(self, change: Change) -> None:
        document = self.any_item(change)
        arrivals.add_comment(change, "Fine", document=document, creator_id="x")

    def note(self, change: Change) -> None:
        arrivals.add_note(change, "Milk", folder=self.any_folder(change))

    def folder(self, change: Change) -> None:
        name = f"F{self.dice.randrange(8)}"
        arrivals.new_folder(change, self.any_folder(change), name)

    def search(self, change: Change) -> None:
        arrivals.make_search(change, f"S{self.dice.randrange(4)}", "is:unread")

    def move(self, change: Change) -> None:
        edits.move(change, self.any_item(change), self.any_folder(change))

    def flag(self, change: Change) -> None:
        words = [
            f"{self.dice.choice('+-')}{word}" for word in self.dice.sample([*edits.FLAG_WORDS], 2)
        ]
        edits.flag(change, self.any_item(change), words)

    def tag(self, change: Change) -> None:
        edits.tag(change, self.any_item(change), self.dice.choice(TAGS))

    def delete(self, change: Change) -> None:
        edits.delete(change, self.any_item(change))

    def empty(self, change: Change) -> None:
        if self.dice.random() < 0.3:
            edits.empty_folder(change, self.any_folder(change))

    def share(self, change: Change) -> None:
        edits.share(change, self.any_folder(change), "someone", "rw")
