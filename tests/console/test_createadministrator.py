"""`manage.py createadministrator` makes administrators who can log in, and no others."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data")]

ANNA = ("anna", "anna@example.com")


def password_of(*words: str) -> str:
    """Run the command and return the password it prints."""
    out = StringIO()
    call_command("createadministrator", *words, stdout=out, stderr=StringIO())
    return out.getvalue().split()[-1]


def test_an_administrator_has_the_role_and_the_printed_password() -> None:
    password = password_of(*ANNA)

    anna = User.objects.get(username="anna")
    assert anna.check_password(password)
    assert anna.email == "anna@example.com"
    assert anna.has_perm("console.change_settings")
    assert not anna.is_superuser


def test_no_two_passwords_are_alike() -> None:
    assert password_of(*ANNA) != password_of("bob", "bob@example.com")


def test_a_name_in_use_is_refused_in_any_case_and_keeps_its_password() -> None:
    password = password_of(*ANNA)

    with pytest.raises(CommandError, match="There is a user Anna already"):
        password_of("Anna", "other@example.com")

    assert User.objects.get().check_password(password)


@pytest.mark.parametrize(("name", "address"), [("anna", "anna"), ("anna", ""), ("a b", ANNA[1])])
def test_what_is_no_name_or_no_address_makes_nobody(name: str, address: str) -> None:
    with pytest.raises(CommandError, match=name):
        password_of(name, address)

    assert not User.objects.exists()


def test_a_reset_makes_a_new_password() -> None:
    old = password_of(*ANNA)

    new = password_of("anna", "--reset")

    anna = User.objects.get()
    assert (anna.check_password(old), anna.check_password(new)) == (False, True)


def test_only_an_administrator_gets_a_new_password() -> None:
    User.objects.create_user("viewer", password="a password of their own")

    with pytest.raises(CommandError, match="There is no administrator viewer"):
        password_of("viewer", "--reset")


def test_another_user_than_the_owner_of_the_data_is_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: data.stat().st_uid + 1)

    with pytest.raises(CommandError, match=f"The data folder {data} belongs to"):
        password_of(*ANNA)
