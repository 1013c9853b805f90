"""What lies below an entry of a directory, told by the attribute that names it."""

from __future__ import annotations

import pytest

from backupng.engine.mailserver.zimbra.ldap import LdapDirectory
from backupng.engine.mailserver.zimbra.ldapclient import Found
from backupng.engine.model import EntryKind

ANNA = "uid=anna,ou=people,dc=example,dc=com"


def test_what_has_a_name_of_its_own_kind_is_left_out_and_the_rest_is_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = LdapDirectory("ldap://127.0.0.1:1", bind_dn="", password="")
    odd = Found(f"uid=odd,{ANNA}", {"uid": (b"odd",)})
    short = Found(
        f"zimbraSignatureName=short,{ANNA}",
        {"zimbraSignatureName": (b"short",), "zimbraSignatureId": (b"id-short",)},
    )

    entry = directory._entry(
        EntryKind.ACCOUNT, Found(ANNA, {"zimbraId": (b"id-anna",)}), [odd, short]
    )
    directory.close()

    assert [(each.kind, each.entry_id) for each in entry.children] == [
        (EntryKind.SIGNATURE, "id-short")
    ]
    assert f"{odd.dn} is left out" in caplog.text
