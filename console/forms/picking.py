"""What a search is typed into, and how it picks accounts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from django import forms


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def account_id(self) -> str: ...


_Account = TypeVar("_Account", bound=_Named)


def search_field(label: Any) -> forms.CharField:
    """Return a search box with that label."""
    widget = forms.TextInput(attrs={"type": "search", "autocomplete": "off"})
    return forms.CharField(label=label, required=False, max_length=200, widget=widget)


def fitting(accounts: Iterable[_Account], typed: object) -> list[_Account]:
    """Return the accounts with a typed text in their address, or with just that id."""
    sought = str(typed or "").strip().lower()
    return [each for each in accounts if sought in each.name.lower() or sought == each.account_id]
