"""What every command is given: the common options, progress on standard error, and its result on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table

from untrigger.cli.console import output_console
from untrigger.cli.log_output import LogLevel, log_beside, log_output, logged_end
from untrigger.cli.option_groups import OptionGroup
from untrigger.cli.options import Device
from untrigger.cli.progress_bars import ProgressBars
from untrigger.core.errors import InterruptedRunError

if TYPE_CHECKING:
    from untrigger.pipeline.requests import RunOptions

_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
_PANEL = "Every command"
INTERRUPTED = "interrupted; nothing half-written is left"


@dataclass(frozen=True)
class CommandContext(OptionGroup):
    """The options that every command has, its progress and its output.

    Attributes:
        quiet: print errors and bare results only.
        json: print the result as JSON.
        seed: seed of every random choice.
        device: where models run.
        offline: use only what is on this machine.
        log_level: the least severe log records that standard error shows.
        log_file: file that log records are appended to, from ``info`` on.
        no_log: write no log beside the output.
    """

    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print errors and bare results only.", rich_help_panel=_PANEL)
    ] = False
    json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on standard output.", rich_help_panel=_PANEL)
    ] = False
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", min=0, max=2**31 - 1, help="Seed of every random choice.", rich_help_panel=_PANEL
        ),
    ] = 0
    device: Annotated[Device, typer.Option("--device", help="Where models run.", rich_help_panel=_PANEL)] = Device.auto
    offline: Annotated[
        bool, typer.Option("--offline", help="Use only what is on this machine.", rich_help_panel=_PANEL)
    ] = False
    log_level: Annotated[
        LogLevel,
        typer.Option("--log-level", help="Level from which the log goes to standard error.", rich_help_panel=_PANEL),
    ] = LogLevel.warning
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file",
            metavar="FILE",
            help="Also append the log to this file, from info on, with times.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    no_log: Annotated[
        bool, typer.Option("--no-log", help="Write no log beside the output.", rich_help_panel=_PANEL)
    ] = False

    def __post_init__(self) -> None:
        """Set the variables by which the hub's libraries know that they are offline, before they are loaded."""
        if self.offline:
            os.environ.update(dict.fromkeys(_OFFLINE, "1"))

    def run_options(self) -> RunOptions:
        """Return seed, device and offline as a request has them."""
        from untrigger.pipeline.requests import RunOptions

        return RunOptions(seed=self.seed, device=self.device.value, offline=self.offline)

    @contextmanager
    def running(self, *, out: Path | None = None) -> Iterator[ProgressBars]:
        """Show progress and log while something runs; with ``--json``, what a library prints goes to standard error.

        Args:
            out: the file or folder that the command writes, which gets the log, unless the user wants none.

        Raises:
            InterruptedRunError: where the user stopped it.
            OutputError: for a log file that cannot be written.
        """
        bars = ProgressBars(quiet=self.quiet)
        try:
            with (
                redirect_stdout(sys.stderr) if self.json else nullcontext(),
                log_output(bars.console, level=self.log_level, file=self.log_file, quiet=self.quiet),
                log_beside(None if self.no_log else out, level=self.log_level),
                bars,
                logged_end(),
            ):
                yield bars
        except KeyboardInterrupt as error:
            raise InterruptedRunError(INTERRUPTED) from error

    def print_result(self, value: Any, *renderables: RenderableType, bare: str = "") -> None:
        """Print ``value`` with ``--json``, ``bare`` with ``--quiet``, else the renderables."""
        with closed_pipe_ignored():
            if self.json:
                sys.stdout.write(json.dumps(value, indent=2) + "\n")
            elif self.quiet:
                sys.stdout.write(bare)
            else:
                console = output_console()
                for renderable in renderables:
                    console.print(renderable, soft_wrap=not isinstance(renderable, Table))
            sys.stdout.flush()


@contextmanager
def closed_pipe_ignored() -> Iterator[None]:
    """Ignore that the reader of standard output has left (``untrigger list | head -1``)."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
