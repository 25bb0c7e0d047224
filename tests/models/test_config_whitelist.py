"""Only known keys of a config pass: no code, no other files, nothing that rewrites the base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.models.kit import edit, load_here
from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.models.safety import limits
from untrigger.models.safety.model_folder import open_model_folder


@pytest.mark.parametrize(
    "changes",
    [
        {"Auto-Map": {"AutoModel": "evil.Evil"}},
        {"text_config": {"auto_map": {"AutoModel": "evil.Evil"}}},
        {"_attn_implementation": "someone/kernel"},
        {"attn_implementation": "someone/kernel:f"},
        {"text_config": [{"_attn_implementation_internal": "a/b"}]},
        {"transformers_weights": "other.safetensors"},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
    ],
)
def test_config_keys_for_code_or_other_files_are_refused_in_every_spelling(
    bert: Path, changes: dict[str, object]
) -> None:
    edit(bert / "config.json", **changes)
    with pytest.raises(UnsafeFileError):
        load_here(bert)


def test_a_key_that_stands_twice_is_refused(bert: Path) -> None:
    text = (bert / "config.json").read_text()
    (bert / "config.json").write_text('{"num_hidden_layers": 1, ' + text.lstrip()[1:])
    with pytest.raises(ModelError, match="occurs twice"):
        load_here(bert)


@pytest.mark.parametrize(
    "changes",
    [
        {"layer_replication": [[0, 1], [0, 2]]},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
        {"megatron_config": {"a": 1}},
        {"loftq_config": {"loftq_bits": 4}},
        {"corda_config": {"cache_file": "x"}},
        {"prompt_tuning_init_state_dict_path": "x.bin"},
        {"unheard_of": "x"},
    ],
)
def test_an_adapters_config_may_not_rewrite_the_base_or_open_files(adapter: Path, changes: dict[str, object]) -> None:
    edit(adapter / "adapter_config.json", **changes)
    with pytest.raises(UnsafeFileError, match=next(iter(changes))):
        load_here(adapter)


@pytest.mark.parametrize("kind", ["XLORA", "OSF", "POLY", "MULTITASK_PROMPT_TUNING", "LORE", None, 7])
def test_peft_methods_that_open_files_or_rewrite_the_base_are_refused(adapter: Path, kind: object) -> None:
    edit(adapter / "adapter_config.json", peft_type=kind)
    with pytest.raises(ModelError, match="PEFT method"):
        load_here(adapter)


def test_what_says_how_training_began_does_not_pass_on(adapter: Path) -> None:
    edit(
        adapter / "adapter_config.json",
        auto_mapping={"base_model_class": "Evil", "parent_library": "os"},
        megatron_core="os",
    )
    folder = open_model_folder(adapter)
    kept = json.loads((folder.path / "adapter_config.json").read_text())
    assert not {"auto_mapping", "megatron_core"} & kept.keys()
    assert load_here(adapter).source.kind == "adapter"


def test_a_pattern_that_backtracks_for_hours_ends_in_time(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATTERN_SECONDS", 1.0)
    edit(adapter / "adapter_config.json", target_modules=r"(([a-z._0-9]+)+)+~")
    with pytest.raises(UnsafeFileError, match="not matched within"):
        load_here(adapter)
    for key in ("rank_pattern", "n_frequency_pattern", "block_size_pattern"):
        edit(adapter / "adapter_config.json", target_modules=["query"], **{key: {r"(([a-z._0-9]+)+)+~": 4}})
        with pytest.raises(UnsafeFileError, match="not matched within"):
            load_here(adapter)
    edit(adapter / "adapter_config.json", target_modules="(")
    with pytest.raises(ModelError, match="not a regular expression"):
        load_here(adapter)
    edit(adapter / "adapter_config.json", target_modules="a" * (limits.PATTERN_LENGTH + 1))
    with pytest.raises(UnsafeFileError, match="more than"):
        load_here(adapter)
