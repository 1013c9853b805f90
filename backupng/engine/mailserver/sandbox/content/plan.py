"""Seeded content of `sandbox createServer`: what happens in the mailboxes of an invented office.

A pure generator: the same arguments give the same steps on every machine, at any time. Each account
draws from a stream of its own, so it does not depend on how many others there are or on how far
anybody reads; steps are made one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from backupng.engine.mailserver.sandbox.content.agenda import make_appointment, make_task
from backupng.engine.mailserver.sandbox.content.correspondence import Correspondence, make_circular
from backupng.engine.mailserver.sandbox.content.dice import Dice
from backupng.engine.mailserver.sandbox.content.files import SHARED_FILES, any_file, shared_file
from backupng.engine.mailserver.sandbox.content.mail import write
from backupng.engine.mailserver.sandbox.content.people import (
    Person,
    account_owner,
    make_card,
    make_group_card,
)
from backupng.engine.mailserver.sandbox.content.words import (
    LANGUAGES,
    SEARCHES,
    SHARED_FOLDERS,
    SHARED_TAGS,
    Language,
)
from backupng.engine.model import ItemKind

END_S = 1_790_812_800
"""2026-10-01 00:00 UTC: nothing is younger, whenever the content is made."""
SPAN_S = 2 * 365 * 24 * 60 * 60

_SHARES = {
    ItemKind.DOCUMENT: 0.03,
    ItemKind.CONTACT: 0.08,
    ItemKind.APPOINTMENT: 0.05,
    ItemKind.TASK: 0.03,
    ItemKind.NOTE: 0.01,
    ItemKind.CHAT: 0.02,
    ItemKind.COMMENT: 0.01,
}
"""Share of each kind; the rest are messages. A comment needs a document before it."""
_ITEMS_PER_CIRCULAR = 40
_FLAGS = (("f", 0.08), ("r", 0.15), ("w", 0.04), ("(", 0.01), ("+", 0.01))


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeFolder:
    """Make a folder; `flags` are letters, `view` is what it shows, None for anything."""

    path: str
    color: int = 0
    view: ItemKind | None = ItemKind.MESSAGE
    flags: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeTag:
    name: str
    color: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """Deliver a message into a folder; `date_s` is its received date."""

    raw: bytes
    folder: str
    date_s: int
    unread: bool = False
    flags: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AddContact:
    vcard: bytes
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAppointment:
    ics: bytes
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddTask:
    ics: bytes
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveDocument:
    """Save a document; a name that is there already gets a new version."""

    name: str
    raw: bytes
    content_type: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNote:
    text: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddChat:
    raw: bytes
    date_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddComment:
    """Comment on a document that was saved before."""

    document_name: str
    folder: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeSearch:
    name: str
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeShare:
    """Let another account of the domain see a folder; `rights` are letters such as `rw`."""

    folder: str
    grantee: str
    rights: str


Step: TypeAlias = (
    MakeFolder
    | MakeTag
    | Deliver
    | AddContact
    | AddAppointment
    | AddTask
    | SaveDocument
    | AddNote
    | AddChat
    | AddComment
    | MakeSearch
    | MakeShare
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPlan:
    """One account and what happens in its mailbox."""

    seed: int
    domain: str
    number: int
    accounts: int
    items: int

    @property
    def address(self) -> str:
        return self.owner.address

    @property
    def display_name(self) -> str:
        return self.owner.name

    @property
    def owner(self) -> Person:
        """Whose mailbox it is."""
        return account_owner(self.seed, self.domain, self.number)

    def steps(self) -> Iterator[Step]:
        """Yield the steps in their order, the same at every call; without items there are none."""
        if self.items > 0:
            yield from _Office(self).steps()


def plan(seed: int, domain: str, accounts: int, items: int) -> Iterator[AccountPlan]:
    """Yield the plans of `accounts` accounts with `items` items each, folders and tags aside."""
    for number in range(1, accounts + 1):
        yield AccountPlan(seed=seed, domain=domain, number=number, accounts=accounts, items=items)


class _Office:
    """What happens in one mailbox."""

    def __init__(self, account: AccountPlan) -> None:
        self._account = account
        self._dice = Dice(account.seed, account.domain, account.number, account.items)
        self._language: Language = LANGUAGES[account.number % len(LANGUAGES)]
        self._letters = Correspondence(self._dice, self._language, account.owner, seed=account.seed)
        self._tags = (*self._language.tags, *SHARED_TAGS)
        shared = [path for path, view, _ in SHARED_FOLDERS if view in (ItemKind.MESSAGE, None)]
        self._mail_folders = (*self._language.folders, *shared)
        self._document: SaveDocument | None = None

    def steps(self) -> Iterator[Step]:
        yield from self._furniture()
        done = dict.fromkeys((ItemKind.MESSAGE, *_SHARES), 0)
        for number in range(self._account.items):
            kind = self._next_kind(done, number)
            done[kind] += 1
            yield from self._item(kind, number)

    def _furniture(self) -> Iterator[Step]:
        for number, path in enumerate(self._language.folders):
            yield MakeFolder(path=path, color=number % 8)
        for path, view, color in SHARED_FOLDERS:
            flags = "#" if view is ItemKind.APPOINTMENT else ""
            yield MakeFolder(path=path, color=color, view=view, flags=flags)
        for number, name in enumerate(self._tags):
            yield MakeTag(name=name, color=number % 10)
        for name, query in SEARCHES:
            yield MakeSearch(name=name, query=query)
        account = self._account
        if account.accounts > 1:
            neighbour = f"a{account.number % account.accounts + 1}@{account.domain}"
            yield MakeShare(folder=self._language.folders[0], grantee=neighbour, rights="r")
            yield MakeShare(folder="/Team", grantee=neighbour, rights="rwidx")

    def _next_kind(self, done: dict[ItemKind, int], number: int) -> ItemKind:
        """Return the kind that lags behind its share the most; so all kinds come all the time."""
        items = self._account.items
        wanted = {kind: max(1, int(items * share)) for kind, share in _SHARES.items()}
        wanted = {ItemKind.MESSAGE: max(0, items - sum(wanted.values())), **wanted}
        return max(wanted, key=lambda kind: wanted[kind] * (number + 1) / items - done[kind])

    def _item(self, kind: ItemKind, number: int) -> Iterator[Step]:
        dice, language, account = self._dice, self._language, self._account
        share = (number + dice.below(1000) / 1000) / account.items
        date_s = END_S - SPAN_S + int(SPAN_S * share)
        uid = f"{number}.{account.seed}.{account.address}"
        if kind is ItemKind.MESSAGE:
            yield self._message(number, date_s)
        elif kind is ItemKind.CONTACT:
            yield self._contact(number)
        elif kind is ItemKind.APPOINTMENT:
            ics = make_appointment(dice, language, account.owner, uid=uid, near_s=date_s)
            yield AddAppointment(ics=ics, folder=dice.pick(("/Calendar", "/Calendar", "/Team")))
        elif kind is ItemKind.TASK:
            ics = make_task(dice, language, uid=uid, near_s=date_s)
            yield AddTask(ics=ics, folder=dice.pick(("/Tasks", "/Tasks/Später")))
        elif kind is ItemKind.CHAT:
            chat = self._letters.chat(number, date_s=date_s)
            yield AddChat(raw=write(chat), date_s=date_s)
        else:
            yield from self._paper(kind, number)

    def _message(self, number: int, date_s: int) -> Deliver:
        dice = self._dice
        if number == 0 or dice.chance(0.03):
            return self._circular(date_s)
        exchange = self._letters.next(number, date_s=date_s)
        folder, unread = self._place()
        flags = "".join(letter for letter, share in _FLAGS if dice.chance(share))
        if exchange.is_own:
            is_draft = dice.chance(0.1)
            folder, flags, unread = ("/Drafts", "sd", False) if is_draft else ("/Sent", "s", False)
        tags = dice.some(self._tags, dice.between(1, 2)) if dice.chance(0.12) else ()
        return Deliver(
            raw=write(exchange.letter),
            folder=folder,
            date_s=date_s,
            unread=unread,
            flags=flags,
            tags=tuple(tags),
        )

    def _place(self) -> tuple[str, bool]:
        """Return where a letter that came in lies, and whether it is unread."""
        dice = self._dice
        folder = "/Inbox"
        if dice.chance(0.4):
            folder = dice.pick((*self._mail_folders, "/Junk", "/Trash"))
        return folder, dice.chance(0.3)

    def _circular(self, date_s: int) -> Deliver:
        account = self._account
        number = max(3, account.items // _ITEMS_PER_CIRCULAR)
        number = number * (date_s - END_S + SPAN_S) // SPAN_S
        sent_s = END_S - SPAN_S + number * 24 * 60 * 60
        letter = make_circular(account.seed, account.domain, number, date_s=sent_s)
        return Deliver(raw=write(letter), folder="/Inbox", date_s=sent_s, unread=False)

    def _contact(self, number: int) -> AddContact:
        dice = self._dice
        folder = dice.pick(("/Contacts", "/Contacts", "/Vereinskontakte", "/Emailed Contacts"))
        is_group = number > 10 and dice.chance(0.12)
        return AddContact(
            vcard=make_group_card(dice) if is_group else make_card(dice), folder=folder
        )

    def _paper(self, kind: ItemKind, number: int) -> Iterator[Step]:
        """Yield a note, a document, or a comment on the last one."""
        dice = self._dice
        if kind is ItemKind.COMMENT and self._document:
            text = f"{dice.pick(self._language.closings)} è ✓"
            last = self._document
            yield AddComment(document_name=last.name, folder=last.folder, text=text)
        elif kind is ItemKind.DOCUMENT:
            yield from self._save(number)
        else:
            yield AddNote(text=f"{dice.pick(self._language.notes)} ({number})", folder="/Notizen")

    def _save(self, number: int) -> Iterator[SaveDocument]:
        """Save a file that others have, too, or one of one's own, some of them twice."""
        dice, account = self._dice, self._account
        file = any_file(dice)
        if dice.chance(0.5):
            file = shared_file(account.seed, account.domain, dice.below(SHARED_FILES))
        stem, _, ending = file.name.rpartition(".")
        folder = dice.pick(("/Briefcase", "/Briefcase/Verträge", "/Briefcase/Verträge/2026 è"))
        self._document = SaveDocument(
            name=f"{stem} - {number}.{ending}",
            raw=file.content,
            content_type=file.content_type,
            folder=folder,
        )
        yield self._document
        if dice.chance(0.2):
            yield SaveDocument(
                name=self._document.name,
                raw=file.content + b"\n",
                content_type=file.content_type,
                folder=folder,
            )
