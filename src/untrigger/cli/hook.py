"""``untrigger-hook``: a static scan of the model folders that a commit changes, for pre-commit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from untrigger.cli.main import main
from untrigger.core.verdicts import ExitCode

app = typer.Typer(name="untrigger-hook", pretty_exceptions_enable=False)
_WEIGHTS = (".safetensors", ".bin")


@app.command()
def hook(
    *,
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE...", help="Changed files.")] = None,
    policy: Annotated[Path | None, typer.Option("--policy", metavar="FILE", help="TOML file of the gate.")] = None,
    base: Annotated[str | None, typer.Option("--base", metavar="MODEL", help="Trusted base model.")] = None,
) -> int:
    """Scan files and weights of each model folder that holds a changed file; end with the highest exit code.

    A scan of the weights alone gives no verdict of clean. That is allowed here, and has to be decided by a scan with rows.
    """
    options = [*(["--policy", str(policy)] if policy else []), *(["--base", base] if base else [])]
    codes = [_scanned(folder, options) for folder in model_folders(files or [])]
    return max(codes, default=int(ExitCode.DONE))


def model_folders(files: Sequence[Path]) -> list[Path]:
    """Return the folders of these files that hold an adapter or a model with its weights, each once."""
    return [folder for folder in dict.fromkeys(file.parent for file in files) if _is_model(folder)]


def _is_model(folder: Path) -> bool:
    if (folder / "adapter_config.json").exists():
        return True
    return (folder / "config.json").exists() and any(one.suffix in _WEIGHTS for one in folder.iterdir())


def _scanned(folder: Path, options: Sequence[str]) -> int:
    print(f"{folder}:", flush=True)
    return main(["scan", str(folder), "--static-only", "--offline", "--allow-undecided", *options])


def run() -> NoReturn:
    """Run the process's command line and exit with its code."""
    code = app(prog_name="untrigger-hook", standalone_mode=False)
    sys.exit(code if isinstance(code, int) else int(ExitCode.DONE))
