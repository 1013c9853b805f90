"""The answers of a catalog as they follow from the tree: every history read, nothing kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

from backupng.engine.backuppath import histories, layout, metadata
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.errors import ItemError
from backupng.engine.model import (
    FOLDER_LIKE,
    AccountId,
    Digest,
    EntryKind,
    ItemId,
    ItemKind,
    ItemState,
)

FIELDS = (
    *("kind", "deleted", "mod", "start", "name", "subject", "sender", "recipients", "flags"),
    *("tags", "date", "size", "digest"),
)
KINDS = (ItemKind.MESSAGE, ItemKind.TAG)
History = list[tuple[ItemState, Digest | None]]


class FromTree:
    """All histories of a Backup Path, and the answers that follow."""

    def __init__(self, path: BackupPath) -> None:
        self.path = path
        self.accounts = path.accounts()
        self.known = {account: dict(self._histories(account)) for account in self.accounts}

    def _histories(self, account: AccountId) -> Iterator[tuple[ItemId, History | None]]:
        for item in self.path.items(account):
            try:
                yield item, self._history(account, item)
            except ItemError:
                yield item, None

    def _history(self, account: AccountId, item: ItemId) -> History:
        tree = self.path.tree
        bodies = histories.intact_lines(tree, layout.item_file(account, item)).bodies
        states = histories.states_of(tree, bodies, partial(metadata.parse_state, item))
        return [
            (state, histories.bulk_of(body)) for state, body in zip(states, bodies, strict=True)
        ]

    def alive(self, account: AccountId, before: datetime | None) -> dict[ItemId, ItemState]:
        found = {}
        for item, history in sorted(self.known[account].items()):
            states = [state for state, _ in history or () if before is None or state.start < before]
            if states and not states[-1].deleted:
                found[item] = states[-1]
        return found

    def answers(self, before: datetime | None, digests: list[Digest], word: str) -> dict[str, Any]:
        """Return all that is compared."""
        return {
            "accounts": {each: self._account(each, before, word) for each in self.accounts},
            "references": [self.references(digest) for digest in digests],
            "unreferenced": [each for each in digests if not self.references(each)],
            "found": [
                (account, item)
                for account in self.accounts
                for item, state in self.alive(account, before).items()
                if holds(state, word)
            ],
        }

    def _account(self, account: AccountId, before: datetime | None, word: str) -> dict[str, Any]:
        alive = self.alive(account, before)
        known = {item: each for item, each in self.known[account].items() if each}
        states = [state for each in known.values() for state, _ in each]
        return {
            "alive": {item: shown(state) for item, state in alive.items()},
            "in 2": [item for item, state in alive.items() if state.folder_id == 2],
            "kinds": [item for item, state in alive.items() if state.kind in KINDS],
            "tagged": [item for item, state in alive.items() if word in state.tags],
            "folders": [item for item, state in alive.items() if state.kind in FOLDER_LIKE],
            "histories": {
                item: [shown(state) for state, _ in each] for item, each in known.items()
            },
            "items": len(self.known[account]),
            "states": len(states),
            "first": min((state.start for state in states), default=None),
            "last": max((state.start for state in states), default=None),
            "content": sum(state.size or 0 for state in self.alive(account, None).values()),
            "unreadable": sorted(i for i, each in self.known[account].items() if each is None),
            "entries": self._entries(account),
            "scans": self._scans(account),
        }

    def _entries(self, account: AccountId) -> list[Any]:
        try:
            history = self.path.entry_history(EntryKind.ACCOUNT, account)
        except ItemError:
            return []
        return [(each.start, each.entry.name, each.deleted) for each in history]

    def _scans(self, account: AccountId) -> list[Any]:
        return [(each.start, len(each.unread)) for each in self.path.mailbox_history(account)]

    def references(self, digest: Digest) -> int:
        return sum(
            digest in histories.digests_of(state) | {bulk}
            for items in self.known.values()
            for history in items.values()
            for state, bulk in history or ()
        )


def holds(state: ItemState, word: str) -> bool:
    fields = (state.name, state.subject, state.sender, state.recipients)
    return any(word.casefold() in (each or "").casefold() for each in fields)


def shown(state: ItemState) -> tuple[Any, ...]:
    return (state.folder_id, *(getattr(state, name) for name in FIELDS))


def asked(
    catalog: Catalog, path: BackupPath, before: datetime | None, digests: list[Digest], word: str
) -> dict[str, Any]:
    """Ask a catalog for all that is compared."""
    return {
        "accounts": {each: _account(catalog, each, before, word) for each in path.accounts()},
        "references": [catalog.count_references(digest) for digest in digests],
        "unreferenced": catalog.unreferenced(digests),
        "found": list(_search(catalog, word, before)),
    }


def _account(
    catalog: Catalog, account: AccountId, before: datetime | None, word: str
) -> dict[str, Any]:
    totals = catalog.totals(account)
    histories_of: dict[ItemId, list[Any]] = {}
    for line in catalog.states(account):
        histories_of.setdefault(line.item, []).append(_shown(line))
    return {
        "alive": {line.item: _shown(line) for line in catalog.living(account, before=before)},
        "in 2": _ids(catalog.living(account, before=before, folder=ItemId(2))),
        "kinds": _ids(catalog.living(account, before=before, kinds=KINDS)),
        "tagged": _ids(catalog.living(account, before=before, tag=word)),
        "folders": _ids(catalog.folders(account, before=before)),
        "histories": histories_of,
        "items": totals.items,
        "states": totals.states,
        "first": totals.first,
        "last": totals.last,
        "content": totals.content_bytes,
        "unreadable": [item for item, _ in catalog.unreadable(account)],
        "entries": [(each.start, each.name, each.deleted) for each in catalog.entries(account)],
        "scans": catalog.scans(account),
    }


def _shown(line: Any) -> tuple[Any, ...]:
    return (line.folder, *(getattr(line, name) for name in FIELDS))


def _ids(lines: Any) -> list[ItemId]:
    return [line.item for line in lines]


def _search(
    catalog: Catalog, word: str, before: datetime | None
) -> Iterator[tuple[AccountId, ItemId]]:
    after = None
    while True:
        page = catalog.search(word, before=before, after=after, limit=3)
        yield from ((account, line.item) for account, line in page.found)
        after = page.after
        if after is None:
            return


def differences(found: Any, truth: Any, place: str = "") -> list[str]:
    """Return where two answers differ, and how."""
    if isinstance(found, dict) and isinstance(truth, dict) and found.keys() == truth.keys():
        return [
            each for key in found for each in differences(found[key], truth[key], f"{place}/{key}")
        ]
    return [] if found == truth else [f"{place}: {found!r} is not {truth!r}"[:600]]
