"""What one user of a sandbox does at a time, drawn by dice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from backupng.engine.mailserver.sandbox import arrivals, conversations, edits, removal, tags
from backupng.engine.mailserver.sandbox.arrivals import Look
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.content.agenda import fill, make_appointment, make_task
from backupng.engine.mailserver.sandbox.content.correspondence import Correspondence, make_circular
from backupng.engine.mailserver.sandbox.content.dice import Dice
from backupng.engine.mailserver.sandbox.content.files import any_file
from backupng.engine.mailserver.sandbox.content.mail import write
from backupng.engine.mailserver.sandbox.content.people import Person, make_card, make_group_card
from backupng.engine.mailserver.sandbox.content.words import LANGUAGES, SEARCHES
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.codes import FIRST_USER_ID, Flag, SystemFolder
from backupng.engine.model import DirectoryEntry, ItemKind, Mailbox

_MOST_DRAWN: Final = 50
_NAMES: Final = 10_000
_INBOX, _TRASH, _JUNK = SystemFolder.INBOX, SystemFolder.TRASH, SystemFolder.JUNK
_LEAVES: Final = "id > 255 AND type NOT IN (1, 2, 4, 13)"
_COPIED: Final = "id > 255 AND type IN (5, 6, 8, 9, 16)"
_NAMED: Final = "id > 255 AND type IN (1, 8)"
_COLUMNS: Final = {"mail_item": "id, name, folder_id, tag_names", "tag": "id"}
_RIGHTS: Final = ("r", "rw", "rwidx")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One account, and one moment; ms. An act returns False when there is nothing to act on."""

    sandbox: Sandbox
    seed: int
    count: Callable[[], None]
    """Called for every change made."""
    account: DirectoryEntry
    accounts: Sequence[DirectoryEntry]
    now_ms: int
    dice: Dice
    letters: Correspondence
    number: int
    mailbox: Mailbox

    def acts(self) -> list[Callable[[], object]]:
        """Return all that a user does, the frequent more than once."""
        daily = [self.receive, self.receive, self.read, self.mark, self.move, self.tag]
        often = [self.throw_away, self.answer, self.draft, self.delete, self.copy, self.save]
        mixed = [self.contact, self.correct, self.appointment, self.task, self.note, self.comment]
        rest = [self.chat, self.folder, self.path, self.search, self.rename, self.colour]
        seldom = [self.untag, self.edit_tag, self.date, self.share, self.circular, self.empty]
        seldom += [self.conversation, self.conversation, self.expunge]
        return [*daily * 4, *often * 2, *mixed, *rest, *seldom, self.remove_folder]

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Make the next change of this mailbox."""
        with self.sandbox.change(self.account, now_ms=self.now_ms) as change:
            yield change
        self.count()

    # Mail

    def receive(self) -> None:
        """Get a letter."""
        exchange = self.letters.next(self.number, date_s=self.now_ms // 1000)
        with self.change() as change:
            folder = _INBOX if self.dice.chance(0.8) else self._any_folder()
            self._deliver(change, write(exchange.letter), folder, Look(unread=True))

    def answer(self) -> None:
        """Send a letter."""
        exchange = self.letters.next(self.number, date_s=self.now_ms // 1000)
        with self.change() as change:
            self._deliver(change, write(exchange.letter), SystemFolder.SENT, Look(flags="s"))

    def draft(self) -> None:
        """Save a draft, a new one or one of those there are."""
        raw = write(self.letters.next(self.number, date_s=self.now_ms // 1000).letter)
        drafts = self._rows(f"type = 5 AND flags & {int(Flag.DRAFT)}")
        with self.change() as change:
            if drafts and self.dice.chance(0.7):
                edits.save_draft(change, self.dice.pick(drafts)["id"], raw)
            else:
                self._deliver(change, raw, SystemFolder.DRAFTS, Look(flags="sd"))

    def chat(self) -> None:
        """Have a chat written down."""
        raw = write(self.letters.chat(self.number, date_s=self.now_ms // 1000))
        with self.change() as change:
            self._deliver(change, raw, SystemFolder.CHATS, Look(), ItemKind.CHAT)

    def circular(self) -> None:
        """Get a letter that others get too: it is stored once for all."""
        domain = self.account.name.partition("@")[2]
        letter = make_circular(self.seed, domain, self.number, date_s=self.now_ms // 1000)
        others = self.dice.some(self.accounts, self.dice.between(2, 4))
        sandbox, raw = self.sandbox, write(letter)
        path = sandbox.store_incoming(
            raw, [sandbox.mailbox(each) for each in others], now_ms=self.now_ms
        )
        for each in others:
            with sandbox.change(each, now_ms=self.now_ms) as change:
                arrivals.deliver(change, raw, folder=_INBOX, date=change.date, path=path)
            self.count()

    # Marks

    def read(self) -> object:
        """Read what is unread."""
        return self._with(
            "type IN (5, 16) AND unread = 1", lambda item: edits.flag(self, item, ["-unread"])
        )

    def mark(self) -> object:
        """Set and clear flags, one or two at once."""
        words = [
            f"{self.dice.pick('+-')}{word}"
            for word in self.dice.some([*edits.FLAG_WORDS], self.dice.between(1, 2))
        ]
        return self._with(_LEAVES, lambda item: edits.flag(self, item, words))

    def tag(self) -> object:
        """Put a tag on something."""
        name = self.dice.pick(self._words.tags)
        return self._with(_LEAVES, lambda item: self._do(edits.tag, item, name))

    def untag(self) -> object:
        """Take a tag off."""
        rows = self._rows("tag_names IS NOT NULL AND type <> 4")
        if not rows:
            return False
        row = self.dice.pick(rows)
        return self._do(edits.untag, row["id"], row["tag_names"].split("\0")[1])

    def edit_tag(self) -> object:
        """Make, rename, colour or delete a tag."""
        found = self._tags()
        name, color = f"{self.dice.pick(self._words.tags)} {self.number}", self.dice.below(10)
        if not found or self.dice.chance(0.3):
            with self.change() as change:
                return tags.make_tag(change, name, color=color)
        tag = self.dice.pick(found)["id"]
        acts: list[Callable[[Change], int]] = [
            lambda change: tags.rename_tag(change, tag, name),
            lambda change: tags.color_tag(change, tag, color),
            lambda change: tags.delete_tag(change, tag),
        ]
        return self._do(self.dice.pick(acts))

    def colour(self) -> object:
        """Colour an item or a folder."""
        color = self.dice.below(10)
        return self._with("id > 255 AND type <> 4", lambda item: self._do(edits.color, item, color))

    def date(self) -> object:
        """Give an item another date."""
        seconds = self.now_ms // 1000 - self.dice.below(10_000_000)
        return self._with(_LEAVES, lambda item: self._do(edits.date, item, seconds))

    # Places

    def move(self) -> object:
        """Move an item or a folder."""
        folder = self._any_folder()
        where = _LEAVES if self.dice.chance(0.9) else "id > 255 AND type <> 4"
        return self._with(where, lambda item: self._do(edits.move, item, folder))

    def throw_away(self) -> object:
        """Move something to the Trash, or a letter to the Junk."""
        folder = _TRASH if self.dice.chance(0.8) else _JUNK
        return self._with("id > 255 AND type = 5", lambda item: self._do(edits.move, item, folder))

    def conversation(self) -> object:
        """Flag, move or delete a whole conversation."""
        on, folder = self.dice.chance(0.7), self.dice.pick((_TRASH, _INBOX))
        acts: list[Callable[[Change, int], int]] = [
            lambda change, item: conversations.flag_conversation(change, item, on=on),
            lambda change, item: conversations.move_conversation(change, item, folder),
            conversations.delete_conversation,
        ]
        return self._with("type = 4", lambda item: self._do(self.dice.pick(acts), item))

    def expunge(self) -> object:
        """Delete what IMAP has marked as deleted."""
        with self.change() as change:
            return removal.expunge(change)

    def copy(self) -> object:
        """Copy an item."""
        folder = self._any_folder()
        return self._with(_COPIED, lambda item: self._do(edits.copy, item, folder))

    def rename(self) -> object:
        """Rename a folder or document."""
        name = f"{self.dice.pick(self._words.things)} {self.number}"
        return self._with(_NAMED, lambda item: self._do(edits.rename, item, name))

    def delete(self) -> object:
        """Delete an item for good."""
        return self._with(_LEAVES, lambda item: removal.delete(self, item))

    def empty(self) -> int:
        """Empty the Trash or the Junk, seldom a folder."""
        chosen = self._any_folder() if self.dice.chance(0.1) else self.dice.pick((_TRASH, _JUNK))
        return removal.empty_folder(self, int(chosen))

    def folder(self) -> object:
        """Make a folder."""
        name = f"{self.dice.pick(self._words.things)} {self.number}"
        with self.change() as change:
            return arrivals.new_folder(change, self._any_folder(), name, view=ItemKind.MESSAGE)

    def path(self) -> object:
        """Make a folder with those above it."""
        names = [f"{self.dice.pick(self._words.things)} {self.number}.{depth}" for depth in (1, 2)]
        with self.change() as change:
            return arrivals.make_folder(change, "/".join(("", *names)))

    def remove_folder(self) -> object:
        """Delete a folder with all that is in it."""
        return self._with("id > 255 AND type = 1", lambda item: removal.delete(self, item))

    def search(self) -> object:
        """Make a search folder."""
        name, query = self.dice.pick(SEARCHES)
        with self.change() as change:
            return arrivals.make_search(change, f"{name} {self.number}", query)

    def share(self) -> object:
        """Grant another account rights on a folder; it may put the folder into its mailbox."""
        others = [each for each in self.accounts if each.name != self.account.name]
        if not others:
            return False
        other, folder = self.dice.pick(others), self._any_folder()
        with self.change() as change:
            edits.share(change, folder, other.entry_id, self.dice.pick(_RIGHTS))
            shared = change.row(folder)
        name = f"{shared['name']} {self.number}"
        with self.sandbox.change(other, now_ms=self.now_ms) as change:
            edits.mount(change, name, owner_id=self.account.entry_id, folder=shared)
        self.count()
        return True

    # Papers

    def contact(self) -> object:
        """Write down somebody, or a group."""
        card = make_group_card(self.dice) if self.dice.chance(0.1) else make_card(self.dice)
        return self._do(arrivals.add_contact, card)

    def correct(self) -> object:
        """Change a contact."""
        card = make_card(self.dice)
        return self._with("type = 6", lambda item: self._do(edits.modify_contact, item, card))

    def appointment(self) -> object:
        """Make an appointment."""
        owner = Person(first=self.account.first("cn"), last="", address=self.account.name)
        uid, near_s = f"{self.number}.{self.seed}", self.now_ms // 1000
        ics = make_appointment(self.dice, self._words, owner, uid=uid, near_s=near_s)
        return self._calendar_item(ics, ItemKind.APPOINTMENT)

    def task(self) -> object:
        """Make a task."""
        uid, near_s = f"{self.number}.{self.seed}", self.now_ms // 1000
        ics = make_task(self.dice, self._words, uid=uid, near_s=near_s)
        return self._calendar_item(ics, ItemKind.TASK)

    def save(self) -> object:
        """Save a document, a new one or a version of one of those there are."""
        file = any_file(self.dice)
        known = self._rows("type = 8")
        name, folder = f"{self.number} {file.name}", int(SystemFolder.BRIEFCASE)
        if known and self.dice.chance(0.5):
            row = self.dice.pick(known)
            name, folder = row["name"], row["folder_id"]
        with self.change() as change:
            return arrivals.save_document(
                change,
                file.content,
                content_type=file.content_type,
                creator=self.account.name,
                name=name,
                folder=folder,
            )

    def note(self) -> object:
        """Write a note."""
        text = f"{self.dice.pick(self._words.notes)} {self.number}"
        with self.change() as change:
            return arrivals.add_note(change, text, folder=self._any_folder())

    def comment(self) -> object:
        """Comment on a document."""
        text = fill(self.dice, self._words, self.dice.pick(self._words.sentences))
        return self._with(
            "type = 8",
            lambda item: self._do(
                arrivals.add_comment, text, document=item, creator_id=self.account.entry_id
            ),
        )

    # How

    @property
    def _words(self) -> Any:
        return LANGUAGES[self.mailbox.mailbox_id % len(LANGUAGES)]

    def _do(self, step: Callable[..., object], *arguments: Any, **options: Any) -> object:
        with self.change() as change:
            step(change, *arguments, **options)
        return True

    def _with(self, where: str, act: Callable[[int], object]) -> object:
        rows = self._rows(where)
        return act(self.dice.pick(rows)["id"]) if rows else False

    def _deliver(
        self,
        change: Change,
        raw: bytes,
        folder: int,
        look: Look,
        kind: ItemKind = ItemKind.MESSAGE,
    ) -> None:
        arrivals.deliver(change, raw, folder=folder, date=change.date, look=look, kind=kind)

    def _calendar_item(self, ics: bytes, kind: ItemKind) -> object:
        address = self.account.name
        return self._do(arrivals.add_calendar_item, ics, address=address, kind=kind)

    def _any_folder(self) -> int:
        usual = (_INBOX, _INBOX, _TRASH, SystemFolder.SENT)
        own = [row["id"] for row in self._rows(f"type = 1 AND id >= {FIRST_USER_ID}")]
        return int(self.dice.pick((*usual, *own)))

    def _rows(self, where: str) -> list[Mapping[str, Any]]:
        return self._select("mail_item", where)

    def _tags(self) -> list[Mapping[str, Any]]:
        return self._select("tag", "id > 0")

    def _select(self, name: str, where: str) -> list[Mapping[str, Any]]:
        database = self.sandbox.database
        table = database.table(f"mboxgroup{self.mailbox.group_id}", name)
        query = (
            f"SELECT {_COLUMNS[name]} FROM {table} WHERE mailbox_id = ? AND ({where}) ORDER BY id"
        )
        return list(database.rows(query, self.mailbox.mailbox_id))
