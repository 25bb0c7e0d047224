"""The options for statements about a result in formats of the supply chain, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from untrigger.cli.option_groups import OptionGroup
from untrigger.core.errors import OptionError, OutputError

if TYPE_CHECKING:
    from untrigger.core.report import Report


@dataclass(frozen=True)
class EvidenceFiles(OptionGroup):
    """Statements about the result that name the hashes of the model's files."""

    attestation: Annotated[
        Path | None,
        typer.Option(
            "--attestation",
            metavar="FILE",
            help="New file for an unsigned in-toto statement; needs untrigger\\[formats].",
        ),
    ] = None
    bom: Annotated[
        Path | None,
        typer.Option("--bom", metavar="FILE", help="New file for a CycloneDX ML-BOM; needs untrigger\\[formats]."),
    ] = None

    @property
    def paths(self) -> list[Path]:
        """The files to write."""
        return [path for path in (self.attestation, self.bom) if path is not None]

    def check(self, *, folders: Sequence[str | Path | None], others: Sequence[Path] = ()) -> None:
        """Check that the files can be written, before any work.

        Args:
            folders: folders or hub names of models, which no file may be in.
            others: other files that the command writes.

        Raises:
            NeedsError: if a package of the extra ``formats`` is missing.
            OptionError: for one name of two files.
            OutputError: for a file that exists, or inside of a model folder.
        """
        from untrigger.core.files import check_new_paths
        from untrigger.reporting.formats_extra import check_installed

        if self.attestation is not None:
            check_installed("in_toto_attestation", what="--attestation")
        if self.bom is not None:
            check_installed("cyclonedx", what="--bom")
        check_new_paths(*self.paths)
        places = [path.resolve() for path in (*self.paths, *others)]
        if self.paths and len(set(places)) < len(places):
            raise OptionError("two files of one name", expected="a new file for each of --out, --attestation and --bom")
        for folder in folders:
            for path in self.paths:
                _check_outside(path, folder)

    def write(self, report: Report, *, result: Path | None = None) -> list[Path]:
        """Write the files about the model of the report, or about the purified one in ``result``; return their paths.

        Raises:
            OutputError: if a file cannot be written.
        """
        if not self.paths:
            return []
        from untrigger.core.files import write_text
        from untrigger.reporting.model_files import purified_models, scanned_models

        models = scanned_models(report) if result is None else purified_models(report, result)
        if self.attestation is not None:
            from untrigger.reporting.attestation import to_attestation

            write_text(self.attestation, text=to_attestation(report, models))
        if self.bom is not None:
            from untrigger.reporting.bom import to_bom

            write_text(self.bom, text=to_bom(report, models))
        return self.paths


def _check_outside(path: Path, folder: str | Path | None) -> None:
    """Raise OutputError for a file inside of a model folder: it would change what the statement is about."""
    if folder is not None and path.resolve().is_relative_to(Path(folder).resolve()):
        raise OutputError(
            f"{str(path)!r} is inside of the model folder {str(folder)!r}",
            expected="a file outside of it",
            remedy="name a file in another folder",
        )
