"""The desk between a command and the person at it: progress, results, JSON."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from untrigger.cli import options as o
from untrigger.cli.console import console
from untrigger.cli.progress_bars import Bars
from untrigger.core.errors import InterruptedRunError

_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
INTERRUPTED = "interrupted; nothing half-written is left"


@dataclass(frozen=True)
class Desk:
    """What every command is told, what it prints, and how.

    Attributes:
        quiet: print errors and bare results only.
        json: print the result as JSON.
        seed: of every random choice.
        device: where models run.
        offline: use only what is on this machine.
    """

    quiet: bool
    json: bool
    seed: int
    device: str
    offline: bool

    def __post_init__(self) -> None:
        """Tell the hub's libraries before they are loaded that there is no network, if so."""
        if self.offline:
            os.environ.update(dict.fromkeys(_OFFLINE, "1"))

    @contextmanager
    def working(self) -> Iterator[Bars]:
        """Progress while something runs. With ``--json``, whatever a library prints goes to standard error.

        Raises:
            InterruptedRunError: where the user stopped it.
        """
        try:
            with (
                redirect_stdout(sys.stderr) if self.json else nullcontext(),
                Bars(quiet=self.quiet) as bars,
            ):
                yield bars
        except KeyboardInterrupt as error:
            raise InterruptedRunError(INTERRUPTED) from error

    def answer(self, value: Any, *shown: RenderableType, bare: str = "") -> None:
        """The end of a command: ``value`` with ``--json``, ``bare`` with ``--quiet``, else what is to be shown."""
        with unread():
            if self.json:
                sys.stdout.write(json.dumps(value, indent=2) + "\n")
            elif self.quiet:
                sys.stdout.write(bare)
            else:
                out = console()
                for one in shown:
                    out.print(one, soft_wrap=not isinstance(one, Table))
            sys.stdout.flush()


def seated(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options that every command has after its own; they come to it as its argument ``desk``."""

    def told(
        *,
        quiet: o.Quiet = False,
        as_json: o.Json = False,
        seed: o.Seed = 0,
        device: o.OnDevice = o.Device.auto,
        offline: o.Offline = False,
        **own: Any,
    ) -> Any:
        return command(desk=Desk(quiet, as_json, seed, device.value, offline), **own)

    known, every = (inspect.signature(one, eval_str=True).parameters.values() for one in (command, told))
    asked = [one.replace(kind=one.KEYWORD_ONLY) for one in known if one.name != "desk"]
    asked += [one for one in every if one.kind is not one.VAR_KEYWORD]
    update_wrapper(told, command)
    told.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]
    told.__annotations__ = {one.name: one.annotation for one in asked}
    return told


@contextmanager
def unread() -> Iterator[None]:
    """Nobody reads on (``untrigger list | head -1``): that is no error of ours or theirs."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
