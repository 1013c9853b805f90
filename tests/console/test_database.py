"""The console's database at the start of a command."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from backupng.engine.errors import OperationError
from console import database, roles


@pytest.mark.django_db
def test_a_migration_that_was_cut_off_at_its_end_is_brought_to_it(data: Path) -> None:
    Group.objects.all().delete()
    (data / "state").mkdir()
    mark = data / "state" / "database.migrating"
    mark.touch()

    database.prepare()

    assert set(Group.objects.values_list("name", flat=True)) == set(roles.ROLES)
    assert not mark.exists()


@pytest.mark.django_db
def test_a_database_that_is_ready_is_left_alone(data: Path) -> None:
    Group.objects.all().delete()

    database.prepare()

    assert not Group.objects.exists()


@pytest.mark.django_db
def test_the_migrations_that_are_looked_for_are_those_that_django_finds(data: Path) -> None:
    assert database._known() == set(MigrationLoader(connection).disk_migrations)


@pytest.mark.django_db
def test_a_migration_of_a_newer_version_is_refused_and_that_of_another_app_is_not(
    data: Path,
) -> None:
    recorder = MigrationRecorder(connection)
    recorder.record_applied("somewhere_else", "0007_theirs")
    database.prepare()
    recorder.record_applied("console", "9999_newer")

    with pytest.raises(OperationError, match=r"newer version: console\.9999_newer"):
        database.prepare()
