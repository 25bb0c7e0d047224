"""What can be wrong with a folder: files that are missing, links, pipes, and files of other kinds."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

from tests.fuzz.edits import (
    PEFT_FILE,
    Edit,
    gone,
    instead,
    made,
    moved,
)

PICKLE = pickle.dumps({"a": 1})


def replaced(name: str) -> dict[str, Edit]:
    """What can stand where a file should be."""
    return {
        f"{name} missing": gone(name),
        f"{name} is a folder": instead(name, lambda p: p.mkdir()),
        f"{name} is a pipe": instead(name, os.mkfifo),
        f"{name} is a link to itself": instead(name, lambda p: p.symlink_to(p.name)),
        f"{name} is a link to nothing": instead(name, lambda p: p.symlink_to("nothing")),
        f"{name} is a link out": instead(name, lambda p: p.symlink_to(p.parent.parent / f"away-{p.name}")),
        f"{name} is a link to a device": instead(name, lambda p: p.symlink_to("/dev/zero")),
        f"{name} is a link within": lambda f, r: (moved(name, "inside")(f, r), (f / name).symlink_to("inside")),
        f"{name} in capitals": moved(name, name.upper()),
    }


FOLDER = {
    **replaced("config.json"),
    **replaced("model.safetensors"),
    **replaced("tokenizer.json"),
    **replaced("tokenizer_config.json"),
    "nobody may read the weights": lambda f, _: next(f.glob("*.safetensors")).chmod(0),
    "empty": lambda f, _: [one.unlink() for one in f.iterdir()],
    "adapter_config.json beside": made("adapter_config.json", {"peft_type": "LORA"}),
    "empty adapter_config.json beside": made("adapter_config.json"),
    "index beside": made("model.safetensors.index.json", {"weight_map": {"a": "model.safetensors"}}),
    "broken index beside": made("model.safetensors.index.json", "{"),
    "pickle beside": made("pytorch_model.bin", PICKLE),
    "pickle instead": lambda f, r: (
        moved("model.safetensors", "away.txt")(f, r),
        (f / "pytorch_model.bin").write_bytes(PICKLE),
    ),
    "pickle index instead": lambda f, r: (
        moved("model.safetensors", "away.txt")(f, r),
        made("pytorch_model.bin.index.json", {"weight_map": {"a": "b.bin"}})(f, r),
    ),
    "weights under another name": moved("model.safetensors", "weights.safetensors"),
    "weights of a variant": moved("model.safetensors", "model.fp16.safetensors"),
    "a variant beside": made("model.fp16.safetensors", b"x"),
    "code beside": made("modeling_bert.py", "raise SystemExit(1)"),
    "code in a folder beside": made("custom_generate/generate.py", "raise SystemExit(1)"),
    "generation_config.json broken": made("generation_config.json", "{"),
    "generation_config.json odd": made("generation_config.json", {"max_length": "x", "pad_token_id": 10**9}),
    "preprocessor_config.json odd": made("preprocessor_config.json", {"feature_extractor_type": "No"}),
    "processor_config.json odd": made(
        "processor_config.json", {"processor_class": "No", "auto_map": {"AutoProcessor": "e.E"}}
    ),
    "tokenizer.4.0.0.json beside": made("tokenizer.4.0.0.json", "{"),
    "vocab.txt in another order": made(
        "vocab.txt", "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bad", "good"])
    ),
    "vocab.json and merges.txt beside": lambda f, r: (
        made("vocab.json", {"a": 0})(f, r),
        made("merges.txt", "#version\na b")(f, r),
    ),
    "tokenizer.model beside": made("tokenizer.model", b"\x0a\x05garbage"),
    "spiece.model beside": made("spiece.model", b""),
    "tekken.json beside": made("tekken.json", {"config": {}}),
    "special_tokens_map.json contradicts": made("special_tokens_map.json", {"unk_token": "good", "pad_token": "bad"}),
    "special_tokens_map.json broken": made("special_tokens_map.json", "{"),
    "special_tokens_map.json a list": made("special_tokens_map.json", [1]),
    "added_tokens.json contradicts": made("added_tokens.json", {"cf": 5, "zz": 99}),
    "added_tokens.json beyond": made("added_tokens.json", {"zz": 10**9}),
    "added_tokens.json broken": made("added_tokens.json", "{"),
    "added_tokens.json odd": made("added_tokens.json", {"zz": "x"}),
    "chat_template.jinja broken": made("chat_template.jinja", "{{ x"),
    "chat_template.jinja no text": made("chat_template.jinja", b"\xff\xfe"),
    "additional_chat_templates beside": made("additional_chat_templates/a.jinja", "{{ x"),
    "300 files beside": lambda f, r: [made(f"stray/{i}.bin", PICKLE)(f, r) for i in range(300)],
    "a deep folder beside": made("/".join(["d"] * 60) + "/x.pkl", PICKLE),
    "a name that is no text": lambda f, _: Path(os.fsdecode(os.fsencode(f) + b"/\xff\n\x1b[31m.bin")).write_bytes(
        PICKLE
    ),
    "a link loop of folders": lambda f, _: (f / "loop").symlink_to(f),
    "a sparse file of 1 TB beside": lambda f, _: [(f / "big.bin").touch(), os.truncate(f / "big.bin", 10**12)],
    "consolidated.safetensors beside": made("consolidated.safetensors", b"x"),
    "tf_model.h5 beside": made("tf_model.h5", b"\x89HDF"),
    "README.md is a link out": lambda f, _: (f / "README.md").symlink_to("/etc/passwd"),
    "untrigger.json names the labels turned round": made("untrigger.json", {"label_names": ["positive", "negative"]}),
    "untrigger.json broken": made("untrigger.json", "{"),
    "untrigger.json max_length 3": made("untrigger.json", {"max_length": 3}),
    "untrigger.json max_length 10^12": made("untrigger.json", {"max_length": 10**12}),
    "untrigger.json is a link out": lambda f, _: (f / "untrigger.json").symlink_to("/etc/passwd"),
    "peft's folder within": made("adapter/adapter_config.json", {"peft_type": "LORA"}),
}
ADAPTER_FOLDER = {
    **replaced("adapter_config.json"),
    **replaced(PEFT_FILE),
    "a decoy beside a pickle": lambda f, r: (
        moved(PEFT_FILE, "adapter_model-decoy.safetensors")(f, r),
        (f / "adapter_model.bin").write_bytes(PICKLE),
    ),
    "a pickle beside": made("adapter_model.bin", PICKLE),
    "an adapter in a folder of its name": lambda f, r: [
        made("default/adapter_config.json", {"peft_type": "LORA"})(f, r)
    ],
    "full weights beside": lambda f, r: (
        made("config.json", {"model_type": "bert"})(f, r),
        made("model.safetensors", b"x")(f, r),
    ),
    "config.json beside": made("config.json", {"model_type": "gpt2", "vocab_size": 7}),
    "index beside": made("model.safetensors.index.json", {"weight_map": {}}),
    "shards of an adapter beside": made("adapter_model-00001-of-00002.safetensors", b"x"),
    "a tokenizer of its own, broken": made("tokenizer.json", "{"),
    "tokenizer_config.json alone": made("tokenizer_config.json", {"model_max_length": 3}),
    "the base is gone": lambda f, _: (f.parent / "base" / "config.json").unlink(),
    "the base is an adapter": lambda f, _: made("adapter_config.json", {"peft_type": "LORA", "task_type": "SEQ_CLS"})(
        f.parent / "base", _
    ),
}
