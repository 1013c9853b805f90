"""vCards: from a card of version 2.1, 3.0 or 4.0 to the fields of a contact.

Lines are unfolded here: the library that reads calendars refuses the bare parameters
(`TEL;CELL:`) and the quoted-printable values of version 2.1, which address books still write.
Field names are those of Zimbra/zm-mailbox
`common/src/java/com/zimbra/common/mailbox/ContactConstants.java`.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.zimbra.metadata import Value
from backupng.engine.mailserver.zimbra.parsing import utf16
from backupng.engine.mailserver.zimbra.parsing.headers import decode_base64, decode_bytes

MAX_VCARD_BYTES = 16 * 1024 * 1024
_MAX_FIELDS = 1000
_MAX_SAME = 50
"""Values of one kind, such as telephone numbers, that one contact keeps."""
_FILE_AS_UNITS = 128
"""Length of the column `sender`, which holds the name that contacts are sorted by."""

_NAME = ("lastName", "firstName", "middleName", "namePrefix", "nameSuffix")
_COMPANY = ("company", "department")
_ADDRESS = ("Street", "Street", "Street", "City", "State", "PostalCode", "Country")
_PHONES = (
    ("CAR", "car", "Phone"),
    ("CELL", "mobile", "Phone"),
    ("PAGER", "pager", ""),
)
_SIMPLE = {
    "BDAY": "birthday",
    "EMAIL": "email",
    "FN": "fullName",
    "NICKNAME": "nickname",
    "NOTE": "notes",
    "TITLE": "jobTitle",
    "X-ZIMBRA-ANNIVERSARY": "anniversary",
    "X-ZIMBRA-MAIDENNAME": "maidenName",
}
_KIND = frozenset({"KIND", "X-ADDRESSBOOKSERVER-KIND"})
_MEMBER = frozenset({"MEMBER", "X-ADDRESSBOOKSERVER-MEMBER"})
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SEMICOLON = re.compile(r"((?:[^;\\]|\\.)*)(?:;|\Z)", re.DOTALL)
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A picture that belongs to a contact; its field is `image`."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactFacts:
    """What a card says: fields as the metadata keeps them, the column `sender`, a picture."""

    fields: dict[str, str]
    file_as: str | None
    photo: Photo | None

    @property
    def attachments(self) -> tuple[dict[str, Value], ...]:
        """The list `att` of the metadata; empty without a picture."""
        if self.photo is None:
            return ()
        named: dict[str, Value] = {"name": self.photo.name, "ctype": self.photo.content_type}
        return (named | {"part": "1", "field": "image", "size": len(self.photo.content)},)

    @property
    def blob(self) -> bytes:
        """The blob that holds the picture, the same bytes for the same picture; empty without."""
        if self.photo is None:
            return b""
        boundary = f"=_{hashlib.sha256(self.photo.content).hexdigest()[:32]}"
        head = (
            "MIME-Version: 1.0",
            f'Content-Type: multipart/mixed; boundary="{boundary}"',
            "",
            f"--{boundary}",
            f"Content-Type: {self.photo.content_type}",
            f"Content-Disposition: attachment; filename={self.photo.name}; field=image",
            "Content-Transfer-Encoding: 8bit",
            "",
            "",
        )
        tail = f"\r\n--{boundary}--\r\n"
        return "\r\n".join(head).encode() + self.photo.content + tail.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One property of a card; `types` are its kinds (HOME, CELL, …) in upper case."""

    name: str
    types: frozenset[str]
    parameters: dict[str, str]
    raw: str

    @property
    def is_base64(self) -> bool:
        return self.parameters.get("ENCODING", "").upper() in ("B", "BASE64")

    @property
    def value(self) -> str:
        """The value with quoted-printable undone, escapes still in."""
        if self.parameters.get("ENCODING", "").upper() != "QUOTED-PRINTABLE":
            return self.raw
        content = binascii.a2b_qp(self.raw.encode("utf-8", "replace"))
        return decode_bytes(content, charset=self.parameters.get("CHARSET", ""))

    @property
    def text(self) -> str:
        """The value as people read it."""
        return _unescape(self.value).strip()


