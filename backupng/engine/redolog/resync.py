"""Where to read on after bytes that are no record.

The magic of a record may stand anywhere, in the body of a mail for instance that carries a redo
log. So a place counts only if a whole record stands there that ends where another begins, and if
its transaction is no older than those read before: what lies in a body was written before the
body was. Transactions of the same server process are preferred to those of a later one. A bad
record of which the envelope is good tells more: from the end marker of its own transaction on the
log is the log again. Where it went wrong in or behind its bulk data nothing but that marker is
believed.
"""

from __future__ import annotations

from backupng.engine.redolog.decoding import Decoder
from backupng.engine.redolog.faults import BadRecord
from backupng.engine.redolog.records import MAGIC, Envelope, Record, Txn

_CHAIN_RECORDS = 256
"""How many records of other mailboxes may come before a transaction's end marker."""
_COUNTER_SLACK = 100
"""Transactions are recorded when they are done, so their counters are only roughly in order."""
_ANY_TIME = Txn(0, 0)
_LAST = 1 << 31


def find(decoder: Decoder, start: int, *, fault: BadRecord, newest: Txn = _ANY_TIME) -> int | None:
    """Return where to read on after the bad record at `start`, if anywhere.

    `newest` is the newest transaction read before it.
    """
    envelope = _envelope(decoder, start)
    if envelope is None:
        hidden = _behind_a_lost_magic(decoder, start)
        return hidden or _first(decoder, start + 1, newest=newest)
    behind = start + len(MAGIC)
    marker = decoder.end_marker(envelope, behind)
    if marker is not None:
        return _chain_to(decoder, behind, marker, near=envelope.txn)
    return None if fault.in_body else _first(decoder, behind, newest=newest)


def _envelope(decoder: Decoder, start: int) -> Envelope | None:
    """Return the envelope of a bad record, if that much is good."""
    try:
        envelope, _ = decoder.envelope(start)
        envelope.check()
    except BadRecord:
        return None
    return envelope


def _behind_a_lost_magic(decoder: Decoder, start: int) -> int | None:
    """Return the end of a record of which only the magic is spoilt: its body is passed over."""
    try:
        cursor = decoder.cursor(start)
        cursor.take(len(MAGIC))
        envelope = Envelope.read(cursor)
        record = decoder.body(envelope, cursor, start) if envelope.is_likely else None
    except BadRecord:
        return None
    return record.end if record and decoder.lands(record.end) else None


def _first(decoder: Decoder, start: int, *, newest: Txn) -> int | None:
    oldest = Txn(newest.time, newest.counter - _COUNTER_SLACK)
    for latest in (Txn(newest.time, _LAST), Txn(_LAST, 0)):
        for place in decoder.magics(start):
            if _good(decoder, place, oldest=oldest, latest=latest):
                return place
    return None


def _chain_to(decoder: Decoder, start: int, marker: int, *, near: Txn) -> int:
    """Return the first place before the end marker from which unbroken records lead to it."""
    oldest, latest = Txn(near.time, near.counter - _COUNTER_SLACK), Txn(near.time, _LAST)
    for place in decoder.magics(start, marker):
        reached = place
        for _ in range(_CHAIN_RECORDS):
            record = _good(decoder, reached, oldest=oldest, latest=latest)
            if record is None:
                break
            reached = record.end
            if reached == marker or record.layout is None:
                return place
    return marker


def _good(decoder: Decoder, place: int, *, oldest: Txn, latest: Txn) -> Record | None:
    """Return the record at a place, if one can be trusted to be there."""
    try:
        envelope, cursor = decoder.envelope(place)
        envelope.check()
        timely = envelope.txn == _ANY_TIME or oldest <= envelope.txn <= latest
        if not (envelope.is_likely and timely):
            return None
        if not decoder.layouts(envelope):
            return _unknown(decoder, envelope, place)
        record = decoder.body(envelope, cursor, place)
    except BadRecord:
        return None
    lands = decoder.lands(record.end) or decoder.fades(record.end)
    return record if lands else None


def _unknown(decoder: Decoder, envelope: Envelope, place: int) -> Record | None:
    """Return a record whose body is not understood: only its own end marker speaks for it."""
    marker = decoder.end_marker(envelope, place + len(MAGIC))
    if marker is None:
        return None
    return Record(offset=place, end=marker, envelope=envelope, layout=None, fields={})
