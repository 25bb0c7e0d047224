"""The program ``untrigger``: its commands, and the exit code of each end."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, NoReturn

import typer

from untrigger.cli import assets_command as assets
from untrigger.cli import attack_command as attack
from untrigger.cli import audit_command as audit
from untrigger.cli import canary_command as canary
from untrigger.cli import demo_command as demo
from untrigger.cli import detect_command as detect
from untrigger.cli import doctor_command as doctor
from untrigger.cli import evaluate_command as evaluate
from untrigger.cli import list_command as listing
from untrigger.cli import purify_command as purify
from untrigger.cli import report_command as report
from untrigger.cli import scan_command as scan
from untrigger.cli import zoo_command as zoo
from untrigger.runtime.memory import collect_rarely, keep_freed_memory

_INTERRUPTED_IN_TYPER = 130
EPILOG = """Example: untrigger demo

Exit codes: 0 done, or nothing found; 1 something found, or a stated bound not met; 2 input; 3 undecided or not verified;
70 internal error; 130 interrupted."""

app = typer.Typer(
    name="untrigger",
    help="Remove backdoors from language models, and show with numbers that it did.",
    epilog=EPILOG,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command("scan", epilog=scan.EXAMPLE)(scan.scan)
app.command("purify", epilog=purify.EXAMPLE)(purify.purify)
app.command("detect", epilog=detect.EXAMPLE)(detect.detect)
app.command("audit", epilog=audit.EXAMPLE)(audit.audit)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command("canary", epilog=canary.EXAMPLE)(canary.canary)
app.command("report", epilog=report.EXAMPLE)(report.report)
app.command("attack", epilog=attack.EXAMPLE)(attack.attack)
app.command("list", epilog=listing.EXAMPLE)(listing.show)
app.add_typer(assets.app, name="assets")
app.add_typer(zoo.app, name="zoo")
app.command("demo", epilog=demo.EXAMPLE)(demo.demo)
app.command("doctor", epilog=doctor.EXAMPLE)(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        from untrigger import __version__

        typer.echo(f"untrigger {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Remove backdoors from language models, and show with numbers that it did."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line ``words`` (by default the process's own) and return its exit code."""
    words = list(sys.argv[1:] if words is None else words) or ["--help"]
    _never_fail_to_print()
    try:
        with _stoppable():
            code = app(args=words, prog_name="untrigger", standalone_mode=False)
            if code == _INTERRUPTED_IN_TYPER:
                raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # any error ends as one message and one code
        from untrigger.cli.error_messages import report_error

        return report_error(error, as_json="--json" in words, words=words)
    return code if isinstance(code, int) else 0


def run() -> NoReturn:
    """Run the process's command line and exit with its code."""
    keep_freed_memory()
    collect_rarely()
    sys.exit(main())


@contextmanager
def _stoppable() -> Iterator[None]:
    """Treat a request to end (SIGTERM) as Ctrl-C, so that half-written files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _never_fail_to_print() -> None:
    """Spell out characters that a terminal's encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
