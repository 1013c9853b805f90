"""Where a command's answers, notes and progress go."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import chain
from zoneinfo import ZoneInfo

from console.cli import output
from console.cli.output import Answer

_UTC = ZoneInfo("UTC")


class Terminal:
    """Results on standard output; notes, progress and errors on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.quiet = False

    def text(self, text: str | bytes) -> None:
        """Print a part of the result; not where the result is JSON."""
        if not self.as_json:
            data = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def note(self, sentence: str) -> None:
        """Tell what an admin should know beside the result."""
        self._aside(f"Note: {sentence}")

    def progress(self, line: str) -> None:
        """Tell how far an operation has come."""
        self._aside(line)

    def confirms(self, sentence: str) -> bool:
        """Ask whether to go on; where nobody sits at the terminal nobody is asked."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return True
        sys.stderr.write(f"{sentence} Go on? [yes/no] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def answers(self, answers: Sequence[Answer]) -> int:
        """Print what the hosts answered and return the exit status: the highest of theirs."""
        if self.as_json:
            for part in chain(output.envelope_parts(answers), "\n"):
                # A lone surrogate becomes the escape that JSON has for it.
                sys.stdout.buffer.write(part.encode("utf-8", "backslashreplace"))
            sys.stdout.buffer.flush()
        else:
            for answer in answers:
                self._answer(answer, headed=len(answers) > 1)
        return max(each.exit_status for each in answers)

    def page(self, text: str) -> None:
        """Show on standard error how a command is meant."""
        if not self.as_json:
            sys.stderr.write(f"\n{text}")

    def _answer(self, answer: Answer, *, headed: bool) -> None:
        text = answer.text
        if text is None:
            text = output.tree(answer.response or {}, _UTC)
        if headed:
            plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else "".join(text)
            text = f"{answer.host}\n{output.indented(plain)}"
        for part in (text,) if isinstance(text, str | bytes) else text:
            self.text(part)
        if answer.error:
            sys.stderr.write(output.error_text(answer.error))

    def _aside(self, line: str) -> None:
        if not self.quiet:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def drop_output() -> None:
    """Forget standard output: whoever read it has gone, and flushing at exit would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
