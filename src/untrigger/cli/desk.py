"""The desk between a command and the person at it: progress, results, JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from untrigger.cli.bars import Bars
from untrigger.cli.options import Common
from untrigger.cli.screen import console
from untrigger.errors import InterruptedRunError

_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
INTERRUPTED = "interrupted; nothing half-written is left"


class Desk:
    """What one command prints, and how."""

    def __init__(self, common: Common) -> None:
        """Tell the hub's libraries before they are loaded that there is no network, if so."""
        self.common = common
        if common.offline:
            os.environ.update(dict.fromkeys(_OFFLINE, "1"))

    @contextmanager
    def working(self) -> Iterator[Bars]:
        """Progress while something runs. With ``--json``, whatever a library prints goes to standard error.

        Raises:
            InterruptedRunError: where the user stopped it.
        """
        try:
            with (
                redirect_stdout(sys.stderr) if self.common.json else nullcontext(),
                Bars(quiet=self.common.quiet) as bars,
            ):
                yield bars
        except KeyboardInterrupt as error:
            raise InterruptedRunError(INTERRUPTED) from error

    def answer(self, value: Any, *shown: RenderableType, bare: str = "") -> None:
        """The end of a command: ``value`` with ``--json``, ``bare`` with ``--quiet``, else what is to be shown."""
        with unread():
            if self.common.json:
                sys.stdout.write(json.dumps(value, indent=2) + "\n")
            elif self.common.quiet:
                sys.stdout.write(bare)
            else:
                out = console()
                for one in shown:
                    out.print(one, soft_wrap=not isinstance(one, Table))
            sys.stdout.flush()


@contextmanager
def unread() -> Iterator[None]:
    """Nobody reads on (``untrigger list | head -1``): that is no error of ours or theirs."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
