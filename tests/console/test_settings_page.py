"""The settings of notifications: each field and its own property."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from console import notify, properties, roles
from console.models import AuditEntry, Setting
from tests.console import rows

RECIPIENTS, SENDER, LEVEL = "notificationRecipients", "notificationFrom", "notificationLevel"
TYPED = {RECIPIENTS: "a@x.org,b@x.org", SENDER: "backup@x.org", LEVEL: "warning"}
DEFAULTS = {RECIPIENTS: "", "administrators": "on", SENDER: "", LEVEL: "information"}


@pytest.fixture
def admin(client: Client, db: None) -> Client:
    return as_role(client, roles.ADMINISTRATOR)


def as_role(client: Client, role: str) -> Client:
    roles.keep()
    user = User.objects.create_user("anna", "anna@example.com")
    user.groups.set(Group.objects.filter(name=role))
    client.force_login(user)
    return client


def kept() -> dict[str, str]:
    return dict(Setting.objects.filter(server=None).values_list("name", "value"))


def page(client: Client) -> str:
    response = client.get("/settings/")
    assert response.status_code == 200
    return response.content.decode()


def words(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def fields(text: str) -> dict[str, str]:
    """Return what a browser would send back unchanged."""
    found = {}
    for tag in re.findall(r"<input [^>]*>", text):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        is_checkbox = attributes.get("type") == "checkbox"
        if is_checkbox and "checked" not in tag:
            continue
        unset = "on" if is_checkbox else ""
        if attributes.get("name") in (RECIPIENTS, "administrators", SENDER):
            found[attributes["name"]] = html.unescape(attributes.get("value", unset))
    selected = re.findall(r'<option value="(\w+)" selected', text)
    return found | {LEVEL: selected[0]}


def test_every_field_is_kept_in_its_own_property(admin: Client) -> None:
    response = admin.post("/settings/", TYPED)
    assert response.status_code == 303
    assert kept() == TYPED


@pytest.mark.parametrize("name", [RECIPIENTS, SENDER, LEVEL])
def test_a_change_of_one_field_changes_that_property_only(admin: Client, name: str) -> None:
    changed = DEFAULTS | {name: TYPED[name]}
    if name == RECIPIENTS:
        del changed["administrators"]
    admin.post("/settings/", changed)
    assert kept() == {name: TYPED[name]}


def test_what_was_saved_is_shown_and_saves_as_itself(admin: Client) -> None:
    admin.post("/settings/", TYPED)
    shown = fields(page(admin))
    assert shown == TYPED
    response = admin.post("/settings/", shown, follow=True)
    assert "No change." in words(response.content.decode())


def test_the_defaults_save_as_nothing(admin: Client) -> None:
    assert fields(page(admin)) == DEFAULTS
    admin.post("/settings/", DEFAULTS)
    assert kept() == {}


def test_back_to_the_defaults(admin: Client) -> None:
    admin.post("/settings/", TYPED)
    admin.post("/settings/", DEFAULTS)
    assert kept() == {}


def test_an_empty_list_without_the_tick_is_an_empty_list(admin: Client) -> None:
    admin.post("/settings/", {RECIPIENTS: "", SENDER: "", LEVEL: "information"})
    assert kept() == {RECIPIENTS: ""}
    assert notify.default_recipients() == ()
    assert "mailed to nobody but who starts an operation" in words(page(admin))


def test_what_was_set_counts_at_once(admin: Client) -> None:
    admin.post("/settings/", TYPED)
    assert notify.default_recipients() == ("a@x.org", "b@x.org")
    assert notify.sender() == "backup@x.org"


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({RECIPIENTS: "a@x.org,nonsense"}, RECIPIENTS, "is not accepted"),
        ({RECIPIENTS: "a@x.org b@x.org"}, RECIPIENTS, "is not accepted"),
        ({RECIPIENTS: "Anna <a@x.org>"}, RECIPIENTS, "is not accepted"),
        ({RECIPIENTS: "jörg@x.org"}, RECIPIENTS, "is not accepted"),
        ({"administrators": "on"}, RECIPIENTS, "or untick that below"),
        ({SENDER: "a@x.org,b@x.org"}, SENDER, "Expected: a mail address"),
        ({SENDER: "a@x"}, SENDER, "Expected: a mail address"),
        ({LEVEL: "loud"}, LEVEL, "loud"),
    ],
)
def test_a_wrong_value_is_said_at_its_field_and_what_was_typed_stays(
    admin: Client, changes: dict[str, str], field: str, said: str
) -> None:
    typed = TYPED | changes
    response = admin.post("/settings/", typed)
    assert response.status_code == 422
    text = response.content.decode()
    error = re.findall(rf'id="id_{field}_error">(.*?)</div>', text)
    assert said in html.unescape(error[0])
    assert f'<a href="#id_{field}">' in text
    assert html.escape(typed[RECIPIENTS]) in text
    assert html.escape(typed[SENDER]) in text
    assert re.search(rf'name="{field}"[^>]*aria-invalid="true"', text)
    assert kept() == {}


def test_each_change_is_in_the_audit_log(admin: Client) -> None:
    admin.post("/settings/", TYPED)
    admin.post("/settings/", TYPED | {SENDER: ""})
    entries = AuditEntry.objects.filter(action="set property").order_by("pk")
    assert [(entry.user, entry.subject) for entry in entries] == [
        *(("anna", RECIPIENTS), ("anna", SENDER), ("anna", LEVEL), ("anna", SENDER))
    ]
    assert entries[3].detail == "'backup@x.org' → default"


def test_the_page_tells_name_default_source_and_last_change(admin: Client) -> None:
    said = words(page(admin))
    assert (
        f"{SENDER} · default: the address of the first administrator · the default applies" in said
    )
    admin.post("/settings/", TYPED)
    said = words(page(admin))
    assert (
        f"{LEVEL} · default: information · set here for all servers · last changed by anna" in said
    )


def test_servers_with_a_value_of_their_own_are_named(admin: Client) -> None:
    server = rows.mail_server()
    server.save()
    Setting.objects.create(server=server, name=LEVEL, value="error")
    assert "a value of its own has mail.example.com" in words(page(admin))


@pytest.mark.parametrize("role", [roles.OPERATOR, roles.VIEWER])
def test_others_see_the_values_and_no_form(client: Client, db: None, role: str) -> None:
    Setting.objects.create(server=None, name=RECIPIENTS, value="team@x.org")
    text = page(as_role(client, role))
    assert "team@x.org" in text
    assert '<form method="post">' not in text
    assert client.post("/settings/", TYPED).status_code == 403
    assert kept() == {RECIPIENTS: "team@x.org"}
    assert AuditEntry.objects.get(action="set property").result == "refused"


def test_the_properties_are_known_to_the_command_line() -> None:
    assert properties.find("notificationrecipients").parse("a@x.org, b@x.org") == (
        *("a@x.org", "b@x.org"),
    )
