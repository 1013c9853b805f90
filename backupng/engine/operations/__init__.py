"""The catalogue: every operation and every lookup, by the name of its command.

`name: module.Class`, beside this file; a class is loaded when it is asked for by its name.
"""

from __future__ import annotations

from backupng.engine.operations.base import Lookup, Operation
from backupng.engine.operations.catalogue import Catalogue

OPERATIONS: Catalogue[Operation] = Catalogue(
    {
        "doAccountScan": "account_scan.DoAccountScan",
        "doCheckShares": "do_check_shares.DoCheckShares",
        "doCoherencyCheck": "do_coherency_check.DoCoherencyCheck",
        "doExport": "do_export.DoExport",
        "doExternalRestore": "do_external_restore.ExternalRestore",
        "doFixOrphans": "do_fix_orphans.DoFixOrphans",
        "doFixShares": "do_fix_shares.DoFixShares",
        "doItemRestore": "do_item_restore.DoItemRestore",
        "doPurge": "do_purge.DoPurge",
        "doRestoreOnNewAccount": "restore_on_new_account.RestoreOnNewAccount",
        "doSmartScan": "smart_scan.SmartScan",
        "doUndelete": "do_undelete.DoUndelete",
        "rebuildCatalog": "rebuild_catalog.RebuildCatalog",
    }
)
LOOKUPS: Catalogue[Lookup] = Catalogue(
    {
        "doItemSearch": "do_item_search.DoItemSearch",
        "export-item": "export_item.ExportItem",
        "getAccountInfo": "get_account_info.GetAccountInfo",
        "getAvailableAccounts": "get_available_accounts.GetAvailableAccounts",
        "getAvailableDomains": "get_available_domains.GetAvailableDomains",
        "getBackupInfo": "get_backup_info.GetBackupInfo",
        "getItem": "get_item.GetItem",
        "getMap": "get_map.GetMap",
    }
)
