"""How a search on a step picks accounts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def account_id(self) -> str: ...


_Account = TypeVar("_Account", bound=_Named)


def fitting(accounts: Iterable[_Account], typed: object) -> list[_Account]:
    """Return the accounts with a typed text in their address, or with just that id."""
    sought = str(typed or "").strip().lower()
    return [each for each in accounts if sought in each.name.lower() or sought == each.account_id]
