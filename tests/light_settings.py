"""The settings of every process, with passwords that take no time to check."""

from __future__ import annotations

from backupng.settings import *  # noqa: F403 - all of them are meant

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
