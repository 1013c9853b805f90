"""Who writes what to whom in the seeded content: letters, answers to them, circulars, chats."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from backupng.engine.mailserver.sandbox.content.agenda import fill
from backupng.engine.mailserver.sandbox.content.dice import Dice
from backupng.engine.mailserver.sandbox.content.files import (
    SHARED_FILES,
    File,
    any_file,
    picture,
    shared_file,
)
from backupng.engine.mailserver.sandbox.content.mail import Letter
from backupng.engine.mailserver.sandbox.content.people import Person, any_person
from backupng.engine.mailserver.sandbox.content.words import (
    LANGUAGES,
    RARE_SENTENCES,
    RARE_SUBJECTS,
    Language,
)

_REMEMBERED = 40
_LONGEST_LETTER = 900
"""Sentences."""
_QUOTED_LINES = 6
_LOGO_BYTES = 2500
_ENCODINGS = ("8bit", "8bit", "quoted-printable", "base64")
_EXTRA_HEADERS = (
    ("X-Priority: 1 (Highest)", "Importance: High"),
    ("X-Priority: 5 (Lowest)",),
    ("List-Id: <office.example.com>", "Precedence: list"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A letter, and whether the owner of the mailbox wrote it."""

    letter: Letter
    is_own: bool


class Correspondence:
    """The letters of one mailbox in the order of their dates."""

    def __init__(self, dice: Dice, language: Language, owner: Person, *, seed: int) -> None:
        self._dice = dice
        self._language = language
        self._owner = owner
        self._seed = seed
        self._domain = owner.address.partition("@")[2]
        self._known: deque[Exchange] = deque(maxlen=_REMEMBERED)

    def next(self, number: int, *, date_s: int) -> Exchange:
        """Write the next letter: an answer to one of the last ones, or a new one."""
        dice = self._dice
        message_id = f"{date_s:x}.{number}.{self._owner.address}"
        if self._known and dice.chance(0.35):
            exchange = self._answer(dice.pick(self._known), message_id, date_s)
        else:
            exchange = self._new(message_id, date_s)
        self._known.append(exchange)
        return replace(exchange, letter=self._dressed(exchange.letter))

    def chat(self, number: int, *, date_s: int) -> Letter:
        """Write down a chat."""
        partner = any_person(self._dice)
        lines = [self._dice.pick(self._language.chats) for _ in range(self._dice.between(1, 8))]
        names = (partner.first, self._owner.first)
        spoken = (f"{names[turn % 2]}: {line}" for turn, line in enumerate(lines))
        return Letter(
            sender=partner,
            to=(self._owner,),
            subject=f"Chat {number}",
            date_s=date_s,
            message_id=f"chat.{date_s:x}.{number}.{self._owner.address}",
            text="\n".join(spoken),
        )

    def _new(self, message_id: str, date_s: int) -> Exchange:
        dice, is_own = self._dice, self._dice.chance(0.15)
        partners = tuple(any_person(dice) for _ in range(1 + dice.below(3) * dice.below(2)))
        language = dice.pick(LANGUAGES) if dice.chance(0.25) else self._language
        words = RARE_SUBJECTS if dice.chance(0.12) else language.subjects
        letter = Letter(
            sender=self._owner if is_own else partners[0],
            to=partners if is_own else (self._owner, *partners[1:]),
            subject=fill(dice, language, dice.pick(words)),
            date_s=date_s,
            message_id=message_id,
            text=letter_text(dice, language, partners[0] if is_own else self._owner),
        )
        return Exchange(letter=letter, is_own=is_own)

    def _answer(self, known: Exchange, message_id: str, date_s: int) -> Exchange:
        """Answer a letter: its owner's by the first receiver, anybody else's by the owner."""
        before, language = known.letter, self._language
        sender = before.to[0] if known.is_own else self._owner
        quoted = before.text.split("\n")[:_QUOTED_LINES]
        day = datetime.fromtimestamp(before.date_s, UTC)
        lines = [
            letter_text(self._dice, language, before.sender, usual=2),
            language.wrote.format(date=f"{day:%d.%m.%Y}", name=before.sender.name),
            *(f"> {line}" for line in quoted),
        ]
        bare = before.subject.startswith(("R: ", "Re: ", "AW: "))
        letter = Letter(
            sender=sender,
            to=(before.sender,),
            subject=before.subject if bare else language.reply + before.subject,
            date_s=date_s,
            message_id=message_id,
            references=(*before.references, before.message_id)[-10:],
            text="\n".join(lines),
        )
        return Exchange(letter=letter, is_own=not known.is_own)

    def _dressed(self, letter: Letter) -> Letter:
        """Choose how a letter is written down, and what goes with it."""
        dice = self._dice
        charset = dice.pick(("iso-8859-1", "windows-1252")) if dice.chance(0.08) else "utf-8"
        return replace(
            letter,
            charset=charset,
            encoding=dice.pick(_ENCODINGS),
            rich=dice.chance(0.3),
            inline=self._logo() if dice.chance(0.1) else None,
            files=self._files() if dice.chance(0.18) else (),
            headers=dice.pick(_EXTRA_HEADERS) if dice.chance(0.1) else (),
        )

    def _files(self) -> tuple[File, ...]:
        dice = self._dice
        if dice.chance(0.4):
            return (shared_file(self._seed, self._domain, dice.below(SHARED_FILES)),)
        return tuple(any_file(dice) for _ in range(1 + dice.below(2) * dice.below(2)))

    def _logo(self) -> File:
        logo = picture(Dice(self._seed, self._domain, "logo"), _LOGO_BYTES)
        return File(name="logo.png", content_type="image/png", content=logo)


def make_circular(seed: int, domain: str, number: int, *, date_s: int) -> Letter:
    """Write a circular: everybody in the domain gets the same bytes."""
    dice = Dice(seed, domain, "circular", number)
    language = dice.pick(LANGUAGES)
    everybody = Person(first="Tutti", last="Alle", address=f"tutti@{domain}")
    office = Person(first="Direzione", last="Büro", address=f"direzione@{domain}")
    with_file = number % 3 == 1
    return Letter(
        sender=office,
        to=(everybody,),
        subject=f"Circolare {number}: " + fill(dice, language, dice.pick(language.subjects)),
        date_s=date_s,
        message_id=f"circular.{number}.{seed}@{domain}",
        text=letter_text(dice, language, everybody, usual=8),
        rich=True,
        files=(shared_file(seed, domain, number),) if with_file else (),
    )


def letter_text(dice: Dice, language: Language, reader: Person, *, usual: int = 4) -> str:
    """Write the words of a letter: a line now and then, mostly a page, seldom many."""
    if dice.chance(0.08):
        return dice.pick(language.closings)
    sentences = [
        fill(dice, language, dice.pick(language.sentences))
        for _ in range(dice.long_tail(usual, _LONGEST_LETTER))
    ]
    if dice.chance(0.1):
        sentences.append(dice.pick(RARE_SENTENCES))
    paragraphs = [" ".join(sentences[start : start + 5]) for start in range(0, len(sentences), 5)]
    greeting = dice.pick(language.greetings).format(name=reader.first)
    return "\n\n".join([greeting, *paragraphs, dice.pick(language.closings)])
