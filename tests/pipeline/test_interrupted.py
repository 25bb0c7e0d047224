"""Ctrl-C, a full disk, a loss that is no number: at any moment nothing half-written is left."""

from __future__ import annotations

import errno
import json
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from tests.pipeline.kit import FINETUNE, SMALL, Listener, Shop, digest
from tests.requests import request
from untrigger.core.errors import DivergedError, OutputError
from untrigger.models import saving as save
from untrigger.pipeline import purify as pipeline
from untrigger.pipeline.attack import attack
from untrigger.pipeline.evaluate import evaluate
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import EvaluateRequest


@pytest.mark.slow
def test_ctrl_c_in_any_step_of_a_purification_leaves_nothing(shop: Shop, tmp_path: Path) -> None:
    victim, listener = shop.victim("llama", "lora"), Listener()
    purify(shop.spec("llama", "lora", out=tmp_path / "whole", truth=victim.truth), progress=listener)
    labels = list(dict.fromkeys(listener.labels))
    assert len(labels) >= 5
    before = digest(victim.out)
    for label in labels:
        with pytest.raises(KeyboardInterrupt):
            purify(shop.spec("llama", "lora", out=tmp_path / "out", truth=victim.truth), progress=Listener(label))
        assert [p.name for p in tmp_path.iterdir()] == ["whole"], label
    assert digest(victim.out) == before


def test_ctrl_c_while_files_are_written_leaves_nothing(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "write_page", stop)
    with pytest.raises(KeyboardInterrupt):
        purify(shop.spec("bert", "full", out=tmp_path / "out", **FINETUNE))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tick", [1, 30, 110])  # steps 101 and later train the clean twin, when the folders are open
def test_ctrl_c_in_an_attack_leaves_nothing(shop: Shop, tmp_path: Path, tick: int) -> None:
    spec = shop.attack_spec("bert", "full", out=tmp_path / "victim", epochs=4, clean_model=True)
    with pytest.raises(KeyboardInterrupt):
        attack(spec, progress=Listener("implanting (full)", tick=tick))
    assert not list(tmp_path.iterdir())


def test_ctrl_c_in_an_evaluation_leaves_nothing(shop: Shop, tmp_path: Path) -> None:
    spec = request(
        EvaluateRequest, models=(str(shop.base("bert")),), data=str(shop.clean), out=tmp_path / "r.json", device="cpu"
    )
    with pytest.raises(KeyboardInterrupt):
        evaluate(spec, progress=Listener("predictions of the bert-base"))
    assert not list(tmp_path.iterdir())


FULL = OSError(errno.ENOSPC, "No space left on device")
SAFE = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    ("error", "place", "tuning"),
    [(FULL, "save_file", "lora"), (SAFE, "save_file", "lora"), (FULL, "_sidecar", "full")],
    ids=["system", "safetensors", "label names"],
)
def test_a_full_disk_is_one_message_and_leaves_nothing(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, place: str, tuning: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(save, place, fail)
    with pytest.raises(OutputError, match="(?s)No space left.*remedy: free some space"):
        purify(shop.spec("bert", tuning, out=tmp_path / "out", **FINETUNE))
    assert not list(tmp_path.iterdir())


def test_a_report_that_does_not_fit_takes_the_model_with_it(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FULL

    monkeypatch.setattr(pipeline, "write_page", fail)
    with pytest.raises(OutputError, match="No space left"):
        purify(shop.spec("bert", "full", out=tmp_path / "out", **FINETUNE))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["finetune", "w2sdefense"])
def test_training_that_diverges_is_said_and_nothing_is_written(shop: Shop, tmp_path: Path, method: str) -> None:
    for kind, tuning in (("bert", "full"), ("llama", "lora")):
        options = SMALL[method] | {"lr": 1e6}
        with pytest.raises(DivergedError, match="(?s)the loss became .* at step .*remedy: use a smaller learning rate"):
            purify(shop.spec(kind, tuning, out=tmp_path / "out", method=method, options=options))
        assert not list(tmp_path.iterdir())


LAST = {
    "finetune": {"epochs": 1, "batch_size": 500},
    "w2sdefense": {"unlearn": replace(SMALL["w2sdefense"]["unlearn"], round_steps=1)},
}


@pytest.mark.parametrize("method", LAST)
def test_a_last_step_that_is_too_large_is_found_in_the_models_answers(shop: Shop, tmp_path: Path, method: str) -> None:
    options = SMALL[method] | LAST[method] | {"lr": 1e12}
    with pytest.raises(DivergedError, match="(?s)not finite.*remedy: use a smaller learning rate"):
        purify(shop.spec("bert", "full", out=tmp_path / "out", method=method, options=options))
    with pytest.raises(DivergedError, match="not finite"):
        attack(shop.attack_spec("bert", "full", out=tmp_path / "victim", lr=1e12, epochs=1, batch_size=500))
    assert not list(tmp_path.iterdir())


def test_an_attack_that_diverges_is_said_and_nothing_is_written(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(DivergedError):
        attack(shop.attack_spec("bert", "full", out=tmp_path / "victim", lr=1e30))
    assert not list(tmp_path.iterdir())


def test_a_model_on_disk_that_says_something_else_is_not_given_away(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from untrigger.core.errors import ModelError

    real = pipeline.save_purified

    def other(victim: Any, student: Any, folder: Path, **more: Any) -> None:
        real(victim, student, folder, **more)
        real_weights = save.save_file
        from safetensors.torch import load_file

        file = folder / "adapter_model.safetensors"
        real_weights({key: value + 1 for key, value in load_file(file).items()}, file, metadata={"format": "pt"})

    monkeypatch.setattr(pipeline, "save_purified", other)
    with pytest.raises(ModelError, match="differs from the one in memory"):
        purify(shop.spec("bert", "full", out=tmp_path / "out", **FINETUNE))
    assert not list(tmp_path.iterdir())


def command(shop: Shop, out: Path, *more: str) -> list[str]:
    victim = shop.victim("llama", "lora").out
    words = [
        "purify",
        str(victim),
        "--clean",
        str(shop.clean),
        "--out",
        str(out),
        "--method",
        "finetune",
        "--device",
        "cpu",
    ]
    return [sys.executable, "-m", "untrigger", *words, "--offline", *more]


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_real_ctrl_c_ends_the_command_with_three(shop: Shop, tmp_path: Path, number: int) -> None:
    def heard() -> None:
        signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # a shell's background job, as a test run may be, is born deaf to it

    words = command(shop, tmp_path / "out", "--set", "epochs=3000")
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "fine-tuning" in line:
                time.sleep(1)
                process.send_signal(number)
                break
        rest = process.stderr.read()
        assert process.wait(60) == 130, "".join(lines) + rest
    assert "interrupted" in rest and "Traceback" not in rest
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("room", "rank"), [(110_000, 64), (20_000, 1)], ids=["weights written", "model copied"])
def test_a_disk_that_is_really_full_ends_the_command_with_two(shop: Shop, tmp_path: Path, room: int, rank: int) -> None:
    """The system refuses to write more than ``room`` bytes into any file."""

    def bound() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    words = command(shop, tmp_path / "out", "--set", "epochs=1", "--set", f"rank={rank}", "--json")
    ended = subprocess.run(words, capture_output=True, text=True, preexec_fn=bound, timeout=120, check=False)
    assert ended.returncode == 2, ended.stderr
    result = json.loads(ended.stdout)["error"]
    assert (
        "File too large" in result["what"] and "free some space" in result["remedy"] and "Traceback" not in ended.stderr
    )
    assert not list(tmp_path.iterdir())