def read_vcard(raw: bytes) -> ContactFacts:
    """Read exactly one card. Raises InvalidItem for anything else."""
    lines = list(_card(raw))
    fields: dict[str, str] = {}
    photo = None
    for line in lines:
        if line.name == "PHOTO" and line.types.isdisjoint({"URI"}):
            photo = _photo(line) or photo
        else:
            _add(fields, line)
    if any(line.name in _KIND and line.text.lower() == "group" for line in lines):
        _make_group(fields, lines)
    else:
        _set_file_as(fields)
    if not fields and photo is None:
        raise InvalidItem("The card names nobody.")
    return ContactFacts(fields=fields, file_as=file_as(fields) or None, photo=photo)


def file_as(fields: dict[str, str]) -> str:
    """Return the column by which contacts are sorted: `Last, First`, or what `fileAs` asks for."""
    code, _, explicit = fields.get("fileAs", "1").partition(":")
    first, last = fields.get("firstName", ""), fields.get("lastName", "")
    company = fields.get("company", "")
    by_last = ", ".join(filter(None, (last, first)))
    by_first = " ".join(filter(None, (first, last)))
    texts = {
        "2": by_first,
        "3": company,
        "4": _with(by_last, company),
        "5": _with(by_first, company),
        "6": _with(company, by_last),
        "7": _with(company, by_first),
        "8": explicit,
    }
    return utf16.column(texts.get(code, by_last).strip(), _FILE_AS_UNITS)


def _with(text: str, addition: str) -> str:
    return f"{text} ({addition})" if addition else text


def _card(raw: bytes) -> Iterator[_Line]:
    """Yield the properties of the only card. Raises InvalidItem if there is not exactly one."""
    if len(raw) > MAX_VCARD_BYTES:
        raise InvalidItem(f"The card has more than {MAX_VCARD_BYTES // 1024**2} MiB.")
    depth = cards = 0
    for line in _lines(decode_bytes(raw)):
        if line.name == "BEGIN" and line.text.upper() == "VCARD":
            depth += 1
            cards += depth == 1
        elif line.name == "END" and line.text.upper() == "VCARD":
            depth -= 1
        elif depth == 1:
            yield line
        if depth < 0 or cards > 1:
            raise InvalidItem("The file holds more than one card.")
    if cards == 0 or depth:
        raise InvalidItem("The file is no card.")


def _lines(text: str) -> Iterator[_Line]:
    """Yield the properties, unfolded; lines that are none are passed over."""
    pending: list[str] = []
    for row in (*_LINE_END.split(text.removeprefix("\ufeff")), ""):
        if row[:1] in (" ", "\t"):
            pending.append(row[1:])
            continue
        soft = bool(pending) and pending[-1].endswith("=") and _is_quoted_printable(pending[0])
        if soft and row:
            pending[-1] = pending[-1][:-1]
            pending.append(row)
            continue
        line = _line("".join(pending))
        if line:
            yield line
        pending = [row] if row else []


def _is_quoted_printable(row: str) -> bool:
    return "QUOTED-PRINTABLE" in row.partition(":")[0].upper()


def _line(row: str) -> _Line | None:
    head, colon, value = _split_value(row)
    words = [word.strip() for word in head.split(";")]
    name = words[0].rpartition(".")[2].upper()
    if not colon or not name:
        return None
    types: set[str] = set()
    parameters: dict[str, str] = {}
    for word in words[1:]:
        key, equals, text = word.partition("=")
        key = key.strip().upper()
        if equals and key != "TYPE":
            parameters[key] = text.strip('"')
        elif key in ("BASE64", "QUOTED-PRINTABLE"):
            parameters["ENCODING"] = key
        else:
            types.update((text if equals else key).strip('"').upper().split(","))
    return _Line(name=name, types=frozenset(types), parameters=parameters, raw=value)


