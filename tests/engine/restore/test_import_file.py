"""The file that names whom to import: as getAvailableAccounts writes it."""

from __future__ import annotations

from pathlib import Path

from backupng.engine.operations.get_available_accounts import GetAvailableAccounts
from backupng.engine.operations.words import Words
from tests.cast import BOB, office
from tests.engine.restore.migrating import bring, empty_office


def test_a_file_of_getavailableaccounts_says_whom_to_import(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    headers = Words(("accountAndIdList", "accountMap", "accountList"))
    lookup = GetAvailableAccounts(output_headers=headers, output_file=tmp_path / "names")
    with office(tmp_path / "a") as mail, empty_office(tmp_path) as to:
        mail.scan()
        document = lookup.document(lookup.answer(mail))
        assert document is not None
        no_bob = [line for line in document.content.splitlines() if BOB.encode() not in line]
        (tmp_path / "names").write_bytes(b"\n".join(no_bob))

        report = bring(mail, to, dryrun=True, input_file=tmp_path / "names")

    assert report.counters["accounts_created"] == 2
