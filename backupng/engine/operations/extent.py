"""What of a directory an export takes: some domains or classes of service, and all they need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from backupng.engine.errors import BadRequest
from backupng.engine.model import DirectoryEntry, EntryKind
from backupng.engine.scan.cos import classes_of

_DEFAULT_COS = "default"
_ALIAS_TARGET = "zimbraDomainAliasTargetId"


@dataclass(slots=True, kw_only=True)
class Extent:
    """The entries of some domains and classes of service, all of them where none is named.

    Asked for accounts first, it then knows which classes of service those need.
    """

    domains: Sequence[DirectoryEntry]
    coses: Sequence[DirectoryEntry]
    chosen_domains: frozenset[str]
    chosen_coses: frozenset[str]
    """Ids; empty: all."""
    _needed: set[str] = field(default_factory=set)
    _names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        chosen = [each for each in self.domains if self._is_chosen(each)]
        self._names = frozenset(each.name.lower() for each in chosen)
        self._needed |= {each.first("zimbraDomainDefaultCOSId") for each in chosen}
        self._needed |= {each.entry_id for each in self.coses if each.name == _DEFAULT_COS}

    @property
    def is_whole(self) -> bool:
        """Whether all of the directory is taken."""
        return not (self.chosen_domains or self.chosen_coses)

    def takes(self, entry: DirectoryEntry) -> bool:
        """Say whether an entry is taken."""
        if self.is_whole:
            return True
        match entry.kind:
            case EntryKind.ACCOUNT:
                return self._takes_account(entry)
            case EntryKind.DOMAIN:
                return self._is_chosen(entry)
            case EntryKind.COS:
                return entry.entry_id in self._needed
            case EntryKind.LIST:
                return self._lies_in(entry)
        return True

    def lies_in(self, entry: DirectoryEntry) -> bool:
        """Say whether an account is of the chosen domains, whatever its class of service."""
        return not self.chosen_domains or self._lies_in(entry)

    def _takes_account(self, entry: DirectoryEntry) -> bool:
        if not self.lies_in(entry):
            return False
        cos = classes_of([entry], self.coses, self.domains).get(entry.entry_id)
        cos_id = cos.entry_id if cos else ""
        if self.chosen_coses and cos_id not in self.chosen_coses:
            return False
        self._needed.add(cos_id)
        return True

    def _is_chosen(self, domain: DirectoryEntry) -> bool:
        if not self.chosen_domains:
            return True
        # A domain that is only another name of a chosen one belongs to it.
        ids = {domain.entry_id, *domain.values(_ALIAS_TARGET)}
        return not ids.isdisjoint(self.chosen_domains)

    def _lies_in(self, entry: DirectoryEntry) -> bool:
        return entry.name.lower().partition("@")[2] in self._names


def named(
    entries: Iterable[DirectoryEntry], names: Sequence[str], *, code: str, what: str
) -> frozenset[str]:
    """Return the ids of the entries of those names or ids. Raises BadRequest for one that is none.

    `what` names their kind in a sentence.
    """
    known = {each.name.lower(): each.entry_id for each in entries}
    known |= {entry_id: entry_id for entry_id in known.values()}
    for name in names:
        if name.lower() not in known:
            some = ", ".join(sorted(name for name, each in known.items() if name != each))
            raise BadRequest(
                f"There is no {what} {name} on this mail server.",
                code=code,
                hint=f"There are: {some[:500]}." if some else "",
            )
    return frozenset(known[name.lower()] for name in names)
