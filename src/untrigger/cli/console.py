"""The consoles, and text for them: an untrusted text becomes markup that shows exactly it."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.style import Style
from rich.table import Table
from rich.text import Text

from untrigger.core.escaping import visible


class _Console(Console):
    """A console that does not end the process when its reader has left, as Rich's own does with code 1."""

    def on_broken_pipe(self) -> None:
        """Raise on standard output, where the caller decides; print no more on standard error."""
        if not self.stderr:
            raise BrokenPipeError
        self.quiet = True


def output_console(*, stderr: bool = False) -> Console:
    """Return a console that changes no text: no emoji names, no coloured numbers, no broken paths."""
    return _Console(stderr=stderr, highlight=False, emoji=False, soft_wrap=True)


def visible_lines(text: str) -> str:
    """Return ``text`` with all control characters but line breaks spelled out."""
    return "\n".join(visible(line) if line else "" for line in text.split("\n"))


def escaped(text: object) -> str:
    """Return an untrusted text as markup: brackets escaped, control characters spelled out."""
    return escape(visible_lines(str(text)))


def path_link(path: Path) -> Text:
    """Return a path that terminals can open."""
    whole = path.absolute()
    return Text(visible(str(path)), style=Style(link=whole.as_uri(), underline=True))


def plain_table(*headers: str, title: str | None = None) -> Table:
    """Return a table that fits 80 columns: only a rule below its headers, words that are too long broken, never cut."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, show_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    return table
