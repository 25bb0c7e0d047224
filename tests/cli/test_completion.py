"""A shell completes methods, presets and data sets, without loading torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from untrigger.attacks.presets import BEHAVIOUR_PRESETS, PRESETS
from untrigger.cli import completion
from untrigger.core.registry import FAMILIES, methods_of

SOURCE = Path(completion.__file__).parents[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_names_are_those_of_the_registry(family: Any) -> None:
    assert completion.method_names(family) == sorted(methods_of(family))


def test_words_are_completed_by_their_beginning() -> None:
    assert completion.purifiers("w2sdefense-as-d") == ["w2sdefense-as-described"]
    assert {*methods_of("defences"), *methods_of("language_defences")} == set(completion.purifiers(""))
    assert completion.detectors("") == sorted(methods_of("detectors"))
    assert completion.scanners("ins") == ["insertions"]
    assert completion.presets("") == sorted([*PRESETS, *BEHAVIOUR_PRESETS])
    assert {"mr", "imdb", "rotten-tomatoes"} <= set(completion.data_sets(""))
    assert "minilm-l6" not in completion.data_sets("") and completion.data_sets("./rows") == []


def test_a_list_is_completed_at_its_last_word() -> None:
    assert completion.triggers("badnets,ins") == ["badnets,insent"]
    assert "badnets,badnets" not in completion.triggers("badnets,")
    assert completion.purifiers("finetune,scan") == ["finetune,scancure"]
    assert completion.corpora("imdb,tw") == ["imdb,tweets"] and "auto" in completion.corpora("")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("untrigger purify victim --method scan", "scancure"),
        ("untrigger detect victim --method bedkd-as-r", "bedkd-as-released"),
        ("untrigger scan victim --method ", "insertions"),
        ("untrigger attack m --trigger inse", "insent"),
        ("untrigger attack m --preset ", sorted([*PRESETS, *BEHAVIOUR_PRESETS])[0]),
        ("untrigger attack m --data rotten", "rotten-tomatoes"),
        ("untrigger evaluate m --data im", "imdb"),
        ("untrigger purify m --unlabelled-from im", "imdb"),
        ("untrigger purify m --unlabelled rotten", "rotten-tomatoes"),
        ("untrigger doc", "doctor"),
    ],
)
def test_bash_gets_the_words_and_torch_is_not_loaded(line: str, expected: str) -> None:
    code = "import sys; from untrigger.cli.main import run\ntry: run()\nfinally: sys.exit(9) if 'torch' in sys.modules else None"
    words = line.split(" ")
    environment = {
        **os.environ,
        "PYTHONPATH": str(SOURCE),
        "_UNTRIGGER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert expected in done.stdout.split(), done.stderr
    assert done.returncode == 0


def test_the_script_for_a_shell_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "untrigger", "--show-completion", "bash"],
        capture_output=True,
        text=True,
        check=False,
        # Without this Typer takes the shell that started the process, and fails under one that it does not know, such as sh.
        env={**os.environ, "PYTHONPATH": str(SOURCE), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "_UNTRIGGER_COMPLETE=complete_bash" in done.stdout
    assert "-o default" in done.stdout, "paths, where no name fits"
