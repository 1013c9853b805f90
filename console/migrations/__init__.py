"""Migrations of the console's database."""

from __future__ import annotations
