"""`manage.py createuser`: a user of the console, or a new password for one."""

from __future__ import annotations

import secrets
import string
from argparse import ArgumentParser
from typing import Any

from axes.utils import reset as lift_lock
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.core.validators import validate_email
from django.db import transaction

from console import roles
from console.management.base import HostCommand

_LETTERS = sorted(set(string.ascii_lowercase + string.digits) - set("il1o0"))
_GROUPS, _GROUP_LENGTH = 5, 4
"""20 of 31 letters are 99 bits."""


class Command(HostCommand):
    """Makes a user of the console with a password that is printed this once."""

    help = "Make a user of the console; prints a generated password once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare name, address, role and the switch for a new password."""
        parser.add_argument("name", help="the name to log in with")
        parser.add_argument("address", nargs="?", default="", help="where mail to them goes")
        parser.add_argument(
            "--role",
            choices=[role.lower() for role in roles.ROLES],
            default=roles.ADMINISTRATOR.lower(),
            help="what the user may do; unset: administrator",
        )
        parser.add_argument(
            "--reset", action="store_true", help="make a new password for a user that is there"
        )

    def handle(self, *, name: str, address: str, role: str, reset: bool, **_options: Any) -> None:
        """Make or change the user, then print the password."""
        self.prepare()
        user = _find(name) if reset else create(name, address, role=role.capitalize())
        self.stdout.write(f"name      {user.username}\npassword  {give_password(user)}")
        self.stderr.write("The password is not shown again; --reset makes a new one.")


@transaction.atomic
def create(name: str, address: str, *, role: str = roles.ADMINISTRATOR) -> User:
    """Make a user of a role who cannot log in yet. Raises CommandError."""
    if User.objects.filter(username__iexact=name).exists():
        raise CommandError(f"There is a user {name} already; --reset makes a new password.")
    user = User(username=name, email=address)
    user.set_unusable_password()
    try:
        validate_email(address)
        user.full_clean()
    except ValidationError as error:
        raise CommandError(f"{name} {address}: {' '.join(error.messages)}") from error
    user.save()
    user.groups.add(Group.objects.get(name=role))
    return user


def give_password(user: User) -> str:
    """Give a user a new password and return it; a lock after wrong ones is lifted."""
    groups = ("".join(map(secrets.choice, [_LETTERS] * _GROUP_LENGTH)) for _ in range(_GROUPS))
    password = "-".join(groups)
    user.set_password(password)
    user.save(update_fields=["password"])
    lift_lock(username=user.username)
    return password


def _find(name: str) -> User:
    user = User.objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"There is no user {name}.")
    return user
