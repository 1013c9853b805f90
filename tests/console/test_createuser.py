"""`manage.py createuser` makes users who can log in with the printed password."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django import Settings

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data", "quick_passwords")]

ANNA = ("anna", "anna@example.com")


@pytest.fixture
def quick_passwords(settings: Settings) -> None:
    """Hash passwords at little cost: that Django keeps them well is not tested here."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def password_of(*words: str) -> str:
    """Run the command and return the password it prints."""
    out = StringIO()
    call_command("createuser", *words, stdout=out, stderr=StringIO())
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


def test_an_unknown_user_gets_no_new_password() -> None:
    with pytest.raises(CommandError, match="There is no user bob"):
        password_of("bob", "--reset")


@pytest.mark.parametrize(
    ("role", "may_restore", "may_browse"), [("operator", True, True), ("viewer", False, False)]
)
def test_a_role_can_be_chosen(role: str, *, may_restore: bool, may_browse: bool) -> None:
    password_of("bob", "bob@example.com", "--role", role)

    bob = User.objects.get(username="bob")
    assert bob.has_perm("console.view_status")
    assert bob.has_perm("console.restore") is may_restore
    assert bob.has_perm("console.browse_accounts") is may_browse
    assert not bob.has_perm("console.change_settings")


def test_another_user_than_the_owner_of_the_data_is_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: data.stat().st_uid + 1)

    with pytest.raises(CommandError, match=f"The data folder {data} belongs to"):
        password_of(*ANNA)
