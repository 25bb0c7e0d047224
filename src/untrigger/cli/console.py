"""What is printed, and how a stranger's text is made harmless before it is."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.style import Style
from rich.text import Text

from untrigger.core.escaping import visible


class _Console(Console):
    """A console that does not end the process when its reader has left, as Rich's own does with code 1."""

    def on_broken_pipe(self) -> None:
        """Say no more on standard error; on standard output the caller decides."""
        if not self.stderr:
            raise BrokenPipeError
        self.quiet = True


def console(*, stderr: bool = False) -> Console:
    """A console that guesses nothing into a text: no emoji names, no coloured numbers, no broken paths."""
    return _Console(stderr=stderr, highlight=False, emoji=False, soft_wrap=True)


def said(text: object) -> str:
    """A stranger's text as markup that shows exactly it: brackets escaped, control characters spelled out."""
    return escape("\n".join(visible(line) if line else "" for line in str(text).split("\n")))


def linked(path: Path) -> Text:
    """A path that terminals can open."""
    whole = path.absolute()
    return Text(visible(str(path)), style=Style(link=whole.as_uri(), underline=True))
