"""The way to the mail server that takes the mails of a batch, and what it says of each."""

from __future__ import annotations

import smtplib
from contextlib import suppress
from typing import Self

from django.core.mail import EmailMessage, get_connection

from console.letter import layout

_ERROR_LENGTH = 500


class MailServer:
    """One connection for a batch. Lost, it is opened anew; lost twice in a row, it stays so."""

    _MOST_LOSSES = 2

    def __init__(self) -> None:
        self._connection = get_connection()
        self._losses = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def is_lost(self) -> bool:
        """True when it makes no sense to try the rest of the batch."""
        return self._losses >= self._MOST_LOSSES

    def send(self, mail: EmailMessage) -> str:
        """Send a mail and return why it was not sent; empty if it was."""
        try:
            self._connection.open()
        except OSError as error:
            return self._lose(error)
        try:
            self._connection.send_messages([mail])
        except OSError as error:
            if self._is_closed():
                return self._lose(error)
            self._losses = 0
            return _spell(error)
        self._losses = 0
        return ""

    def _is_closed(self) -> bool:
        """Tell a connection that is gone from an answer that concerns one mail only."""
        smtp = getattr(self._connection, "connection", None)
        return smtp is not None and smtp.sock is None

    def _lose(self, error: OSError) -> str:
        self._losses += 1
        if smtp := getattr(self._connection, "connection", None):
            # Without a farewell: the answer to it would be waited for once more.
            smtp.close()
        self._close()
        return _spell(error)

    def _close(self) -> None:
        with suppress(OSError):
            self._connection.close()


def _spell(error: OSError) -> str:
    """Return an error of the mail server in one line, as it is shown on the page."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        error = smtplib.SMTPResponseException(*next(iter(error.recipients.values())))
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        return layout.clean(f"{error.smtp_code} {words}")[:_ERROR_LENGTH]
    return layout.clean(error.strerror or str(error) or type(error).__name__)[:_ERROR_LENGTH]
