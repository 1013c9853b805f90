"""What one committed record of the redo log does to the items of a mailbox."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from backupng.engine.mailserver.zimbra.parsing.mime import Heading
from backupng.engine.model import CONVERSATION, Digest, ItemId, ItemKind, ItemState
from backupng.engine.scan.known import Known, parent_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a record carries of an item's content, or names: it is kept before it is applied."""

    digest: Digest
    size: int
    facts: Heading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A committed record: its fields, the change number and moment that its states get.

    `content` is None where the record has none, or where its bytes could not be had.
    """

    name: str
    fields: Mapping[str, Any]
    mod: int
    start: datetime
    source: str
    content: Content | None = None

    def state(self, item: int, kind: ItemKind, **values: Any) -> ItemState:
        """Return a new item's state."""
        return ItemState(
            item_id=ItemId(item),
            kind=kind,
            mod=self.mod,
            start=self.start,
            source=self.source,
            **values,
        )

    def changed(self, state: ItemState, **values: Any) -> ItemState:
        """Return what a state becomes; the row it had is not the row it has.

        Of the row only the conversation is remembered: no later record would name it.
        """
        parent = parent_of(state) if state.kind is ItemKind.MESSAGE else None
        noted = {CONVERSATION: str(parent)} if parent else {}
        return replace(
            state,
            mod=self.mod,
            start=self.start,
            source=self.source,
            row={},
            side_rows={},
            kept_as={},
            **{"fields": {**state.fields, **noted}, **values},
        )

    def deletion(self, item: ItemId, kind: ItemKind) -> ItemState:
        """Return the state of an item that is gone."""
        return self.state(item, kind, deleted=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a record says for certain, and what only the database can tell.

    `exact` are states as the record alone makes them. `touched` are items that may have changed in
    ways it does not tell; `guessed` are exact but for what no record tells. `doomed` are items that
    it deleted, unless they are still there, `maybe` those that it may have deleted if nothing else
    did; `seen` are items that it shows to be there still, and left as they were. `whole` says why
    the account must be compared.
    """

    exact: tuple[ItemState, ...] = ()
    touched: frozenset[ItemId] = frozenset()
    guessed: frozenset[ItemId] = frozenset()
    doomed: frozenset[ItemId] = frozenset()
    maybe: frozenset[ItemId] = frozenset()
    seen: frozenset[ItemId] = frozenset()
    whole: str = ""


Apply = Callable[[Operation, Known], Effect]
"""One row of the closed table: what records of one operation do."""


def exactly(states: Iterable[ItemState]) -> Effect:
    """Return the effect of a record that tells all."""
    return Effect(exact=tuple(states))


def touching(*items: int) -> Effect:
    """Return the effect of a record that only names what changed."""
    return Effect(touched=frozenset(ItemId(item) for item in items if item > 0))


def joined(effects: Iterable[Effect]) -> Effect:
    """Return several effects as one."""
    several = list(effects)
    if len(several) == 1:
        return several[0]
    return Effect(
        exact=tuple(state for each in several for state in each.exact),
        touched=frozenset[ItemId]().union(*(each.touched for each in several)),
        guessed=frozenset[ItemId]().union(*(each.guessed for each in several)),
        doomed=frozenset[ItemId]().union(*(each.doomed for each in several)),
        maybe=frozenset[ItemId]().union(*(each.maybe for each in several)),
        seen=frozenset[ItemId]().union(*(each.seen for each in several)),
        whole=next((each.whole for each in several if each.whole), ""),
    )
