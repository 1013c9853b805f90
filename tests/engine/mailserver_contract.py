"""SourceContract: what every `port.Source` keeps, whatever lies behind it.

A subclass gives the fixture `source`; its server has at least one account with mail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from backupng.engine.errors import ItemError
from backupng.engine.mailserver.port import BlobReference, Census, Source, paired
from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.mailserver.zimbra.volumes import hash_name_of
from backupng.engine.model import (
    FOLDER_LIKE,
    AccountId,
    Digest,
    EntryKind,
    ItemId,
    ItemKind,
    ItemState,
    Mailbox,
    spell_digest,
)

NOBODY = AccountId("00000000-0000-4000-8000-000000000000")
NOTHING = ItemId(2**31 - 1)


def mailboxes(source: Source) -> list[Mailbox]:
    """Return the mailboxes of all accounts."""
    accounts = [AccountId(entry.entry_id) for entry in source.entries(EntryKind.ACCOUNT)]
    return [mailbox for account in accounts if (mailbox := source.mailbox(account))]


def states(source: Source, mailbox: Mailbox) -> dict[ItemId, ItemState]:
    """Return all states of a mailbox; every item must be readable."""
    found = dict(source.states(mailbox, source.heads(mailbox)))
    readable = {item: state for item, state in found.items() if isinstance(state, ItemState)}
    assert readable == found
    return readable


def all_states(source: Source) -> Iterator[tuple[Mailbox, ItemState]]:
    """Yield every state of every mailbox."""
    for mailbox in mailboxes(source):
        for state in states(source, mailbox).values():
            yield mailbox, state


def true_digest(source: Source, mailbox: Mailbox, reference: BlobReference) -> tuple[Digest, int]:
    """Read a blob; return its digest and its length."""
    data = b"".join(source.blob(mailbox, reference))
    digest = hashlib.new(hash_name_of(reference.digest), data, usedforsecurity=False).digest()
    return spell_digest(digest), len(data)


class SourceContract:
    """Run by every implementation."""

    def test_a_source_names_its_server(self, source: Source) -> None:
        servers = {entry.entry_id: entry.name for entry in source.entries(EntryKind.SERVER)}

        assert servers[source.server_id] == source.server_name

    @pytest.mark.parametrize("kind", [EntryKind.ACCOUNT, EntryKind.DOMAIN, EntryKind.COS])
    def test_entries_have_ids_and_names_of_their_own(self, source: Source, kind: EntryKind) -> None:
        entries = list(source.entries(kind))

        assert entries
        assert len({entry.entry_id for entry in entries}) == len(entries)
        assert len({entry.name for entry in entries}) == len(entries)
        assert {entry.kind for entry in entries} == {kind}

    def test_accounts_are_those_of_this_server_under_their_main_address(
        self, source: Source
    ) -> None:
        accounts = list(source.entries(EntryKind.ACCOUNT))

        assert {entry.first("zimbraMailHost") for entry in accounts} == {source.server_name}
        assert [entry.name for entry in accounts] == [
            entry.first("zimbraMailDeliveryAddress") for entry in accounts
        ]

    def test_a_mailbox_belongs_to_its_account(self, source: Source) -> None:
        found = mailboxes(source)

        assert found
        assert len({mailbox.mailbox_id for mailbox in found}) == len(found)
        assert all(mailbox.row["id"] == mailbox.mailbox_id for mailbox in found)

    def test_an_unknown_account_has_no_mailbox(self, source: Source) -> None:
        assert source.mailbox(NOBODY) is None

    def test_every_head_has_one_state_under_its_number(self, source: Source) -> None:
        heads = [source.heads(mailbox) for mailbox in mailboxes(source)]

        numbers = [
            {item: state.mod for item, state in states(source, mailbox).items()}
            for mailbox in mailboxes(source)
        ]

        assert numbers == heads

    def test_a_mark_begins_with_what_can_be_reckoned_with(self, source: Source) -> None:
        for mailbox in mailboxes(source):
            heads, dates = source.heads(mailbox), states(source, mailbox)

            assert Census.sums_of(source.census(mailbox).mark) == (
                len(heads),
                sum(heads),
                sum(paired(item, mod) for item, mod in heads.items()),
                sum(paired(item, state.date) for item, state in dates.items()),
            )

    def test_dates_are_summed_from_a_number_on(self, source: Source) -> None:
        for mailbox in mailboxes(source):
            found = states(source, mailbox)
            middle = sorted(state.mod for state in found.values())[len(found) // 2]

            assert source.dated(mailbox, middle) == sum(
                paired(item, state.date) for item, state in found.items() if state.mod >= middle
            )
            assert source.dated(mailbox, 2**62) == 0

    def test_traits_are_those_of_the_rows(self, source: Source) -> None:
        for mailbox in mailboxes(source):
            found = states(source, mailbox)
            some = sorted(found)[::3]

            traits = {row["id"]: dict(row) for row in source.traits(mailbox)}

            assert traits == {
                item: {column: state.row.get(column) for column in traits[item]}
                for item, state in found.items()
            }
            asked = [dict(row) for row in source.traits(mailbox, some)]
            assert sorted(asked, key=str) == sorted((traits[item] for item in some), key=str)
            assert list(source.traits(mailbox, [])) == []

    def test_no_item_has_two_states(self, source: Source) -> None:
        mailbox = mailboxes(source)[0]
        heads = source.heads(mailbox)

        asked = [item for item, _ in source.states(mailbox, heads)]

        assert sorted(asked) == sorted(heads)

    def test_states_can_be_asked_for_one_by_one_and_in_any_order(self, source: Source) -> None:
        mailbox = mailboxes(source)[0]
        whole = states(source, mailbox)
        some = sorted(whole, reverse=True)[:20]

        assert dict(source.states(mailbox, some)) == {item: whole[item] for item in some}
        assert dict(source.states(mailbox, some[:1])) == {some[0]: whole[some[0]]}

    def test_what_is_not_there_has_no_state(self, source: Source) -> None:
        mailbox = mailboxes(source)[0]
        inbox = ItemId(2)

        assert [item for item, _ in source.states(mailbox, [NOTHING, inbox])] == [inbox]
        assert list(source.states(mailbox, [])) == []

    def test_of_any_ids_those_of_items_and_tags_are_living(self, source: Source) -> None:
        mailbox = mailboxes(source)[0]
        heads = source.heads(mailbox)

        assert source.living(mailbox, [NOTHING, *heads]) == heads.keys()
        assert source.living(mailbox, []) == set()

    def test_a_snapshot_can_be_read_in(self, source: Source) -> None:
        mailbox = mailboxes(source)[0]

        with source.snapshot():
            inside = source.heads(mailbox)

        assert inside == source.heads(mailbox)

    def test_rows_are_kept_verbatim_without_nulls(self, source: Source) -> None:
        found = [state for _, state in all_states(source)]

        assert [state.row["id"] for state in found] == [state.item_id for state in found]
        assert not any(None in state.row.values() for state in found)
        assert all(decode_column(state.row.get("metadata")) is not None for state in found)

    def test_side_rows_name_their_item(self, source: Source) -> None:
        found = [
            (state.item_id, row["item_id"])
            for _, state in all_states(source)
            for rows in state.side_rows.values()
            for row in rows
        ]

        assert found
        assert all(item == named for item, named in found)

    def test_folders_and_tags_have_a_name_and_no_size(self, source: Source) -> None:
        nameable = FOLDER_LIKE | {ItemKind.TAG}
        found = [state for _, state in all_states(source)]

        assert all((state.size is None) == (state.kind in nameable) for state in found)
        assert all(state.name and not state.unread for state in found if state.kind in nameable)

    def test_contacts_have_fields(self, source: Source) -> None:
        found = [state.fields for _, state in all_states(source) if state.kind is ItemKind.CONTACT]

        assert found
        assert all(found)

    def test_every_item_lies_in_a_folder_of_its_mailbox(self, source: Source) -> None:
        found = [states(source, mailbox) for mailbox in mailboxes(source)]

        kinds = {
            whole[state.folder_id].kind
            for whole in found
            for state in whole.values()
            if state.folder_id
        }

        assert kinds == {ItemKind.FOLDER}

    def test_the_tags_of_items_are_tags_of_the_mailbox(self, source: Source) -> None:
        found = [list(states(source, mailbox).values()) for mailbox in mailboxes(source)]
        names = [{each.name for each in some if each.kind is ItemKind.TAG} for some in found]

        # A conversation keeps the tags of its beginning, renamed and deleted ones too.
        used = [
            {tag for each in some if each.kind is not ItemKind.CONVERSATION for tag in each.tags}
            for some in found
        ]

        assert any(used)
        assert all(some <= known for some, known in zip(used, names, strict=True))

    def test_the_first_blob_of_a_state_is_its_own(self, source: Source) -> None:
        found = [(state, list(source.blobs_of(state))) for _, state in all_states(source)]

        assert all(
            [each.digest for each in references[:1]] == [state.digest] * bool(references)
            for state, references in found
        )

    def test_every_blob_can_be_read_and_is_what_its_row_says(self, source: Source) -> None:
        needed = [
            (mailbox, reference)
            for mailbox, state in all_states(source)
            for reference in source.blobs_of(state)
        ]

        read = [true_digest(source, mailbox, reference) for mailbox, reference in needed]

        assert read
        assert read == [(reference.digest, reference.size) for _, reference in needed]

    def test_a_blob_that_is_not_there_is_an_item_error(self, source: Source) -> None:
        mailbox = mailboxes(source)[0]
        missing = BlobReference(
            item_id=NOTHING, mod_content=1, locator="1", digest=Digest("A" * 43 + "="), size=1
        )

        with pytest.raises(ItemError):
            list(source.blob(mailbox, missing))
