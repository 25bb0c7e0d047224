"""Models, adapters, teachers, methods and options that cannot be used: said at once, nothing computed, nothing left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.pipeline.kit import FINETUNE, Listener, Shop, digest
from tests.tiny import write_model
from untrigger.core.errors import ModelError, OptionError, OutputError, UnsafeFileError, UserError
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import PurifyRequest


def refused(spec: PurifyRequest, kind: type[UserError], *parts: str) -> None:
    """The purification ends with one message that has all the parts, before any work, and leaves nothing behind."""
    before, listener = digest(spec.out.parent), Listener()
    with pytest.raises(kind) as caught:
        purify(spec, progress=listener)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert digest(spec.out.parent) == before and not list(spec.out.parent.glob(".*"))
    assert not listener.labels, listener.labels


@pytest.fixture
def spec(shop: Shop, tmp_path: Path) -> Callable[..., PurifyRequest]:
    """A spec on a copy of a victim, to be spoilt; its output lies in a folder of its own."""
    (tmp_path / "here").mkdir()

    def make(kind: str = "bert", tuning: str = "full", **changes: Any) -> PurifyRequest:
        copy = shutil.copytree(shop.victim(kind, tuning).out, tmp_path / "copy", dirs_exist_ok=True)
        usual = {"model": str(copy), "out": tmp_path / "here" / "out"} | ({} if "method" in changes else FINETUNE)
        return shop.spec(kind, tuning, **usual | changes)

    return make


def edit(folder: Path, name: str, **changes: object) -> None:
    (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | changes))


Make = Callable[..., PurifyRequest]


def test_no_such_model(spec: Make, tmp_path: Path) -> None:
    refused(spec(model=str(tmp_path / "copi")), ModelError, "no model folder", "copi", "did you mean: copy")


def test_a_pickle_is_not_opened(spec: Make) -> None:
    asked = spec()
    folder = Path(asked.model.name)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused(asked, UnsafeFileError, "pytorch_model.bin", "can run code", "model.safetensors", "--allow-pickle")


def test_remote_code_is_not_run(spec: Make) -> None:
    asked = spec()
    edit(Path(asked.model.name), "config.json", auto_map={"AutoModel": "evil.Evil"})
    refused(asked, UnsafeFileError, "remote code", "auto_map", "remedy")


def test_weights_that_are_not_numbers(spec: Make) -> None:
    asked = spec()
    file = Path(asked.model.name) / "model.safetensors"
    weights = load_file(file)
    weights["classifier.weight"][0, 0] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})
    refused(asked, ModelError, "not numbers", "classifier.weight", "remedy")


def test_weights_that_are_cut_short(spec: Make) -> None:
    asked = spec()
    file = Path(asked.model.name) / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused(asked, ModelError, "not a safetensors file that can be read", "remedy")


def test_an_adapter_with_the_wrong_base(spec: Make, shop: Shop) -> None:
    refused(spec("llama", "lora", base=str(shop.base("bert"))), ModelError, "does not fit its base", "--base")


def test_an_adapter_whose_base_is_gone(spec: Make) -> None:
    asked = spec("llama", "lora")
    edit(Path(asked.model.name), "adapter_config.json", base_model_name_or_path="/nowhere/base")
    refused(asked, ModelError, "/nowhere/base", "--base")


def test_an_adapter_finds_its_base_where_base_says(spec: Make, shop: Shop) -> None:
    asked = spec("llama", "lora", base=str(shop.base("llama")))
    edit(Path(asked.model.name), "adapter_config.json", base_model_name_or_path="/nowhere/base")
    purify(asked)
    result = json.loads((asked.out / "adapter_config.json").read_text())
    assert result["base_model_name_or_path"] == str(shop.base("llama").resolve())


@pytest.mark.parametrize("method", ["finetune", "w2sdefense"])
@pytest.mark.parametrize("peft", ["dora", "ia3", "ln_tuning"])
def test_a_student_that_fits_into_no_single_adapter_is_refused_before_training(
    spec: Make, peft: str, method: str
) -> None:
    refused(spec("llama", "lora", method=method, options={"peft": peft}), ModelError, peft, "peft=lora", "--merge")


@pytest.mark.parametrize("peft", ["dora", "ia3"])
def test_such_a_student_is_welcome_with_merge(spec: Make, peft: str) -> None:
    asked = spec("llama", "lora", method="finetune", options=FINETUNE["options"] | {"peft": peft}, merge=True)
    purify(asked)
    assert (asked.out / "model.safetensors").exists()


def test_unknown_words_come_with_the_nearest_known_one(spec: Make) -> None:
    refused(spec(method="w2sdefence", options={}), OptionError, "'w2sdefence'", "finetune", "did you mean: w2sdefense")
    refused(
        spec(method="w2sdefense", variant="as_descibed", options={}),
        OptionError,
        "'as_descibed'",
        "did you mean: as_described",
    )
    refused(spec(method="finetune", options={"epoch": 3}), OptionError, "'epoch'", "did you mean: epochs")
    refused(spec(method="finetune", options={"peft": "lorra"}), OptionError, "'lorra'", "did you mean: lora")
    refused(spec(device="cud"), OptionError, "'cud'", "did you mean: cuda")


def test_a_teacher_that_is_missing_or_unsafe_is_seen_before_any_work(spec: Make, shop: Shop, tmp_path: Path) -> None:
    refused(
        spec(method="w2sdefense", teacher="minilm-16"),
        ModelError,
        "teacher 'minilm-16'",
        "did you mean: minilm-l6",
        "--teacher",
    )
    refused(spec(method="w2sdefense", teacher=str(tmp_path / "gone")), ModelError, "the teacher", "gone", "--teacher")
    bad = Path(shutil.copytree(shop.teacher, tmp_path / "bad"))
    edit(bad, "config.json", auto_map={"AutoModel": "evil.Evil"})
    refused(spec(method="w2sdefense", teacher=str(bad)), ModelError, "the teacher", "remote code")


def test_a_method_without_need_of_a_teacher_asks_for_none(spec: Make) -> None:
    report = purify(spec(teacher="no-such-teacher", verify=False))
    assert "teacher" not in report.given["defender"]


def test_a_teacher_for_the_scan_of_the_result_must_be_there(spec: Make) -> None:
    refused(spec(teacher="no-such-teacher"), ModelError, "no-such-teacher", "--teacher")


def test_a_truth_of_other_classes_or_none_at_all(spec: Make, shop: Shop, tmp_path: Path) -> None:
    refused(spec(truth=tmp_path), UserError, "not a truth folder", "truth.json", "remedy")
    truth = Path(shutil.copytree(shop.victim("bert", "full").truth, tmp_path / "truth"))
    edit(truth, "truth.json", label_names=["cats", "dogs"])
    refused(spec(truth=truth), UserError, "cats", "negative")


def test_a_folder_that_is_there_is_left_byte_for_byte(spec: Make) -> None:
    asked = spec()
    asked.out.mkdir()
    (asked.out / "precious").write_text("mine")
    refused(asked, OutputError, "there already", "a new folder", "remedy")
    assert (asked.out / "precious").read_text() == "mine"


def test_a_place_below_a_file_is_refused_before_any_work(spec: Make, tmp_path: Path) -> None:
    (tmp_path / "here" / "file").write_text("mine")
    listener = Listener()
    with pytest.raises(OutputError, match="(?s)not a folder.*remedy"):
        purify(replace(spec(), out=tmp_path / "here" / "file" / "out"), progress=listener)
    assert not listener.labels and (tmp_path / "here" / "file").read_text() == "mine"


def test_a_llama_keeps_the_tokenizer_that_it_came_with_and_gets_its_names_from_the_user(
    shop: Shop, tmp_path: Path
) -> None:
    """No pad token is made up for it, and names of the classes come only from the user."""
    folder = write_model("llama", tmp_path / "llama", names=("LABEL_0", "LABEL_1"))
    assert not json.loads((folder / "tokenizer_config.json").read_text()).get("pad_token")
    before = digest(folder)
    spec = shop.spec(
        "llama", "full", model=str(folder), labels=("negative", "positive"), out=tmp_path / "out", **FINETUNE
    )
    report = purify(spec)
    assert report.given["labels"] == ["negative", "positive"] and digest(folder) == before
    assert not json.loads((tmp_path / "out" / "tokenizer_config.json").read_text()).get("pad_token")
    assert "one text at a time, or pad with a token that ends no text" in (tmp_path / "out" / "README.md").read_text()
