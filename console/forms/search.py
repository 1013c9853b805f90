"""What the history page asks besides the moment: what an item that is looked for is like."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.model import ItemId, ItemKind
from console.browse import Sought
from console.forms.picking import search_field
from console.forms.when import day_of

KINDS = {
    ItemKind.MESSAGE: _("Message"),
    ItemKind.CONTACT: _("Contact"),
    ItemKind.APPOINTMENT: _("Appointment"),
    ItemKind.TASK: _("Task"),
    ItemKind.DOCUMENT: _("Document"),
    ItemKind.WIKI: _("Wiki page"),
    ItemKind.NOTE: _("Note"),
    ItemKind.CHAT: _("Chat"),
    ItemKind.COMMENT: _("Comment"),
}
MANY = {
    ItemKind.MESSAGE: _("Messages"),
    ItemKind.CONTACT: _("Contacts"),
    ItemKind.APPOINTMENT: _("Appointments"),
    ItemKind.TASK: _("Tasks"),
    ItemKind.DOCUMENT: _("Documents"),
    ItemKind.WIKI: _("Wiki pages"),
    ItemKind.NOTE: _("Notes"),
    ItemKind.CHAT: _("Chats"),
    ItemKind.COMMENT: _("Comments"),
}
FOLDER, ACCOUNT = "folder", "account"
_FIELDS = {
    "": _("Subject, from or to"),
    "subject": _("Subject or name"),
    "sender": _("From"),
    "recipients": _("To"),
}
_HIGHEST = 2**31 - 1


def _day_field(label: Any) -> forms.CharField:
    attributes = {"class": "day", "placeholder": "dd/MM/yyyy"}
    widget = forms.TextInput(attrs=attributes)
    return forms.CharField(label=label, required=False, max_length=10, widget=widget)


class SearchForm(forms.Form):
    """The search box: all that is filled in counts; nothing filled in is no search."""

    q = search_field(_("Search"))
    where = forms.ChoiceField(
        label=_("In"),
        required=False,
        choices=[(ACCOUNT, _("This account")), (FOLDER, _("This folder"))],
    )
    field = forms.ChoiceField(label=_("Stands in"), required=False, choices=[*_FIELDS.items()])
    kind = forms.ChoiceField(
        label=_("Type"),
        required=False,
        choices=[("", _("All")), *((kind.value, label) for kind, label in KINDS.items())],
    )
    number = forms.CharField(
        label=_("Item id"),
        required=False,
        max_length=10,
        widget=forms.TextInput(attrs={"class": "two", "inputmode": "numeric"}),
    )
    since = _day_field(_("Dated from"))
    till = _day_field(_("Dated to"))
    use_required_attribute = False

    def clean_number(self) -> str:
        """Refuse what is no item id."""
        text: str = self.cleaned_data["number"].strip()
        if text and not (text.isascii() and text.isdigit() and 0 < int(text) <= _HIGHEST):
            raise ValidationError(gettext("“%s” is no item id: those are whole numbers.") % text)
        return text

    def clean_since(self) -> date | None:
        """Return the first day."""
        return _day(self.cleaned_data["since"])

    def clean_till(self) -> date | None:
        """Return the last day."""
        return _day(self.cleaned_data["till"])

    def clean(self) -> dict[str, Any]:
        """Refuse a period that ends before it begins."""
        cleaned = super().clean() or {}
        since, till = cleaned.get("since"), cleaned.get("till")
        if since and till and since > till:
            self.add_error("till", gettext("This day lies before the first one."))
        return cleaned

    @property
    def words(self) -> dict[str, str]:
        """What was filled in, as an address carries it; empty if nothing is looked for."""
        found = {name: str(self.data.get(name) or "").strip() for name in self.fields}
        if not any(found[name] for name in ("q", "kind", "number", "since", "till")):
            return {}
        found["where"] = found["where"] if found["where"] == FOLDER else ""
        found["field"] = found["field"] if found["q"] else ""
        return {name: text for name, text in found.items() if text}

    @property
    def is_detailed(self) -> bool:
        """Whether more than a text is asked for."""
        return bool(self.words.keys() - {"q", "where"} or self.errors)

    def sought(self, folder: int, zone: ZoneInfo) -> Sought:
        """Return what a valid form looks for; days are those of the zone."""
        chosen = self.cleaned_data
        since, till = chosen["since"], chosen["till"]
        last = till and _midnight(till + timedelta(days=1), zone) - 1
        return Sought(
            text=chosen["q"].strip(),
            fields=(chosen["field"],) if chosen["field"] else Sought().fields,
            item=ItemId(int(chosen["number"])) if chosen["number"] else None,
            kinds=(ItemKind(chosen["kind"]),) if chosen["kind"] else (),
            folder=ItemId(folder) if chosen["where"] == FOLDER else None,
            since=since and _midnight(since, zone),
            until=last,
        )


def _day(text: str) -> date | None:
    return day_of(text.strip()).date() if text.strip() else None


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime.combine(day, time(), tzinfo=zone).timestamp())
