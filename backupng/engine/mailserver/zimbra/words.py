"""Encoded words in header values (RFC 2047)."""

from __future__ import annotations

from email.errors import HeaderParseError
from email.header import decode_header, make_header


def decoded(value: str) -> str:
    """Return a header value as people read it; one that does not decode stays as it is."""
    try:
        return str(make_header(decode_header(value)))
    except (ValueError, LookupError, OverflowError, HeaderParseError):
        return value
