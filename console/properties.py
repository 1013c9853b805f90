"""The properties an admin can set (`cli.md` §12): names, types, defaults, meanings. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from backupng.engine.errors import BadRequest
from backupng.engine.operations import words
from backupng.engine.operations.words import NO_ADDRESSES, Addresses, Paths
from console.timetable import is_timetable

_ANY_ZONE = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One property; `kind` is a key of `words.WORDS`, which `choices`, a range or `accepts` narrow.

    `default_label` says what counts where a default is found out and not fixed.
    """

    name: str
    kind: Any
    default: Any
    meaning: str
    choices: tuple[str, ...] = ()
    smallest: int = 0
    largest: int | None = None
    accepts: Callable[[Any], bool] | None = None
    expected: str = ""
    """What `accepts` takes, in words."""
    default_label: str = ""
    read_only: bool = False

    @property
    def type_label(self) -> str:
        """What a value looks like."""
        return "|".join(self.choices) or words.WORDS[self.kind].label

    def parse(self, text: str) -> Any:
        """Return the value that a text spells. Raises BadRequest (bad_value)."""
        if self.read_only:
            raise BadRequest(f"{self.name} can only be read.", parameter=self.name, value=text)
        if self.choices and text.lower() not in self.choices:
            raise self._refusal(text, f"one of {', '.join(self.choices)}")
        value = words.parse(self.kind, text, name=self.name, zone=_ANY_ZONE)
        if self.choices:
            return text.lower()
        if self.kind is int and not self.smallest <= value <= (self.largest or value):
            upper = f" to {self.largest}" if self.largest else " upwards"
            raise self._refusal(text, f"a whole number from {self.smallest}{upper}")
        if self.accepts and not self.accepts(value):
            raise self._refusal(text, self.expected)
        return value

    def spell(self, value: Any) -> str:
        """Write a value; `parse` reads it back."""
        return words.spell(self.kind, value, _ANY_ZONE)

    def _refusal(self, text: str, expected: str) -> BadRequest:
        return BadRequest(
            f"{self.name}: {text!r} is not accepted.",
            hint=f"Expected: {expected}.",
            parameter=self.name,
            value=text,
        )


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a property and where it comes from: `server`, `global` or `default`."""

    value: Any
    source: str


DEST_PATH = "ZxBackup_DestPath"
REAL_TIME_SCANNER = "ZxBackup_RealTimeScanner"
SCAN_ON_STARTUP = "ZxBackup_DoSmartScanOnStartup"
SMART_SCAN_SCHEDULER = "backupSmartScanScheduler"
PURGE_SCHEDULER = "backupPurgeScheduler"
CHECK_SCHEDULER = "backupCoherencyCheckScheduler"
RETENTION = "ZxBackup_DataRetentionDays"
ACCOUNTS_RETENTION = "backupAccountsRetentionDays"
BACKUP_CUSTOMIZATIONS = "ZxBackup_BackupCustomizations"
PURGE_CUSTOMIZATIONS = "ZxBackup_PurgeCustomizations"
BLOB_CODEC = "ZxBackup_BlobCodec"
COMPRESSION_LEVEL = "backupCompressionLevel"
SPACE_THRESHOLD = "ZxBackup_SpaceThreshold"
SKIP_LISTS = "backupSkipDLAndDynamicGroups"
ALLOWED_PATHS = "allowed_paths"
EXIT_CODES = "exitCodes"
NOTIFICATION_RECIPIENTS = "notificationRecipients"
NOTIFICATION_FROM = "notificationFrom"
NOTIFICATION_LEVEL = "notificationLevel"
INITIALIZED = "backup_initialized"
FREE_FOR_METADATA = "available_space_for_metadata"
FREE_FOR_BLOBS = "available_space_for_blobs"

_SPECIALS = frozenset(',;:<>"()[]\\')
_LONGEST_ADDRESS = 254
LONGEST_RETENTION = 99_999
"""In days."""


def is_plain_address(text: str) -> bool:
    """Say whether a text is one address that needs no quoting: no list, no name, no comment."""
    try:
        validate_email(text)
    except ValidationError:
        return False
    return words.is_address(text) and not _SPECIALS & set(text) and len(text) <= _LONGEST_ADDRESS


PROPERTIES: tuple[Property, ...] = (
    Property(
        name=DEST_PATH,
        kind=Path,
        default=Path("/opt/zimbra/backup/ng"),
        meaning="The Backup Path: an existing folder that belongs to this server alone.",
    ),
    Property(
        name=REAL_TIME_SCANNER,
        kind=bool,
        default=True,
        meaning="Follow the redo log: every change is saved as it happens.",
    ),
    Property(
        name=SCAN_ON_STARTUP,
        kind=bool,
        default=True,
        meaning="Run a SmartScan when the backup starts, and when the scanner is enabled again.",
    ),
    Property(
        name=SMART_SCAN_SCHEDULER,
        kind=str,
        default="true 0 4 * * *",
        accepts=is_timetable,
        expected="true or false, then five cron fields, such as true 0 4 * * *",
        meaning="When a SmartScan runs by itself, in the time zone of the server.",
    ),
    Property(
        name=PURGE_SCHEDULER,
        kind=str,
        default="true 0 4 * * 6",
        accepts=is_timetable,
        expected="true or false, then five cron fields, such as true 0 4 * * 6",
        meaning="When a Purge runs by itself, in the time zone of the server.",
    ),
    Property(
        name=CHECK_SCHEDULER,
        kind=str,
        default="false 0 4 1 */3 *",
        accepts=is_timetable,
        expected="true or false, then five cron fields, such as true 0 4 1 */3 *",
        meaning="When a Coherency Check runs by itself, in the time zone of the server.",
    ),
    Property(
        name=RETENTION,
        kind=int,
        default=30,
        largest=LONGEST_RETENTION,
        meaning="Days that deleted items are kept for; 0 keeps forever: no Purge removes anything.",
    ),
    Property(
        name=ACCOUNTS_RETENTION,
        kind=int,
        default=30,
        largest=LONGEST_RETENTION,
        meaning="Days that deleted accounts are kept for; 0 keeps forever.",
    ),
    Property(
        name=BACKUP_CUSTOMIZATIONS,
        kind=bool,
        default=True,
        meaning="Archive the server's configuration folders, conf and that of Postfix, when a"
        " SmartScan finds them changed.",
    ),
    Property(
        name=PURGE_CUSTOMIZATIONS,
        kind=bool,
        default=True,
        meaning="Purge old customizations: a Purge removes archives of the configuration that were"
        " replaced longer ago than deleted items are kept.",
    ),
    Property(
        name=BLOB_CODEC,
        kind=str,
        default="zstd",
        choices=("zstd", "gzip"),
        meaning="How new blobs are compressed; those already kept stay readable.",
    ),
    Property(
        name=COMPRESSION_LEVEL,
        kind=int,
        default=3,
        smallest=1,
        largest=19,
        meaning="How hard new blobs are compressed: 1 to 19 for zstd, 1 to 9 for gzip.",
    ),
    Property(
        name=SPACE_THRESHOLD,
        kind=int,
        default=2048,
        meaning="Free space in MB on the Backup Path below which nothing more is stored.",
    ),
    Property(
        name=SKIP_LISTS,
        kind=bool,
        default=False,
        meaning="Leave distribution lists and dynamic groups out of the backup.",
    ),
    Property(
        name=ALLOWED_PATHS,
        kind=Paths,
        default=Paths(()),
        default_label="the folder around the Backup Path, /mnt, /srv and /media",
        meaning="Folders below which exports may be written and backups read from the console.",
    ),
    Property(
        name=EXIT_CODES,
        kind=str,
        default="extended",
        choices=("extended", "compat"),
        meaning="With compat, an operation that ended with losses exits with 0 and not with 5.",
    ),
    Property(
        name=NOTIFICATION_RECIPIENTS,
        kind=Addresses,
        default=NO_ADDRESSES,
        accepts=lambda addresses: all(map(is_plain_address, addresses)),
        expected="mail addresses with commas between them, such as john@example.com",
        default_label="the addresses of the administrators",
        meaning="Who gets a mail of every notification; empty: only who started an operation.",
    ),
    Property(
        name=NOTIFICATION_FROM,
        kind=str,
        default="",
        accepts=is_plain_address,
        expected="a mail address, such as john@example.com",
        default_label="the address of the first administrator",
        meaning="The sender of the mails.",
    ),
    Property(
        name=NOTIFICATION_LEVEL,
        kind=str,
        default="information",
        choices=("information", "warning", "error", "critical"),
        meaning="The lowest level that is mailed; who starts an operation is told of it anyway.",
    ),
    Property(
        name=INITIALIZED,
        kind=bool,
        default=False,
        read_only=True,
        meaning="Whether a SmartScan has ever completed on the Backup Path.",
    ),
    Property(
        name=FREE_FOR_METADATA,
        kind=int,
        default=None,
        read_only=True,
        meaning="Free bytes on the file system that holds the metadata.",
    ),
    Property(
        name=FREE_FOR_BLOBS,
        kind=int,
        default=None,
        read_only=True,
        meaning="Free bytes on the file system that holds the blobs.",
    ),
)
OF_THE_ENGINE = {
    "blob_codec": BLOB_CODEC,
    "compression_level": COMPRESSION_LEVEL,
    "skip_lists": SKIP_LISTS,
    "space_threshold_mb": SPACE_THRESHOLD,
    "retention_days": RETENTION,
    "accounts_retention_days": ACCOUNTS_RETENTION,
    "backup_customizations": BACKUP_CUSTOMIZATIONS,
    "purge_customizations": PURGE_CUSTOMIZATIONS,
}
"""What the engine acts on, by its name there (`operations.context`)."""
_BY_NAME = {each.name.lower(): each for each in PROPERTIES}
_LARGEST_LEVEL = {"zstd": 19, "gzip": 9}


def find(name: str) -> Property:
    """Return a property by its name in any case. Raises BadRequest with the three closest."""
    found = _BY_NAME.get(name.lower())
    if found is None:
        closest = difflib.get_close_matches(name.lower(), _BY_NAME, n=3, cutoff=0.0)
        raise BadRequest(
            f"There is no property {name}.",
            hint=f"The closest names: {', '.join(_BY_NAME[each].name for each in closest)}.",
            parameter="property_name",
            value=name,
        )
    return found


def resolve(own: Mapping[str, str], everywhere: Mapping[str, str]) -> dict[str, Value]:
    """Return all writable properties: the server's text over the global one over the default."""
    return {each.name: _resolve(each, own, everywhere) for each in PROPERTIES if not each.read_only}


def _resolve(each: Property, own: Mapping[str, str], everywhere: Mapping[str, str]) -> Value:
    for texts, source in ((own, "server"), (everywhere, "global")):
        if each.name in texts:
            return Value(each.parse(texts[each.name]), source)
    return Value(each.default, "default")


def check_together(values: Mapping[str, Any]) -> None:
    """Refuse a compression level that the codec does not have. Raises BadRequest."""
    codec, level = values[BLOB_CODEC], values[COMPRESSION_LEVEL]
    if level > _LARGEST_LEVEL[codec]:
        raise BadRequest(
            f"{COMPRESSION_LEVEL}: {level} is not accepted with the codec {codec}.",
            hint=f"Set {COMPRESSION_LEVEL} to at most {_LARGEST_LEVEL[codec]}.",
            parameter=COMPRESSION_LEVEL,
            value=str(level),
        )
