"""The catalogue: every operation and every lookup, by the name of its command.

`name: module.Class`, beside this file; a class is loaded when it is asked for by its name.
"""

from __future__ import annotations

from backupng.engine.operations.base import Lookup, Operation
from backupng.engine.operations.catalogue import Catalogue

OPERATIONS: Catalogue[Operation] = Catalogue(
    {
        "doAccountScan": "account_scan.DoAccountScan",
        "doCoherencyCheck": "do_coherency_check.DoCoherencyCheck",
        "doFixOrphans": "do_fix_orphans.DoFixOrphans",
        "doPurge": "do_purge.DoPurge",
        "doRestoreOnNewAccount": "restore_on_new_account.RestoreOnNewAccount",
        "doSmartScan": "smart_scan.SmartScan",
        "rebuildCatalog": "rebuild_catalog.RebuildCatalog",
    }
)
LOOKUPS: Catalogue[Lookup] = Catalogue(
    {
        "getAvailableAccounts": "get_available_accounts.GetAvailableAccounts",
        "getBackupInfo": "get_backup_info.GetBackupInfo",
        "getItem": "get_item.GetItem",
    }
)
