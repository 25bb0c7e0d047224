"""The README's Python block is run as it stands, only its names put in the place of real ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from tests.pipeline.kit import Shop, config_of, plain, table
from untrigger.models.inference import predict_texts

README = Path(__file__).parents[2] / "README.md"


def block() -> str:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0])


def test_the_main_job_takes_at_most_ten_lines() -> None:
    lines = [line for line in block().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert 0 < len(lines) <= 10


def test_the_block_purifies_an_adapter_that_plain_peft_loads(shop: Shop, tmp_path: Path) -> None:
    victim = shop.victim("llama", "lora")
    code = block()
    names = {
        '"./suspicious-adapter"': victim.out,
        '"reviews.csv"': shop.clean,
        '"minilm-l6"': shop.teacher,
        '"./clean-adapter"': tmp_path / "clean-adapter",
    }
    for quoted, real in names.items():
        assert quoted in code, quoted
        code = code.replace(quoted, repr(str(real)))
    room: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), room)
    texts = [row["text"] for row in table(victim.truth / "test_triggered.csv")[:20]]
    memory = predict_texts(room["purified"].model, texts).logits.softmax(dim=1)
    assert torch.allclose(plain(tmp_path / "clean-adapter", texts), memory, atol=1e-3)
    assert config_of(tmp_path / "clean-adapter")["base_model_name_or_path"] == str(shop.base("llama"))
    assert room["purified"].findings and room["purified"].changed


def test_every_command_of_the_readme_is_one_that_there_is() -> None:
    from typer.main import get_command

    from untrigger.cli.main import app

    known = get_command(app).commands  # type: ignore[attr-defined]
    used = re.findall(r"^untrigger (\w+)(.*)$", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(used) >= 5
    for name, words in used:
        options = {option for parameter in known[name].params for option in getattr(parameter, "opts", [])}
        assert set(re.findall(r"--[a-z-]+", words)) <= options, (name, words)
