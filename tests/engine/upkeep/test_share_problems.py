"""Which grants and mountpoints lead nowhere, and what a map proposes: values alone, no server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from backupng.engine.mailserver.port import Grant, Target
from backupng.engine.mailserver.zimbra.grants import Grantee, spell_grants
from backupng.engine.mailserver.zimbra.metadata import encode_column
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, ItemId, ItemKind, ItemState
from backupng.engine.upkeep.shares import Flaw, Mailboxes, MapOf, Problem, problems
from tests.engine.backuppath.samples import NOON

ALICE, DAVE, FAR, GONE, OLD = "alice", "dave", "far", "gone", "old dave"
CALENDAR, WORK, DEEP, THEIRS = 10, 300, 301, 302
KNOWN = {EntryKind.LIST: "team", EntryKind.DOMAIN: "a.org", EntryKind.COS: "gold"}
IDS = {(EntryKind.ACCOUNT, OLD): DAVE, (EntryKind.LIST, "old team"): "team"}
IDS |= {(EntryKind.ACCOUNT, "older"): GONE, (EntryKind.LIST, "older team"): "no team"}


def state(item: int, kind: ItemKind, parent: int, metadata: Mapping[str, Any]) -> ItemState:
    return ItemState(
        item_id=ItemId(item),
        kind=kind,
        mod=1,
        start=NOON,
        folder_id=ItemId(parent),
        name=f"n{item}",
        row={"metadata": encode_column(dict(metadata)), "uuid": f"u{item}"},
    )


def folder(item: int, parent: int, *grants: Grant) -> ItemState:
    return state(item, ItemKind.FOLDER, parent, {"aclm": spell_grants(grants)} if grants else {})


def mountpoint(owner: str, item: int, uuid: str = "") -> ItemState:
    target = {"aid": owner, "id": item} | ({"ruuid": uuid} if uuid else {})
    return state(400, ItemKind.MOUNTPOINT, 1, target)


def given(grantee: str = ALICE, to: Grantee = Grantee.USER) -> Grant:
    return Grant(grantee=grantee, type=to, rights=1)


def found(mounted: ItemState, *shared: ItemState) -> list[Problem]:
    """Return what is wrong where alice has a mountpoint and dave has these folders."""
    folders = {DAVE: [folder(1, 1), *shared], ALICE: [mounted]}
    mailboxes = Mailboxes(
        # Nobody asks it: `others` has the answers.
        source=cast("Any", None),
        accounts={
            each: DirectoryEntry(
                kind=EntryKind.ACCOUNT, entry_id=each, name=f"{each}@a.org", dn="", attributes={}
            )
            for each in (DAVE, ALICE)
        },
        folders={who: {each.item_id: each for each in part} for who, part in folders.items()},
        known={kind: {known} for kind, known in KNOWN.items()} | {EntryKind.ACCOUNT: {ALICE, DAVE}},
        others={FAR: True, GONE: False, OLD: False, "older": False},
    )
    moved = {ItemId(900): ItemId(WORK), ItemId(901): ItemId(999)}
    by = MapOf("map", lambda kind, old: IDS.get((kind, old)), lambda _old, _new: moved)
    return list(problems(mailboxes, [by]))


@pytest.mark.parametrize(
    ("target", "shared", "flaw"),
    [
        ((DAVE, WORK), [folder(WORK, 1, given())], None),
        ((DAVE, DEEP), [folder(WORK, 1, given()), folder(DEEP, WORK)], None),
        ((DAVE, WORK), [folder(WORK, 1)], Flaw.NO_GRANT),
        ((DAVE, WORK), [folder(WORK, 1, given(DAVE))], Flaw.NO_GRANT),
        ((DAVE, WORK), [folder(WORK, 1, given("team", Grantee.GROUP))], None),
        ((DAVE, WORK), [folder(WORK, 1, given("", Grantee.PUBLIC))], None),
        ((DAVE, WORK), [folder(WORK, 1, given("x@y.org", Grantee.GUEST))], Flaw.NO_GRANT),
        ((DAVE, WORK), [folder(WORK, 1, given("x", Grantee.KEY))], Flaw.NO_GRANT),
        ((DAVE, WORK, "u300"), [folder(WORK, 1, given())], None),
        ((DAVE, WORK, "other"), [folder(WORK, 1, given())], Flaw.NO_TARGET),
        (
            (DAVE, THEIRS),
            [state(THEIRS, ItemKind.MOUNTPOINT, 1, {"aid": ALICE, "id": 2})],
            Flaw.NO_TARGET,
        ),
        ((DAVE, 555), [], Flaw.NO_TARGET),
        ((GONE, WORK), [], Flaw.DANGLING),
        ((FAR, WORK), [], None),
    ],
    ids=str,
)
def test_a_mountpoint_leads_to_a_folder_that_its_owner_may_read(
    target: tuple[Any, ...], shared: list[ItemState], flaw: Flaw | None
) -> None:
    flaws = [each.flaw for each in found(mountpoint(*target), *shared) if each.item.item_id == 400]

    assert flaws == ([flaw] if flaw else [])


@pytest.mark.parametrize(
    ("target", "remedy"),
    [
        ((OLD, 900), WORK),
        ((OLD, CALENDAR), CALENDAR),
        ((OLD, 901), None),
        ((OLD, 902), None),
        ((OLD, 12), None),
        (("older", 900), None),
    ],
)
def test_a_map_proposes_only_what_is_there(target: tuple[str, int], remedy: int | None) -> None:
    (problem,) = found(mountpoint(*target), folder(WORK, 1), folder(CALENDAR, 1))

    assert problem.flaw is (Flaw.WRONG_ID if remedy else Flaw.DANGLING)
    assert problem.remedy == (Target(AccountId(DAVE), ItemId(remedy)) if remedy else None)
    assert problem.map_name == ("map" if remedy else "")


def test_grants_name_entries_that_are_there_or_a_map_has_others_for() -> None:
    grants = [
        *(given("team", Grantee.GROUP), given("a.org", Grantee.DOMAIN), given("gold", Grantee.COS)),
        *(given(ALICE), given(FAR), given("x@y.org", Grantee.GUEST), given("", Grantee.PUBLIC)),
        *(given(GONE), given("old team", Grantee.GROUP), given("older team", Grantee.GROUP)),
    ]

    flaws = found(mountpoint(GONE, 2), folder(WORK, 1, *grants), folder(DEEP, WORK, given(OLD)))

    assert [(each.named, each.flaw, each.path) for each in flaws] == [
        (GONE, Flaw.DANGLING, "/n400"),
        (GONE, Flaw.DANGLING, "/n300"),
        ("old team", Flaw.WRONG_ID, "/n300"),
        ("older team", Flaw.DANGLING, "/n300"),
        (OLD, Flaw.WRONG_ID, "/n300/n301"),
    ]
    remedies = [each.remedy.grantee for each in flaws if isinstance(each.remedy, Grant)]
    assert remedies == ["team", DAVE]
