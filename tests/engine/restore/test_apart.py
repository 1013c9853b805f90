"""Another UID for a calendar item: everywhere it stands, however its blob is encoded."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from email.message import EmailMessage

import pytest

from backupng.engine.mailserver.zimbra.metadata import decode_column, encode_column
from backupng.engine.model import Digest, ItemId, ItemKind, ItemState, from_ms
from backupng.engine.restore.apart import apart, renamed

OLD = "040000008200E00074C5B7101A82E00800000000-a-long-uid-that-is-folded@example.com"
EVENT = (
    f"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:{OLD[:60]}\r\n {OLD[60:]}\r\nSUMMARY:Käse\r\n"
    "BEGIN:VALARM\r\nUID:of-the-alarm\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
STATE = ItemState(
    item_id=ItemId(300),
    kind=ItemKind.APPOINTMENT,
    mod=7,
    start=from_ms(0),
    digest=Digest("old"),
    size=1,
    row={"metadata": encode_column({"u": OLD, "nc": 1, "inv0": {"u": OLD, "n": "Lunch"}})},
    side_rows={"appointment": ({"uid": OLD, "start_time": None},)},
)


def blob(encoding: str) -> bytes:
    message = EmailMessage()
    message.set_content("The text names " + OLD)
    message.add_alternative(EVENT.encode(), "text", "calendar", cte=encoding)
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def parts(data: bytes) -> list[EmailMessage]:
    whole = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(whole, EmailMessage)
    return [part for part in whole.iter_parts() if isinstance(part, EmailMessage)]


@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
def test_a_new_uid_stands_in_row_metadata_and_blob_and_nothing_else_changes(encoding: str) -> None:
    found, data = apart(STATE, lambda _digest: blob(encoding))

    new = found.side_rows["appointment"][0]["uid"]
    values = decode_column(found.row["metadata"])
    assert new != OLD
    assert (values["u"], values["inv0"]) == (new, {"u": new, "n": "Lunch"})
    assert data is not None
    before, after = parts(blob(encoding)), parts(data)
    assert after[0].as_bytes() == before[0].as_bytes()
    said = after[1].get_payload(decode=True)
    assert isinstance(said, bytes)
    assert said.decode().rstrip() == EVENT.replace(f"{OLD[:60]}\r\n {OLD[60:]}", new).rstrip()
    assert (found.size, found.row["size"]) == (len(data), len(data))
    assert found.digest == found.row["blob_digest"] != STATE.digest


def test_the_same_state_gets_the_same_uid_each_time_and_one_that_has_it_another() -> None:
    first, _ = apart(STATE, lambda _digest: blob("8bit"))
    again, _ = apart(STATE, lambda _digest: blob("8bit"))
    next_one, _ = apart(first, lambda _digest: blob("8bit"))

    uids = [each.side_rows["appointment"][0]["uid"] for each in (first, again, next_one)]
    assert uids[0] == uids[1] != uids[2]


@pytest.mark.parametrize(
    ("kind", "name", "names"),
    [
        (ItemKind.DOCUMENT, "plan.txt", ["plan (2).txt", "plan (3).txt"]),
        (ItemKind.DOCUMENT, ".profile", [".profile (2)", ".profile (3)"]),
        (ItemKind.DOCUMENT, "notes", ["notes (2)", "notes (3)"]),
        (ItemKind.SEARCH, "to v1.2", ["to v1.2 (2)", "to v1.2 (3)"]),
    ],
)
def test_the_next_name_keeps_the_ending_of_a_document(
    kind: ItemKind, name: str, names: list[str]
) -> None:
    state = replace(STATE, kind=kind, name=name)

    second = renamed(state)

    assert [second.name, renamed(second).name] == names
    assert second.row["name"] == second.row["subject"] == second.subject == names[0]
