"""The people of the seeded content: invented names at example domains, and their cards."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from backupng.engine.mailserver.sandbox.content.dice import Dice
from backupng.engine.mailserver.sandbox.content.files import picture
from backupng.engine.mailserver.sandbox.content.words import (
    COMPANIES,
    DOMAINS,
    FIRST_NAMES,
    LAST_NAMES,
)

_FOLD_BYTES = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with a name and an address."""

    first: str
    last: str
    address: str

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"


def any_person(dice: Dice) -> Person:
    """Invent a person."""
    first, last = dice.below(len(FIRST_NAMES)), dice.below(len(LAST_NAMES))
    address = f"person{first}.{last}@{dice.pick(DOMAINS)}"
    return Person(first=FIRST_NAMES[first], last=LAST_NAMES[last], address=address)


def account_owner(seed: int, domain: str, number: int) -> Person:
    """Return whose mailbox `a<number>` is; other accounts know the same person."""
    dice = Dice(seed, domain, "owner", number)
    first, last = dice.pick(FIRST_NAMES), dice.pick(LAST_NAMES)
    return Person(first=first, last=last, address=f"a{number}@{domain}")


def make_card(dice: Dice) -> bytes:
    """Make the card of a person; some have a picture, some only an address."""
    person = any_person(dice)
    if dice.chance(0.1):
        return _card(f"EMAIL;TYPE=INTERNET:{person.address}")
    street = f"{escape(dice.pick(LAST_NAMES))}straße {dice.between(1, 99)}\\, 2. Stock"
    lines = [
        f"FN:{escape(person.name)}",
        f"N:{escape(person.last)};{escape(person.first)};;;",
        f"EMAIL;TYPE=INTERNET,WORK:{person.address}",
        f"TEL;TYPE=CELL:+39 000 {dice.between(100000, 999999)}",
        f"TEL;TYPE=WORK,VOICE:+49 000 {dice.between(100000, 999999)}",
        f"ORG:{escape(dice.pick(COMPANIES))};Abteilung {dice.between(1, 9)}",
        f"ADR;TYPE=HOME:;;{street};Città di Prova;;{dice.between(10000, 99999)};Italia",
    ]
    if dice.chance(0.4):
        lines.append(f"EMAIL;TYPE=INTERNET,HOME:privat.{person.address}")
        lines.append(f"BDAY:19{dice.between(50, 99)}-0{dice.between(1, 9)}-1{dice.between(0, 9)}")
    if dice.chance(0.4):
        lines.append("NOTE:prima riga\\nseconda riga è\\, più lunga\\; 😀")
    if dice.chance(0.15):
        photo = base64.b64encode(picture(dice, dice.between(600, 9000))).decode("ascii")
        lines.append(f"PHOTO;ENCODING=b;TYPE=PNG:{photo}")
    return _card(*lines)


def make_group_card(dice: Dice) -> bytes:
    """Make the card of a group of people."""
    members = (any_person(dice) for _ in range(dice.between(2, 6)))
    name = f"Gruppo è {dice.between(1, 999)}"
    return _card(
        f"FN:{escape(name)}", "KIND:group", *(f"MEMBER:mailto:{each.address}" for each in members)
    )


def _card(*lines: str) -> bytes:
    return join_lines(["BEGIN:VCARD", "VERSION:3.0", *lines, "END:VCARD"])


def escape(text: str) -> str:
    """Escape text for a card or a calendar file."""
    text = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return text.replace("\n", "\\n")


def join_lines(lines: list[str]) -> bytes:
    """Join the lines of a card or calendar file, folded to 75 bytes between characters."""
    return "".join(f"{_fold(line)}\r\n" for line in lines).encode()


def _fold(line: str) -> str:
    if len(line.encode()) <= _FOLD_BYTES:
        return line
    rows, row, size = [], "", 0
    for character in line:
        width = len(character.encode())
        if size + width > _FOLD_BYTES:
            rows.append(row)
            row, size = " ", 1
        row += character
        size += width
    return "\r\n".join([*rows, row])
