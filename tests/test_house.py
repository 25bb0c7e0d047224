"""The house's own rules: who may import whom, who may print, who may seed, what an import loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "untrigger"
FILES = sorted(SOURCE.rglob("*.py"))
ROOMS = ("attacks", "defences", "pipeline", "cli", "evaluation", "reporting")
MAY_NOT = {
    "vocabulary": (*ROOMS, "models", "training", "search", "data", "assets"),
    "assets": (*ROOMS, "models", "training", "search"),
    "data": (*ROOMS, "models", "training", "search"),
    "models": (*ROOMS, "search", "data"),
    "training": (*ROOMS, "search", "data"),
    "search": ROOMS,
    "attacks": ("defences", "pipeline", "cli", "evaluation", "reporting", "search"),
    "defences": ("attacks", "pipeline", "cli", "evaluation", "reporting"),
    "scanning": ("attacks", "pipeline", "cli", "evaluation", "reporting"),
    "evaluation": ("pipeline", "cli", "defences"),
    "reporting": ("attacks", "defences", "pipeline", "cli", "models", "training", "search"),
    "protocols": (*ROOMS, "models", "training", "search", "zoo"),
    "pipeline": ("cli", "zoo"),
    "zoo": ("cli",),
}


def room_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, those inside functions too, those for type checkers alone left out."""
    tree = tree_of(file)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: a relative import"
            yield node.lineno, node.module
            if node.module == "untrigger":
                yield from ((node.lineno, f"untrigger.{name.name}") for name in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


def test_there_is_a_house_to_look_at() -> None:
    assert len(FILES) > 50
    assert {"attacks", "cli", "defences", "models", "pipeline", "vocabulary"} <= {room_of(file) for file in FILES}


@pytest.mark.parametrize("room", sorted(MAY_NOT))
def test_dependencies_point_one_way(room: str) -> None:
    forbidden = {f"untrigger.{name}" for name in MAY_NOT[room]}
    wrong = [
        f"{file.relative_to(SOURCE)}:{line} imports {name}"
        for file in FILES
        if room_of(file) == room
        for line, name in imports(file)
        if ".".join(name.split(".")[:2]) in forbidden
    ]
    assert not wrong, "\n".join(wrong)


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
        if room_of(file) in ("defences", "scanning", "search", "training")
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


def test_files_stay_small() -> None:
    long = {str(file.relative_to(SOURCE)): n for file in FILES if (n := len(file.read_text().splitlines())) > 400}
    assert not long
