"""What scans count."""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass(slots=True)
class ScanCounts:
    """What one or more scans did. Bytes are plain bytes read and stored bytes written.

    `blobs_new` are the blobs that were written because the backup lacked them at that moment: one
    that two processes of a scan meet at once is written, and counted, by both.
    """

    items_checked: int = 0
    items_new: int = 0
    items_updated: int = 0
    items_deleted: int = 0
    blobs_new: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    def __add__(self, other: ScanCounts) -> ScanCounts:
        return ScanCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: ScanCounts) -> ScanCounts:
        return ScanCounts(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))
