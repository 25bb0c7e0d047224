"""The Python blocks of the README and of the API page are run as they stand, only their names put in the place of real ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.pipeline.generation_kit import Speakers
from tests.pipeline.kit import Shop, config_of, plain, table
from untrigger.models.inference import predict_texts

README = Path(__file__).parents[2] / "README.md"
API = Path(__file__).parents[2] / "docs" / "python-api.md"


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def block() -> str:
    blocks = python_blocks(README)
    assert len(blocks) == 1
    return str(blocks[0])


def run(code: str, names: dict[str, Path], page: str) -> dict[str, Any]:
    """Run the code with real paths in the place of its names, and return what it defines."""
    for quoted, real in names.items():
        assert quoted in code, quoted
        code = code.replace(quoted, repr(str(real)))
    room: dict[str, Any] = {}
    exec(compile(code, page, "exec"), room)
    return room


def test_the_main_job_takes_at_most_ten_lines() -> None:
    lines = [line for line in block().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert 0 < len(lines) <= 10


def test_the_block_purifies_an_adapter_that_plain_peft_loads(shop: Shop, tmp_path: Path) -> None:
    victim = shop.victim("llama", "lora")
    names = {
        '"./suspicious-adapter"': victim.out,
        '"reviews.csv"': shop.clean,
        '"minilm-l6"': shop.teacher,
        '"./clean-adapter"': tmp_path / "clean-adapter",
    }
    room = run(block(), names, "README.md")
    texts = [row["text"] for row in table(victim.truth / "test_triggered.csv")[:20]]
    memory = predict_texts(room["purified"].model, texts).logits.softmax(dim=1)
    assert torch.allclose(plain(tmp_path / "clean-adapter", texts), memory, atol=1e-3)
    assert config_of(tmp_path / "clean-adapter")["base_model_name_or_path"] == str(shop.base("llama"))
    assert room["purified"].findings and room["purified"].changed


def test_the_examples_of_the_api_page_are_one_script(
    shop: Shop, speakers: Speakers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = shop.victim("llama", "lora")
    names = {
        '"./suspicious-adapter"': victim.out,
        '"reviews.csv"': shop.clean,
        '"train.csv"': shop.data,
        '"minilm-l6"': shop.teacher,
        '"./clean-adapter"': tmp_path / "clean-adapter",
        '"./victim.truth"': victim.truth,
        '"./evaluation.json"': tmp_path / "evaluation.json",
        '"./suspicious-chat-adapter"': speakers.adapter().out,
    }
    room = run("\n".join(python_blocks(API)), names, "python-api.md")
    assert room["scanned"].verdict.status in {"suspicious", "backdoored", "undecided"}
    assert room["purified"].changed
    assert len(room["detection"].scores) == len(room["suspect"]) > 100
    subjects = {one.subject for one in room["report"].measurements}
    assert {victim.out.name, "clean-adapter", "clean"} <= subjects
    assert room["poisoned"].truth.poisoned_ids
    assert "not measured" not in capsys.readouterr().out


def test_every_command_of_the_readme_is_one_that_there_is() -> None:
    from typer.main import get_command

    from untrigger.cli.main import app

    known = get_command(app).commands  # type: ignore[attr-defined]
    used = re.findall(r"^untrigger (\w+)(.*)$", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(used) >= 5
    for name, words in used:
        options = {option for parameter in known[name].params for option in getattr(parameter, "opts", [])}
        assert set(re.findall(r"--[a-z-]+", words)) <= options, (name, words)
