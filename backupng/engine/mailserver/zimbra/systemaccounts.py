"""Which accounts are the server's own: spam and ham training, quarantine, GAL sync, wiki, guests.

An account says it of itself by a flag, or the configuration, a domain or another account names it
as one (`zimbra-provisioning.md` §4): old servers set only one flag, some none. Calendar resources
are no system accounts. Zimbra/zm-build `rpmconf/Install/zmsetup.pl`; Zimbra/zm-mailbox
`store/src/java/com/zimbra/cs/service/admin/CreateGalSyncAccount.java`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from backupng.engine.model import DirectoryEntry

_FLAGS: Final = (
    "zimbraIsSystemResource",
    "zimbraIsSystemAccount",
    "zimbraIsExternalVirtualAccount",
    "zimbraIsMobileGatewayProxyAccount",
)
_REFERENCES: Final = (
    "zimbraSpamIsSpamAccount",
    "zimbraSpamIsNotSpamAccount",
    "zimbraAmavisQuarantineAccount",
    "zimbraGalAccountId",
    "zimbraNotebookAccount",
    "zimbraArchiveAccount",
)
"""Attributes that hold the address or the id of a system account."""


def named_by(entries: Iterable[DirectoryEntry]) -> frozenset[str]:
    """Return the addresses and ids of system accounts that these entries name, in lower case.

    The global configuration, domains and accounts name some; the entries of other kinds none.
    """
    return frozenset(
        value.lower()
        for entry in entries
        for attribute in _REFERENCES
        for value in entry.values(attribute)
    )


def is_system_account(account: DirectoryEntry, named: Collection[str]) -> bool:
    """Say whether an account is the server's own; `named` is what `named_by` found."""
    if any(account.first(flag).upper() == "TRUE" for flag in _FLAGS):
        return True
    names = (account.entry_id, account.name, *account.values("zimbraMailAlias"))
    return any(name.lower() in named for name in names)
