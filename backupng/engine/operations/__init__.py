"""The catalogue: every operation and every lookup, by the name of its command."""

from __future__ import annotations

from backupng.engine.operations.account_scan import DoAccountScan
from backupng.engine.operations.base import Lookup, Operation
from backupng.engine.operations.get_available_accounts import GetAvailableAccounts
from backupng.engine.operations.get_backup_info import GetBackupInfo
from backupng.engine.operations.get_item import GetItem
from backupng.engine.operations.restore_on_new_account import RestoreOnNewAccount
from backupng.engine.operations.smart_scan import SmartScan

OPERATIONS: dict[str, type[Operation]] = {
    operation.command: operation for operation in (DoAccountScan, RestoreOnNewAccount, SmartScan)
}
LOOKUPS: dict[str, type[Lookup]] = {
    lookup.command: lookup for lookup in (GetAvailableAccounts, GetBackupInfo, GetItem)
}
