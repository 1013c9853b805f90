"""export-item: one item out of the backup, as the file that its type has."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from icalendar import Calendar

from backupng.engine.errors import BackupError, LostBlob
from backupng.engine.mailserver.zimbra.parsing.contacts import Photo, read_vcard
from backupng.engine.mailserver.zimbra.spelling.vcard import spell_vcard
from backupng.engine.model import ItemKind
from backupng.engine.operations.export_item import ExportItem
from backupng.engine.operations.words import AccountNameOrId, Moment
from tests.cast import ALICE, NOON, Office, message, office
from tests.engine.mailserver.calendars import EXCEPTION, SERIES, TASK, calendar, event

PICTURE = Photo(name="image.png", content_type="image/png", content=b"\x89PNG\r\n\x1a\n" * 40)
ZOE = {"firstName": "Zoe", "lastName": "Neil", "email": "z@example.com"}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Office, dict[str, int]]]:
    with office(tmp_path_factory.mktemp("exported")) as made:
        client = made.client
        items: dict[str, int] = {
            "letter": client.deliver(ALICE, message("Offer"), folder="/Inbox"),
            "gone": client.deliver(ALICE, message("Gone"), folder="/Inbox"),
            "zoe": client.add_contact(ALICE, spell_vcard(ZOE, photo=PICTURE)),
            "bare": client.add_contact(ALICE, spell_vcard(ZOE)),
            "series": client.add_calendar_item(
                ALICE, calendar(SERIES, EXCEPTION), kind=ItemKind.APPOINTMENT
            ),
            "long": client.add_calendar_item(
                ALICE, event(f"DESCRIPTION:{'lang ' * 2000}end"), kind=ItemKind.APPOINTMENT
            ),
            "task": client.add_calendar_item(ALICE, calendar(TASK), kind=ItemKind.TASK),
            "document": client.save_document(ALICE, b"\x00\xff raw", name="plan.bin"),
            "folder": client.create_folder(ALICE, "/Work"),
        }
        made.scan()
        made.later(hours=1)
        client.delete(ALICE, items["gone"])
        client.tag(ALICE, items["zoe"], "Friends, old")
        made.scan()
        yield made, items


def export(played: tuple[Office, dict[str, int]], item: str, **wanted: Any) -> tuple[str, bytes]:
    """Return format and bytes of an item of that name."""
    mail, items = played
    lookup = ExportItem(account=AccountNameOrId(ALICE), id=items.get(item, 99_999), **wanted)
    response = lookup.answer(mail)
    content = base64.b64decode(response["content_base64"])
    assert response["size"] == len(content)
    return response["format"], content


@pytest.mark.parametrize(("item", "subject"), [("letter", "Offer"), ("gone", "Gone")])
def test_a_message_is_its_own_bytes_even_if_it_was_deleted(
    played: tuple[Office, dict[str, int]], item: str, subject: str
) -> None:
    assert export(played, item) == ("eml", message(subject))
    assert export(played, item, format="RAW") == ("raw", message(subject))


def test_a_document_is_its_own_bytes(played: tuple[Office, dict[str, int]]) -> None:
    assert export(played, "document") == ("raw", b"\x00\xff raw")


def test_a_contact_is_a_card_with_picture_and_tags(
    played: tuple[Office, dict[str, int]],
) -> None:
    form, raw = export(played, "zoe")

    card = read_vcard(raw)
    assert form == "vcf"
    assert {key: card.fields.get(key) for key in ZOE} == ZOE
    assert card.photo is not None
    assert card.photo.content == PICTURE.content
    assert b"\r\nCATEGORIES:Friends\\, old\r\n" in raw


def test_a_contact_is_as_it_was_at_the_date(played: tuple[Office, dict[str, int]]) -> None:
    _, raw = export(played, "zoe", date=Moment(at=NOON.replace(minute=30)))

    assert b"CATEGORIES" not in raw


def test_an_appointment_is_a_calendar_with_its_exceptions(
    played: tuple[Office, dict[str, int]],
) -> None:
    form, raw = export(played, "series")

    events = Calendar.from_ical(raw).walk("VEVENT")
    assert form == "ics"
    assert [str(each["SUMMARY"]) for each in events] == ["Serie", "Serie (eccezione)"]
    assert ["RECURRENCE-ID" in each for each in events] == [False, True]


def test_a_description_that_only_the_blob_holds_is_in_the_calendar(
    played: tuple[Office, dict[str, int]],
) -> None:
    (found,) = Calendar.from_ical(export(played, "long")[1]).walk("VEVENT")

    assert str(found["DESCRIPTION"]).endswith("lang end")


def test_a_task_is_a_calendar(played: tuple[Office, dict[str, int]]) -> None:
    (found,) = Calendar.from_ical(export(played, "task")[1]).walk("VTODO")

    assert str(found["SUMMARY"]) == "Comprare latte"


@pytest.mark.parametrize(
    ("item", "wanted", "code", "hint"),
    [
        ("nothing", {}, "no_such_item", "doItemSearch"),
        ("folder", {}, "no_such_item", "getItem"),
        ("bare", {"format": "raw"}, "no_such_item", "format vcf"),
        ("letter", {"format": "ics"}, "bad_value", "eml or raw"),
        ("folder", {"format": "vcf"}, "bad_value", "Expected: raw."),
        ("letter", {"format": "pdf"}, "bad_value", "eml, ics, vcf, raw"),
        ("letter", {"date": Moment(at=NOON.replace(year=2025))}, "before_first_backup", ""),
        ("letter", {"date": Moment(keyword="all")}, "bad_value", "last"),
    ],
)
def test_what_an_item_does_not_have_is_refused(
    played: tuple[Office, dict[str, int]],
    item: str,
    wanted: dict[str, Any],
    code: str,
    hint: str,
) -> None:
    with pytest.raises(BackupError) as refused:
        export(played, item, **wanted)

    assert refused.value.code == code
    assert hint in refused.value.hint


def test_the_file_that_is_named_gets_what_would_be_printed(
    played: tuple[Office, dict[str, int]],
) -> None:
    mail, items = played
    lookup = ExportItem(account=AccountNameOrId(ALICE), id=items["letter"], to="a.eml")

    response = lookup.answer(mail)
    document = lookup.document(response)

    assert document is not None
    assert (document.file, document.content) == (Path("a.eml"), message("Offer"))
    assert replace(lookup, to="-").document(response) is None


def test_a_message_whose_blob_is_gone_is_no_file(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Inbox")
    mail.scan()
    (blob,) = mail.backup_path.glob("items/*/*")
    blob.unlink()

    with pytest.raises(LostBlob, match="missing"):
        ExportItem(account=AccountNameOrId(ALICE), id=item).answer(mail)
