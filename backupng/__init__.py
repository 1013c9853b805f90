"""Backup NG: the Django project, and below it the engine."""

from __future__ import annotations
