"""The steps of the wizards: what they ask, what they accept, how they say it again."""

from __future__ import annotations

from console.forms.date import DateStep, SlotStep
from console.forms.deleted import AccountStep, DeletedDateStep
from console.forms.destination import DestinationStep
from console.forms.mode import ModeStep

__all__ = [
    "AccountStep",
    "DateStep",
    "DeletedDateStep",
    "DestinationStep",
    "ModeStep",
    "SlotStep",
]
