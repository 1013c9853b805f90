"""The step of restoring single items: where they go."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.errors import BackupError, BadRequest
from backupng.engine.model import ItemId
from backupng.engine.operations import parameters, words
from backupng.engine.operations.do_item_restore import DoItemRestore, folder_names
from backupng.engine.operations.words import LAST, Moment
from backupng.engine.restore.select import ALL_TIME, end_of_second
from console import browse
from console.browse import Inside, ItemLine
from console.forms.search import KINDS
from console.forms.when import in_zones
from console.wizard import Choice, StepForm, Words

ORIGINAL, FOLDER = "original", "folder"
_DIGITS = len("2147483647")
_NAMED = 20
"""So many items are named on the pages."""


class ItemsStep(StepForm):
    """Where ticked items go: into the folders they were in, or into another one."""

    slug = "items"
    title = _("Destination")
    template = "console/wizard_items.html"
    refusals: ClassVar[Mapping[str, str]] = {
        "already_exists": "where",
        "bad_value": "where",
        "before_first_backup": "where",
        "no_such_account": "where",
        "no_such_item": "where",
    }

    item_id = forms.CharField(widget=forms.HiddenInput)
    date = forms.CharField(required=False, widget=forms.HiddenInput)
    where = forms.ChoiceField(
        label=_("Restore into"),
        choices=[(ORIGINAL, _("The original folder")), (FOLDER, _("A folder"))],
        initial=ORIGINAL,
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose where the items go.")},
    )
    restore_folder = forms.CharField(
        label=_("Folder"),
        required=False,
        max_length=1000,
        widget=forms.TextInput(
            attrs={"class": "wide", "autocomplete": "off", "list": "folders", "spellcheck": "false"}
        ),
        help_text=_("A path such as /Restored; it is made if it is not there."),
    )

    def clean_item_id(self) -> str:
        """Refuse what names no items."""
        if not self.ids:
            raise ValidationError(gettext("Tick items on the history page first."))
        return ",".join(map(str, self.ids))

    def clean_date(self) -> str:
        """Refuse a moment that is none."""
        text: str = self.cleaned_data["date"]
        try:
            words.parse(Moment, text or str(LAST), name="date", zone=self.run.zone)
        except BackupError as error:
            raise ValidationError(str(error)) from error
        return text

    def clean(self) -> dict[str, Any]:
        """Have a folder named if one is to be taken, by a path that it can have."""
        cleaned = super().clean() or {}
        self.cleaned_data = cleaned | self._folder(cleaned)
        if not self.errors:
            self._check()
        return self.cleaned_data

    def _folder(self, cleaned: Mapping[str, Any]) -> dict[str, str]:
        if cleaned.get("where") != FOLDER:
            return {"restore_folder": ""}
        folder = str(cleaned.get("restore_folder") or "").strip()
        if not folder:
            self.add_error("restore_folder", gettext("Name the folder."))
        try:
            folder_names(folder)
        except BackupError as error:
            self.add_error("restore_folder", f"{error} {error.hint}")
        return {"restore_folder": folder}

    def _check(self) -> None:
        """Refuse what the operation itself would: items that are in place still, or never were."""
        try:
            operation = parameters.parse(DoItemRestore, self.parameters(), self.run.zone)
            browse.check_items(self.run.server, operation)
        except BadRequest as error:
            if not self.refuse(error):
                self.add_error(None, " ".join(filter(None, (str(error), error.hint))))

    @cached_property
    def ids(self) -> list[ItemId]:
        """The ids of the items; none if they are not all ids."""
        texts = [part.strip() for part in str(self["item_id"].value() or "").split(",")]
        is_sound = all(text.isascii() and text.isdigit() and len(text) <= _DIGITS for text in texts)
        return [ItemId(int(text)) for text in texts] if is_sound else []

    @cached_property
    def moment(self) -> Moment:
        """The moment whose states are restored; the last one if it is none."""
        text = str(self["date"].value() or LAST)
        try:
            found: Moment = words.parse(Moment, text, name="date", zone=self.run.zone)
        except BackupError:
            return LAST
        return found

    @cached_property
    def items(self) -> list[ItemLine]:
        """The first of the items, each as it was."""
        before = end_of_second(self.moment.at) if self.moment.at else ALL_TIME
        return browse.items_at(self.run.server, self.run.account_id, self.ids[:_NAMED], before)

    @property
    def lines(self) -> list[tuple[str, ItemLine]]:
        """These items, each with what it is called: its title, else its type and id."""
        kinds = ((str(KINDS.get(line.kind, line.kind)), line) for line in self.items)
        return [(line.title or f"{kind} {line.item}", line) for kind, line in kinds]

    @property
    def number(self) -> int:
        """How many items there are."""
        return len(self.ids)

    @cached_property
    def folders(self) -> list[str]:
        """The paths of the folders that there are, for the field to offer."""
        inside = Inside(folder=ItemId(0), before=browse.ms_before(ALL_TIME))
        view = browse.mailbox(self.run.server, self.run.account_id, inside, first=0, limit=1)
        return [folder.path for folder in view.folders if not folder.deleted_at]

    def parameters(self) -> dict[str, str]:
        """Return account, items, moment and folder."""
        found = {
            "account_name": self.run.account.name,
            "item_id": self.cleaned_data["item_id"],
            "date": words.spell(Moment, self.moment, self.run.zone),
        }
        folder = self.cleaned_data["restore_folder"]
        return found | ({"restore_folder": folder} if folder else {})

    @classmethod
    def words_from(cls, texts: Mapping[str, str], zone: ZoneInfo) -> Words:
        """Return the words of an Item Restore there was."""
        moment: Moment = words.parse(Moment, texts.get("date", "last"), name="date", zone=zone)
        folder = texts.get("restore_folder", "")
        return {
            "item_id": texts["item_id"],
            "date": moment.at.isoformat() if moment.at else "",
            "where": FOLDER if folder else ORIGINAL,
            "restore_folder": folder,
        }

    def choices(self) -> list[Choice]:
        """Return account, items, moment and folder in words."""
        titles = "; ".join(title for title, _line in self.lines)
        if more := self.number - len(self.lines):
            titles += ngettext(" and %d more", " and %d more", more) % more
        count = ngettext("%d item", "%d items", self.number) % self.number
        at = gettext("the last state of each that was not deleted")
        if self.moment.at:
            at = " · ".join(in_zones(self.run, self.moment.at))
        folder = self.cleaned_data["restore_folder"]
        return [
            Choice(label=gettext("Account"), text=self.run.account.name),
            Choice(label=gettext("Items"), text=f"{count}: {titles}"),
            Choice(label=gettext("As of"), text=at),
            Choice(
                label=gettext("Into"),
                text=folder or gettext("the original folders, made anew if they are gone"),
            ),
        ]
