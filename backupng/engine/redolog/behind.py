"""Since when a reader of a redo log is behind: the time of the first record it has not read."""

from __future__ import annotations

from backupng.engine.redolog import header
from backupng.engine.redolog.chain import Chain, FileId
from backupng.engine.redolog.events import Position
from backupng.engine.redolog.files import LogFiles
from backupng.engine.redolog.reader import RedoLog


def unread_since(files: LogFiles, position: Position) -> int | None:
    """Return the time in ms of what follows a position; None if nothing does.

    Where the file of the position is gone or damaged there, it is when that file was begun: nothing
    before that is missing. Changes nothing. Raises RedoLogError.
    """
    chain, file = Chain(files, server_id=position.server_id, holds=False), FileId.at(position)
    log = chain.find(file)
    if log is None:
        return file.created
    with log:
        if position.offset < log.size:
            return _time_at(log, position.offset)
    following = chain.following(file)
    if following is None:
        return None
    with following:
        is_the_last = FileId.of(following).is_same(file) or following.size <= header.SIZE
        return None if is_the_last else _time_at(following, header.SIZE)


def _time_at(log: RedoLog, offset: int) -> int:
    found = log.envelope(offset)
    return found.timestamp if found else log.header.created
