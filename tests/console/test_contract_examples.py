"""The examples of the contract for restores and for looking in, letter by letter.

Each is a call whose values are accepted. What it then does is tried where the command is.
"""

from __future__ import annotations

import shlex
from zoneinfo import ZoneInfo

import pytest

from backupng.engine.operations import parameters
from console.cli import grammar
from console.cli.program import MODULES

_MANY = "accounts john@example.com,jack@example.com domains example.com"
EXAMPLES = {
    "backupng backup doexport /opt/zimbra/backup/ domains example.com"
    " notifications john@example.com": "doExport",
    'backupng backup dorestoreonnewaccount John NewJohn "28/09/2021 10:15:10"': (
        "doRestoreOnNewAccount"
    ),
    'backupng backup doundelete John "08/10/2021 10:15:00" last': "doUndelete",
    f"backupng backup doexternalrestore /opt/zimbra/backup/restorePath/ {_MANY}"
    " filter_deleted false skip_system_accounts false": "doExternalRestore",
    "backupng backup doExternalRestore /mnt/external1 domains example0.com,example1.com"
    " concurrent_accounts 5": "doExternalRestore",
    "backupng backup doExternalRestore /path/for/the/data/ provisioning_only TRUE": (
        "doExternalRestore"
    ),
    "backupng backup doitemrestore jack@example.com 4784": "doItemRestore",
    "backupng backup getitem a7300a00-56ec-46c3-9773-c6ef7c4f3636 1": "getItem",
    "backupng backup getItem admin@example.com 24700 backup_path /mnt/import/ date all": "getItem",
    "backupng backup getItem john@example.com 49965 dump_blob true": "getItem",
    "backupng backup getAvailableDomains last /opt/zimbra/backup/export": "getAvailableDomains",
    "backupng backup doCheckShares": "doCheckShares",
    "backupng backup doFixShares idmap_file": "doFixShares",
}


@pytest.mark.parametrize(("line", "command"), EXAMPLES.items())
def test_an_example_of_the_contract_is_a_call(line: str, command: str) -> None:
    wish = grammar.parse(shlex.split(line)[1:], MODULES)

    assert isinstance(wish, grammar.Call)
    assert wish.command is MODULES["backup"][command]
    parameters.parse(wish.command, wish.texts, ZoneInfo("Europe/Rome"))
