"""The steps of the wizards: what they ask, what they accept, how they say it again."""

from __future__ import annotations

from console.forms.date import DateStep
from console.forms.mode import ModeStep

__all__ = ["DateStep", "ModeStep"]
