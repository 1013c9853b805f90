"""The app's configuration."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ConsoleConfig(AppConfig):
    """The console."""

    name = "console"
    verbose_name = "Backup NG"

    def ready(self) -> None:
        """Keep the groups of the roles in step with the code, and write down logins."""
        # Models can be imported from here on only.
        import_module("console.audit")
        post_migrate.connect(import_module("console.roles").keep, sender=self)
