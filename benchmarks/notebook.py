"""Run the notebook of the documentation, keep its outputs, and draw the two figures of its run; as a hook of mkdocs, show it.

    python benchmarks/notebook.py [--work FOLDER]      `make notebook`; needs `pip install '.[notebook]'`

Writes ``docs/notebooks/walkthrough.ipynb`` with its outputs, ``docs/images/scan-ranking.svg`` and ``docs/images/purification.svg``.
The scan, the purification and their reports stay in FOLDER.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"
NOTEBOOK = DOCS / "notebooks" / "walkthrough.ipynb"


def code_sha256(notebook: dict[str, Any]) -> str:
    """The SHA-256 over the code cells, which says that the outputs are of this code."""
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def execute(work: Path) -> None:
    """Run every cell in order and write the notebook with its outputs; temporary folders lie in ``work``."""
    os.environ["PYTHONWARNINGS"] = "ignore"  # of tqdm, which misses its widgets
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    work.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "TMPDIR": str(work.resolve())}
    NotebookClient(notebook, timeout=None, record_timing=False).execute(cwd=str(work), env=env)
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
        "untrigger": {"code_sha256": code_sha256(notebook)},
    }
    nbformat.validate(notebook)
    nbformat.write(notebook, NOTEBOOK)


def on_files(files: Any, config: Any) -> Any:
    """Add the notebook to the site as a page (an event of mkdocs)."""
    from mkdocs.structure.files import File
    from nbconvert import MarkdownExporter

    name = NOTEBOOK.relative_to(DOCS)
    body, resources = MarkdownExporter().from_filename(str(NOTEBOOK))
    files.append(File.generated(config, name.with_suffix(".md").as_posix(), content=body))
    for image, content in resources["outputs"].items():
        files.append(File.generated(config, (name.parent / image).as_posix(), content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to the notebook lead to its page (an event of mkdocs)."""
    return markdown.replace(f"{NOTEBOOK.name})", f"{NOTEBOOK.stem}.md)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for the models and reports; by default a temporary one")
    work = parser.parse_args().work or Path(tempfile.mkdtemp(prefix="untrigger-notebook-"))
    execute(work)
    sys.path.insert(0, str(Path(__file__).parent))
    from figures import draw_purification, draw_ranking

    made = max(work.glob("tmp*"), key=lambda folder: folder.stat().st_mtime)
    draw_ranking(made / "scan.json", DOCS / "images" / "scan-ranking.svg")
    draw_purification(made / "purified" / "report.json", DOCS / "images" / "purification.svg")
    print(f"wrote {NOTEBOOK.name} and two figures; models and reports are in {made}")


if __name__ == "__main__":
    main()
