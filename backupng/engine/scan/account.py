"""Account Scan: bring one account's histories up to the mail server.

The set of (item id, change number) decides: what has a greater number than its last line, or no
line, is read and appended; what has a living line and is gone from the server is marked deleted. So
a scan that was killed, or ran beside another producer, simply finds less to do the next time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Final

from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import BrokenItem, ItemError
from backupng.engine.mailserver.port import BlobReference, Source
from backupng.engine.model import (
    AccountId,
    Digest,
    DirectoryEntry,
    ItemId,
    ItemState,
    Mailbox,
    MailboxState,
    spell_digest,
    to_ms,
)

_AT_ONCE: Final = 500
_SHA256_LENGTH: Final = 44


@dataclass(slots=True)
class ScanCounts:
    """What one or more Account Scans did. Bytes are plain bytes read and stored bytes written."""

    items_checked: int = 0
    items_new: int = 0
    items_updated: int = 0
    items_deleted: int = 0
    blobs_new: int = 0
    bytes_read: int = 0
    bytes_written: int = 0


@dataclass(slots=True)
class AccountScan:
    """One scan of one account. `failures` are the items that could not be saved, with why."""

    source: Source
    path: BackupPath
    writer: Writer
    started: datetime
    tick: Callable[[int, int], None]

    def run(
        self, account: DirectoryEntry, counts: ScanCounts, *, deep: bool = False
    ) -> AccountResult:
        """Scan the account; commits on the way, at its end all of it is durable."""
        account_id = AccountId(account.entry_id)
        with self.source.snapshot():
            mailbox = self.source.mailbox(account_id)
            heads = self.source.heads(mailbox) if mailbox else {}
        if mailbox is None:
            return AccountResult(changed=False, failures=[])
        mark, last = _mark(heads), self._last_scan(account_id)
        counts.items_checked += len(heads)
        if last and not deep and _unchanged(last, mark, mailbox):
            return AccountResult(changed=False, failures=[])
        known, failures = self._known(account_id)
        unscanned = {item for item, _ in failures}
        news = sorted(
            item
            for item, mod in heads.items()
            if item not in unscanned and (item not in known or known[item].mod < mod)
        )
        since = last.start if last else None
        failures += self._save(mailbox, news, counts, known=known, since=since)
        self._mark_deleted(account_id, heads, known, counts)
        failures += self._commit()
        self.writer.add_mailbox(
            MailboxState(
                start=self.started,
                mod=max(heads.values(), default=0),
                mailbox=mailbox,
                mark=mark,
                unread=tuple(sorted(item for item, _ in failures)),
            )
        )
        failures += self._commit()
        return AccountResult(changed=True, failures=failures)

    def _last_scan(self, account: AccountId) -> MailboxState | None:
        """Return what the last scan found; None also if that history cannot be read.

        Then the account's items are compared one by one, and the writer refuses and so reports the
        damaged history: what can still be saved is saved.
        """
        try:
            earlier = self.path.mailbox_history(account)
        except ItemError:
            return None
        return earlier[-1] if earlier else None

    def _commit(self) -> list[tuple[ItemId, ItemError]]:
        """Write what waits; return what the Backup Path refused."""
        self.writer.commit()
        refused = [(item, error) for _, item, error in self.writer.refused]
        self.writer.refused.clear()
        return refused

    def _known(
        self, account: AccountId
    ) -> tuple[dict[ItemId, ItemState], list[tuple[ItemId, ItemError]]]:
        """Return the last state of every item in the backup, and the histories not readable."""
        known: dict[ItemId, ItemState] = {}
        failures: list[tuple[ItemId, ItemError]] = []
        for item in self.path.items(account):
            try:
                state = self.path.last_state(account, item)
            except ItemError as error:
                failures.append((item, error))
            else:
                if state is not None:
                    known[item] = state
        return known, failures

    def _save(
        self,
        mailbox: Mailbox,
        items: list[ItemId],
        counts: ScanCounts,
        *,
        known: Mapping[ItemId, ItemState],
        since: datetime | None,
    ) -> list[tuple[ItemId, ItemError]]:
        failures: list[tuple[ItemId, ItemError]] = []
        done = 0
        for some in _batches(items):
            for item, found in self._read(mailbox, some):
                last = known.get(item)
                try:
                    state = self._with_blobs(mailbox, found, counts)
                except ItemError as error:
                    if self._still_there(mailbox, item, found):
                        failures.append((item, error))
                    continue
                stamped = replace(
                    state, start=self._moment(state, last, since), source=self.scan_id
                )
                self.writer.add_states(mailbox.account_id, [stamped])
                counts.items_new += last is None or last.deleted
                counts.items_updated += last is not None and not last.deleted
            self.writer.commit()
            done += len(some)
            self.tick(done, len(items))
        return failures

    def _read(
        self, mailbox: Mailbox, items: Iterable[ItemId]
    ) -> list[tuple[ItemId, ItemState | ItemError]]:
        with self.source.snapshot():
            return list(self.source.states(mailbox, items))

    def _with_blobs(
        self, mailbox: Mailbox, found: ItemState | ItemError, counts: ScanCounts
    ) -> ItemState:
        """Keep every blob of a state and return it with its own digest. Raises ItemError."""
        if isinstance(found, ItemError):
            raise found
        kept = {
            reference.digest: self._keep_blob(mailbox, reference, counts)
            for reference in self.source.blobs_of(found)
        }
        return replace(
            found,
            digest=None if found.digest is None else kept[found.digest],
            kept_as={old: new for old, new in kept.items() if old != new},
        )

    def _keep_blob(self, mailbox: Mailbox, reference: BlobReference, counts: ScanCounts) -> Digest:
        """Keep one blob; one of a digest already kept is not read again."""
        is_sha256 = len(reference.digest) == _SHA256_LENGTH
        if is_sha256 and self.writer.has_blob(reference.digest):
            return reference.digest
        old = hashlib.sha1(usedforsecurity=False)
        plain = self.source.blob(mailbox, reference)
        digest, length, written = self.writer.add_blob(plain if is_sha256 else _hashed(plain, old))
        counts.bytes_read += length
        counts.bytes_written += written
        counts.blobs_new += written > 0
        if reference.digest != (digest if is_sha256 else spell_digest(old.digest())):
            raise BrokenItem(
                f"item {reference.item_id}: the blob has another digest than its row says"
            )
        return digest

    def _still_there(self, mailbox: Mailbox, item: ItemId, found: ItemState | ItemError) -> bool:
        """Say whether a failed item is a failure: one deleted or changed meanwhile is not."""
        now = dict(self._read(mailbox, [item])).get(item)
        if isinstance(now, ItemState) and isinstance(found, ItemState):
            return now.mod == found.mod
        return now is not None

    def _moment(self, state: ItemState, last: ItemState | None, since: datetime | None) -> datetime:
        """Return from when on a state found now held.

        The server's own date counts if it lies after what we knew before; of an account new to us
        we promise nothing before the scan.
        """
        floor = last.start if last else since
        if floor is None or not floor < state.start <= self.started:
            return self.started
        return state.start

    def _mark_deleted(
        self,
        account: AccountId,
        heads: Mapping[ItemId, int],
        known: Mapping[ItemId, ItemState],
        counts: ScanCounts,
    ) -> None:
        highest = max(heads.values(), default=0)
        for item, last in known.items():
            if last.deleted or item in heads:
                continue
            state = ItemState(
                item_id=item,
                kind=last.kind,
                # The deletion was a later change than the last one seen of the item.
                mod=max(highest, last.mod + 1),
                start=max(self.started, last.start),
                source=self.scan_id,
                deleted=True,
            )
            self.writer.add_states(account, [state])
            counts.items_deleted += 1

    @property
    def scan_id(self) -> str:
        """What states found by this scan name as their source."""
        return f"scan:{to_ms(self.started)}"


@dataclass(frozen=True, slots=True)
class AccountResult:
    """Whether the account had changed, and which of its items could not be saved."""

    changed: bool
    failures: list[tuple[ItemId, ItemError]]


def _hashed(chunks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _unchanged(last: MailboxState, mark: str, mailbox: Mailbox) -> bool:
    return last.mark == mark and not last.unread and last.mailbox.sections == mailbox.sections


def _mark(heads: Mapping[ItemId, int]) -> str:
    """Return a short text that stands for the set of (id, change number)."""
    text = ",".join(f"{item}:{mod}" for item, mod in sorted(heads.items()))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _batches(items: list[ItemId]) -> Iterator[list[ItemId]]:
    source = iter(items)
    while some := list(islice(source, _AT_ONCE)):
        yield some