def _split_value(row: str) -> tuple[str, str, str]:
    """Split at the first colon that is not inside quotes."""
    position = row.find(":")
    while position >= 0 and row.count('"', 0, position) % 2 and '"' in row[position:]:
        position = row.find(":", row.index('"', position))
    return (row, "", "") if position < 0 else (row[:position], ":", row[position + 1 :])


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: {"n": "\n", "N": "\n"}.get(match[1], match[1]), text)


def _photo(line: _Line) -> Photo | None:
    kind, data, content = line.raw.partition(";base64,")
    if not data and not line.is_base64:
        return None
    named = kind.removeprefix("data:image/") if data else next(iter(sorted(line.types)), "")
    subtype = "".join(filter(str.isalnum, named.lower()))[:20] or "jpeg"
    return Photo(
        name=f"image.{subtype}",
        content_type=f"image/{subtype}",
        content=decode_base64((content or line.raw).encode("utf-8", "replace")),
    )


def _add(fields: dict[str, str], line: _Line) -> None:
    """Add a property to the fields; what has no field of its own is left out."""
    structured = {"N": _NAME, "ORG": _COMPANY}
    if len(fields) >= _MAX_FIELDS:
        return
    if line.name in _SIMPLE:
        _put(fields, _SIMPLE[line.name], line.text)
    elif line.name in structured:
        _put_parts(fields, structured[line.name], line)
    elif line.name == "ADR":
        place = _place(line)
        _put_parts(fields, tuple(f"{place}{name}" for name in _ADDRESS), line)
    elif line.name == "TEL":
        for name in _phone_fields(line):
            _put(fields, name, line.text.removeprefix("tel:"))
    elif line.name == "URL":
        _put(fields, f"{_place(line)}URL", line.text)


def _place(line: _Line) -> str:
    return next((word.lower() for word in ("HOME", "WORK") if word in line.types), "other")


def _phone_fields(line: _Line) -> Iterator[str]:
    for word, place, ending in _PHONES:
        if word in line.types:
            yield f"{place}{ending}"
            return
    if "FAX" in line.types:
        yield f"{_place(line)}Fax"
    if "FAX" not in line.types or "VOICE" in line.types:
        yield f"{_place(line)}Phone"


def _put(fields: dict[str, str], name: str, text: str) -> None:
    """Put a value under a name, or under the next free one: email, email2, email3…"""
    names = (name, *(f"{name}{number}" for number in range(2, _MAX_SAME)))
    free = next((name for name in names if name not in fields), None)
    if free and text:
        fields[free] = utf16.clean(text)


def _put_parts(fields: dict[str, str], names: tuple[str, ...], line: _Line) -> None:
    """Put the parts of one structured value, all with the same number; equal names are joined."""
    suffixes = ("", *map(str, range(2, _MAX_SAME)))
    taken = {suffix for suffix in suffixes for name in names if f"{name}{suffix}" in fields}
    suffix = next((suffix for suffix in suffixes if suffix not in taken), None)
    parts = [_unescape(part).strip() for part in _SEMICOLON.findall(line.value)]
    for name, part in zip(names, parts, strict=False):
        key = f"{name}{suffix}"
        if part and suffix is not None:
            fields[key] = f"{fields[key]}, {part}" if key in fields else utf16.clean(part)


def _set_file_as(fields: dict[str, str]) -> None:
    """Ask for another sort name than `Last, First` only if the card is shown under another one."""
    full = fields.get("fullName", "")
    ordinary = {file_as(fields), file_as(fields | {"fileAs": "2"}), ""}
    if full not in ordinary:
        fields["fileAs"] = "3" if full == fields.get("company") else f"8:{full}"


def _make_group(fields: dict[str, str], lines: list[_Line]) -> None:
    """Turn the fields of a group's card into those of a contact group."""
    name = fields.pop("fullName", "") or file_as(fields)
    if not name:
        raise InvalidItem("The card of a group has no name.")
    members = [
        line.text.partition(":")[2]
        for line in lines
        if line.name in _MEMBER and line.text.lower().startswith("mailto:")
    ]
    for key in _NAME:
        fields.pop(key, None)
    fields |= {"fileAs": f"8:{name}", "nickname": name, "type": "group"}
    if members:
        fields["dlist"] = ", ".join(members)
