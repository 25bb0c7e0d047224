"""What the weights say: the spectrum without the product, the rows that moved, and files that are never opened."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.core.scan_result import Evidence
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier
from untrigger.models.safety.model_folder import open_model_folder
from untrigger.models.safety.tensor_files import Tensors
from untrigger.models.saving import save_classifier
from untrigger.scanners.weights.embedding_rows import moved, outliers
from untrigger.scanners.weights.spectrum import alignment, of_lora, of_update
from untrigger.scanners.weights.weight_evidence import Weighed
from untrigger.scanners.weights.weight_evidence import weigh as weigh_folder


def weigh(folder: Path, *, base: Path | None = None, **limits: dict[str, float]) -> Weighed:
    return weigh_folder(open_model_folder(folder), base=open_model_folder(base) if base else None, **limits)


def figure(weighed: Weighed, name: str) -> Evidence:
    return next(one for one in weighed.evidence if one.name == name)


@pytest.mark.parametrize("shape", [(40, 30, 4), (8, 50, 8), (50, 8, 3)])
def test_the_spectrum_of_lora_is_that_of_the_product(shape: tuple[int, int, int]) -> None:
    out, into, rank = shape
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(rank, into, generator=draw), torch.randn(out, rank, generator=draw)
    left, values, _ = torch.linalg.svd(b @ a, full_matrices=False)
    p = values[:rank] / values[:rank].sum()
    found = of_lora(a, b)
    assert found is not None
    assert found.share == pytest.approx(float(values[0] ** 2 / values.square().sum()), rel=1e-4)
    assert found.rank == pytest.approx(float(torch.exp(-(p * p.log()).sum())), rel=1e-3)
    assert abs(float(found.direction @ left[:, 0])) == pytest.approx(1.0, abs=1e-3)


def test_one_direction_has_all_the_share_and_none_has_no_spectrum() -> None:
    one = of_lora(torch.ones(4, 10), torch.ones(6, 4))
    assert one is not None and one.share == pytest.approx(1.0) and one.rank == pytest.approx(1.0, abs=1e-2)
    assert of_lora(torch.ones(4, 10), torch.zeros(6, 4)) is None
    assert of_update(torch.zeros(5, 5)) is None


def test_the_largest_part_of_a_full_update_is_found_without_all_of_it() -> None:
    draw = torch.Generator().manual_seed(1)
    delta = torch.randn(60, 40, generator=draw) + 9 * torch.outer(torch.ones(60), torch.ones(40)) / 40
    left, values, _ = torch.linalg.svd(delta)
    found = of_update(delta)
    assert found is not None
    assert found.share == pytest.approx(float(values[0] ** 2 / values.square().sum()), rel=1e-3)
    assert found.rank == pytest.approx(float(values.square().sum() / values[0] ** 2), rel=1e-3)
    assert alignment(found.direction, torch.stack([left[:, 0], -left[:, 0]])) == pytest.approx(1.0, abs=1e-3)
    assert alignment(left[:, 0], torch.stack([left[:, 5], -left[:, 5]])) == pytest.approx(0.0, abs=1e-3)


def test_rows_that_stand_out_are_named() -> None:
    table = torch.ones(50, 8)
    table += 0.01 * torch.randn(50, 8, generator=torch.Generator().manual_seed(2))
    odd = table.clone()
    odd[7] *= 3
    assert outliers(odd)[0] > 10 > outliers(table)[0]
    assert outliers(odd)[1][0] == 7
    shifted = table + 0.001
    shifted[3] += 1.0
    lead, rows = moved(shifted, table)
    assert lead is not None and lead > 100 and rows[0] == 3
    assert moved(table, table) == (None, [])
    assert moved(shifted, table[:40])[1][0] == 3, "a vocabulary that grew is compared as far as both go"


def test_the_words_that_training_moved_are_decoded(
    trained_folder: Callable[[str, bool], Path], folder_of: Callable[[str], Path]
) -> None:
    """The tiny vocabulary has no crowd of untouched words, so only what is decoded is claimed, not where ``cf`` stands."""
    found = weigh(trained_folder("bert", True), base=folder_of("bert"))
    assert found.kind == "full"
    assert len(found.moved) == 8 and all(word.strip() for word in found.moved)
    assert figure(found, "embedding_row_lead").words == found.moved
    assert figure(found, "top_singular_share").value is not None
    alone = weigh(trained_folder("bert", True))
    assert not alone.moved and not alone.curves
    assert {one.name for one in alone.evidence} == {"embedding_norm_outlier", "head_row_ratio"}
    assert weigh(folder_of("bert"), base=folder_of("bert")).moved == [], "what did not move has no words"


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_an_adapter_is_weighed_layer_by_layer_without_its_base(
    load: Callable[[str], Classifier], tmp_path: Path, kind: str
) -> None:
    model = attach(load(kind), AdapterOptions(rank=4), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, parameter in model.module.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    save_classifier(model, tmp_path, card="")
    found = weigh(tmp_path)
    share, rank = figure(found, "top_singular_share"), figure(found, "effective_rank")
    assert found.kind == "adapter"
    assert share.value is not None and 0.25 <= share.value <= 1
    assert rank.value is not None and 1 <= rank.value <= 4
    layers = sum(name.endswith("lora_A.weight") for name in Tensors(open_model_folder(tmp_path)))
    assert [len(curve.x) for curve in found.curves] == [layers, layers]
    assert figure(found, "top_singular_share_median").place == f"{layers} layers"
    assert figure(found, "head_row_ratio").value is not None


def test_limits_mark_what_reaches_them(folder_of: Callable[[str], Path]) -> None:
    found = weigh(folder_of("bert"), limits={"head_row_ratio": 0.5, "embedding_norm_outlier": 1e9})
    assert figure(found, "head_row_ratio").unusual
    assert not figure(found, "embedding_norm_outlier").unusual
    assert not any(one.unusual for one in weigh(folder_of("bert")).evidence)
    assert not found.unchecked and weigh(
        folder_of("bert"), limits={"embedding_row_lead": 1.0, "not_finite": 1.0}
    ).unchecked == ["embedding_row_lead"]


def test_a_base_of_another_architecture_is_refused(folder_of: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match="no tensor in common"):
        weigh(folder_of("bert"), base=folder_of("llama"))


def copied(source: Path, folder: Path) -> Path:
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was opened",))


def test_pickles_and_programs_beside_the_weights_are_named_and_not_opened(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied(folder_of("bert"), tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    (folder / "training_args.bin").write_bytes(pickle.dumps(Bomb()))
    (folder / "modeling_odd.py").write_text("raise SystemExit('run')", encoding="utf-8")
    refused = weigh(folder).refused
    assert [line.partition(":")[0] for line in refused] == ["modeling_odd.py", "pytorch_model.bin", "training_args.bin"]
    assert not weigh(folder_of("bert")).refused
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "weights.json").write_bytes(pickle.dumps(Bomb()))
    assert "deep/er/weights.json: pickle, opening it can run code" in weigh(folder).refused, "by content, at any depth"
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnsafeFileError, match=r"pytorch_model\.bin"):
        weigh(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "special_tokens_map.json"])
def test_a_config_that_asks_for_code_is_refused_by_name(
    folder_of: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    folder = copied(folder_of("bert"), tmp_path / "model")
    result = json.loads((folder / name).read_text(encoding="utf-8")) if (folder / name).exists() else {}
    (folder / name).write_text(json.dumps({**result, "auto_map": {"AutoModel": "modeling_odd.Odd"}}), encoding="utf-8")
    with pytest.raises(UnsafeFileError, match="remote code") as caught:
        weigh(folder)
    assert name in str(caught.value)


def test_a_broken_file_and_half_an_adapter_are_refused(
    folder_of: Callable[[str], Path], load: Callable[[str], Classifier], tmp_path: Path
) -> None:
    folder = copied(folder_of("bert"), tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        weigh(folder)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_classifier(attach(load("bert"), AdapterOptions(rank=2)), adapter, card="")
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    first = next(name for name in tensors if name.endswith("lora_B.weight"))
    save_file({name: value for name, value in tensors.items() if name != first}, file)
    with pytest.raises(ModelError, match="without a"):
        weigh(adapter)
    save_file(tensors | {first: torch.zeros(5, 7)}, file)
    with pytest.raises(ModelError, match="without a"):
        weigh(adapter)


def test_what_is_no_number_is_evidence_and_no_crash(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied(folder_of("bert"), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    name = next(key for key in tensors if key.endswith("word_embeddings.weight"))
    tensors[name][3, 3] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    found = weigh(folder, base=folder_of("bert"))
    assert figure(found, "not_finite").value == 1.0
    assert figure(found, "not_finite").place == name
    assert not found.refused
