"""class Spool: a list that may be longer than the memory: it lies in a file without a name."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterable, Iterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import Any, Final

from backupng.engine.errors import OperationError

_IN_MEMORY: Final = 1 << 20


class Spool:
    """Rows of JSON values, taken in at once and read as often as wanted.

    Raises OperationError (no_space) if they find no room.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._count = 0
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # lives as long as the list
        weakref.finalize(self, self._file.close)
        for row in rows:
            self._add(row)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(json.loads, self.lines())

    def lines(self) -> Iterator[str]:
        """Yield the rows as JSON texts."""
        self._file.seek(0)
        for line in self._file:
            yield line[:-1].decode("utf-8", "surrogatepass")

    def _add(self, row: Mapping[str, Any]) -> None:
        text = json.dumps(row, ensure_ascii=False)
        try:
            self._file.write(text.encode("utf-8", "surrogatepass") + b"\n")
        except OSError as error:
            raise OperationError(
                f"The answer finds no room: {error.strerror or error}.",
                code="no_space",
                hint="TMPDIR names the folder for it.",
            ) from error
        self._count += 1
