"""System accounts, told by their flags and by who names them."""

from __future__ import annotations

import pytest

from backupng.engine.mailserver.zimbra.systemaccounts import is_system_account, named_by
from backupng.engine.model import DirectoryEntry, EntryKind


def entry(kind: EntryKind = EntryKind.ACCOUNT, /, **attributes: str) -> DirectoryEntry:
    return DirectoryEntry(
        kind=kind,
        entry_id="A7300A00-56ec-46c3-9773-c6ef7c4f3636",
        name="Galsync.x1@example.com",
        dn="uid=x",
        attributes={name: (value.encode(),) for name, value in attributes.items()},
    )


@pytest.mark.parametrize(
    "flag",
    [
        *("zimbraIsSystemResource", "zimbraIsSystemAccount"),
        *("zimbraIsExternalVirtualAccount", "zimbraIsMobileGatewayProxyAccount"),
    ],
)
def test_a_flag_makes_a_system_account(flag: str) -> None:
    assert is_system_account(entry(**{flag: "TRUE"}), ())
    assert not is_system_account(entry(**{flag: "FALSE"}), ())


@pytest.mark.parametrize(
    ("kind", "attribute", "value"),
    [
        (EntryKind.CONFIG, "zimbraSpamIsSpamAccount", "galsync.X1@example.com"),
        (EntryKind.CONFIG, "zimbraSpamIsNotSpamAccount", "galsync.x1@example.com"),
        (EntryKind.CONFIG, "zimbraAmavisQuarantineAccount", "galsync.x1@example.com"),
        (EntryKind.DOMAIN, "zimbraGalAccountId", "a7300a00-56ec-46c3-9773-c6ef7c4f3636"),
        (EntryKind.DOMAIN, "zimbraNotebookAccount", "galsync.x1@example.com"),
        (EntryKind.ACCOUNT, "zimbraArchiveAccount", "galsync.x1@example.com"),
        (EntryKind.CONFIG, "zimbraSpamIsSpamAccount", "spam@example.com"),
    ],
)
def test_an_account_that_others_name_is_a_system_account(
    kind: EntryKind, attribute: str, value: str
) -> None:
    named = named_by([entry(kind, **{attribute: value})])

    assert is_system_account(entry(zimbraMailAlias="spam@example.com"), named)


def test_people_and_calendar_resources_are_no_system_accounts() -> None:
    named = named_by([entry(EntryKind.CONFIG, zimbraSpamIsSpamAccount="spam@example.com")])

    assert not is_system_account(entry(displayName="Gala"), named)
    assert not is_system_account(entry(objectClass="zimbraCalendarResource"), named)
