"""A user at the wizards Export Backup and Import Backup, as a browser without script sends them."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from console import roles
from tests.console.restoring import Page, Visitor, a_user


class Mover(Visitor):
    """An administrator at a wizard of a server."""

    def __init__(self, kind: str) -> None:
        super().__init__(a_user("anna", roles.ADMINISTRATOR))
        self.door = reverse("wizard-begin", args=["mail1", kind])

    def post(self, step: str, words: dict[str, Any]) -> Any:
        """Send a step whose fields may have several values."""
        return self.client.post(self.url(step), words)

    def accept(self, step: str, words: dict[str, Any]) -> str:
        """Send a step that is accepted; returns where it leads."""
        answer = self.post(step, words)
        assert answer.status_code == 303, answer.content.decode()
        return str(answer["Location"])


def message(answer: Any) -> str:
    """Return the text of a page that refuses."""
    page = Page(answer)
    assert answer.status_code == 422
    assert page.forbidden == []
    return page.text
