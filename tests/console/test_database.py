"""The console's database at the start of a command."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import Group

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
