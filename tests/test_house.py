"""The house's own rules: who may import whom, who may print, who may seed, what an import loads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "untrigger"
FILES = sorted(SOURCE.rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


def test_there_is_a_house_to_look_at() -> None:
    assert len(FILES) > 50
    assert {"attacks", "cli", "core", "defences", "models", "pipeline"} <= {room_of(file) for file in FILES}


def test_rooms_import_downwards_and_in_no_circle() -> None:
    """The contracts of ``[tool.importlinter]`` over the whole import graph, imports for type checkers and in functions too."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=SOURCE.parent.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


def test_the_floor_plan_has_no_exceptions() -> None:
    plan = tomllib.loads((SOURCE.parent.parent / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert {one["type"] for one in plan["contracts"]} == {"layers", "acyclic_siblings"}
    assert not [key for one in plan["contracts"] for key in one if "ignore" in key or "skip" in key]
    layers = {room.strip() for one in plan["contracts"] for layer in one.get("layers", ()) for room in layer.split("|")}
    assert layers == {room_of(file) for file in FILES if file != SOURCE / "__init__.py"}


def test_no_two_modules_share_a_name() -> None:
    names = Counter(file.stem for file in FILES if file.stem != "__init__")
    rooms = {file.parent.name for file in FILES if file.stem == "__init__"}
    twice = sorted(name for name, count in names.items() if count > 1)
    assert not twice
    assert not sorted(set(names) & rooms)


def test_nobody_prints_but_the_command_line() -> None:
    assert not [
        str(file) for file in FILES if room_of(file) not in ("cli", "__main__") and calls(tree_of(file), "print")
    ]


def test_nobody_seeds_the_whole_process() -> None:
    """``torch.manual_seed`` only inside ``fork_rng``, and never ``random.seed`` or ``numpy.random.seed``."""
    wrong = []
    for file in FILES:
        tree = tree_of(file)
        forked = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.With) and any("fork_rng" in ast.unparse(item) for item in node.items)
            for inner in ast.walk(node)
        }
        wrong += [f"{file}:{c.lineno}" for c in calls(tree, "torch.manual_seed") if id(c) not in forked]
        for name in ("random.seed", "np.random.seed", "numpy.random.seed", "set_seed", "torch.cuda.manual_seed_all"):
            wrong += [f"{file}:{c.lineno} {name}" for c in calls(tree, name)]
    assert not wrong


def test_no_defence_mentions_what_only_the_evaluator_knows() -> None:
    words = ("poisoned_ids", "Truth", "is_poisoned", "test_triggered", "PoisonedDataset", "truth.json")
    wrong = [
        f"{file.name}: {word}"
        for file in FILES
        if room_of(file) in ("defences", "detectors", "inversion", "methods", "scanners", "training")
        for node in ast.walk(tree_of(file))
        for word in words
        if (isinstance(node, ast.Attribute) and node.attr == word) or (isinstance(node, ast.Name) and node.id == word)
    ]
    assert not wrong


@pytest.mark.parametrize("statement", ["import untrigger", "import untrigger.core.grant, untrigger.core.rows"])
def test_importing_loads_no_torch(statement: str) -> None:
    heavy = "{'torch', 'transformers', 'peft', 'datasets', 'matplotlib'}"
    code = f"import sys; {statement}; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(SOURCE.parent)},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


PRIVATE_WORDS = re.compile(
    r"(?<![a-z])(told|tells|anew|lent|glued|honest|honestly|calm|calmed|desk|seated|twin|armed|faithful|surest|shorn|thinned|"
    r"levelling|stirring|stubborn|strayed|wary|wholly|mend|mends|mended|parted|whoever)(?![a-z])"
)
"""Words that this package once used for ideas that the field has a name for; old option and key names stay in two tables."""
FORMER_NAMES = ("cli/renamed.py", "core/report_versions.py", "evaluation/ground_truth.py")


def test_the_words_are_those_of_the_field() -> None:
    texts = [*FILES, *SOURCE.rglob("*.j2")]
    wrong = [
        f"{file.relative_to(SOURCE)}:{number}: {found[0]}"
        for file in texts
        if str(file.relative_to(SOURCE)) not in FORMER_NAMES
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if (found := PRIVATE_WORDS.search(line.casefold().replace("_", " ")))
    ]
    assert not wrong, "\n".join(wrong)


def test_files_stay_small() -> None:
    long = {str(file.relative_to(SOURCE)): n for file in FILES if (n := len(file.read_text().splitlines())) > 400}
    assert not long
