"""Classes of service: which of them has each account, and for which of them backup is off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from backupng.engine.model import BACKUP_DISABLED, DirectoryEntry

_DEFAULT_COS: Final = "default"


def is_disabled(cos: DirectoryEntry) -> bool:
    """Say whether a class of service has backup switched off: by the marker in its Notes."""
    return BACKUP_DISABLED in cos.first("zimbraNotes")


def classes_of(
    accounts: Iterable[DirectoryEntry],
    coses: Iterable[DirectoryEntry],
    domains: Iterable[DirectoryEntry],
) -> dict[str, DirectoryEntry]:
    """Return each account's class of service, by the account's id; one that is gone is left out.

    An account without a COS of its own has its domain's, else the one named `default`.
    """
    by_id = {cos.entry_id: cos for cos in coses}
    default = next((cos.entry_id for cos in by_id.values() if cos.name == _DEFAULT_COS), "")
    of_domain = {
        domain.name: domain.first("zimbraDomainDefaultCOSId", default) for domain in domains
    }
    ids = {account.entry_id: _cos_id(account, of_domain, default) for account in accounts}
    return {account: by_id[cos] for account, cos in ids.items() if cos in by_id}


def disabled_accounts(
    accounts: Iterable[DirectoryEntry],
    coses: Iterable[DirectoryEntry],
    domains: Iterable[DirectoryEntry],
) -> frozenset[str]:
    """Return the ids of the accounts whose class of service has backup switched off."""
    found = classes_of(accounts, coses, domains)
    return frozenset(account for account, cos in found.items() if is_disabled(cos))


def _cos_id(account: DirectoryEntry, of_domain: Mapping[str, str], default: str) -> str:
    _, _, domain = account.name.partition("@")
    return account.first("zimbraCOSId") or of_domain.get(domain, default)
