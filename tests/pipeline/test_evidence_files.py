"""Statements about real runs: their hashes are those of the files on disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.pipeline.kit import Shop
from tests.reporting.test_evidence_files import attested, bom_of
from untrigger.cli.main import main
from untrigger.reporting.model_files import purified_models


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_static_scan_names_the_files_of_model_and_base(shop: Shop, tmp_path: Path) -> None:
    victim, base = shop.victim("llama", "lora").out, shop.base("llama")
    statement, bom, out = (tmp_path / name for name in ("statement.json", "bom.json", "scan.json"))
    words = ["scan", str(victim), "--base", str(base), "--static-only", "--out", str(out), "--quiet", "--offline"]
    code = main([*words, "--attestation", str(statement), "--bom", str(bom)])
    made = json.loads(statement.read_text())
    assert made["predicate"]["untrigger"]["exitCode"] == code
    assert made["predicate"]["untrigger"]["report"]["digest"]["sha256"] == sha256(out)
    folders = {"model": victim, "base": base}
    for one in made["subject"]:
        role, _, name = one["name"].partition("/")
        assert one["digest"]["sha256"] == sha256(folders[role] / name)
    names = {one["name"] for one in made["subject"]}
    assert {"model/adapter_model.safetensors", "base/model.safetensors", "base/config.json"} <= names
    model = json.loads(bom.read_text())["metadata"]["component"]
    files = sorted(file["name"] for file in model["components"])
    lines = "".join(f"{sha256(victim / name)}  {name}\n" for name in files)  # as sha256sum prints them
    assert model["hashes"][0]["content"] == hashlib.sha256(lines.encode()).hexdigest()
    assert model["modelCard"]["modelParameters"]["architectureFamily"] == "llama"


def test_a_purification_is_about_the_written_files_and_the_base_they_need(shop: Shop) -> None:
    for kind, tuning in (("llama", "lora"), ("bert", "full")):
        done = shop.purified(kind, tuning, "finetune")
        models = purified_models(done.report, done.spec.out)
        assert [one.role for one in models] == (["model", "base", "input"] if tuning == "lora" else ["model", "input"])
        made = attested(done.report, models)
        subjects = {one["name"]: one["digest"]["sha256"] for one in made["subject"]}
        assert subjects["model/adapter_model.safetensors"] == sha256(done.spec.out / "adapter_model.safetensors")
        name = "adapter_model.safetensors" if tuning == "lora" else "model.safetensors"
        victim = sha256(done.victim.out / name)
        assert victim not in subjects.values()
        inputs = {one["name"]: one["digest"]["sha256"] for one in made["predicate"]["untrigger"]["inputs"]}
        assert inputs[f"input/{name}"] == victim
        configuration = {one["name"]: one["annotations"] for one in made["predicate"]["configuration"]}
        assert configuration["limits"]["excess_asr"] == 0.05
        bom = bom_of(done.report, models)
        assert bom["metadata"]["component"]["modelCard"]["modelParameters"]["architectureFamily"] == kind
        needed = {"ref": "model", "dependsOn": ["base" if tuning == "lora" else "input"]}
        assert needed in bom["dependencies"] and len(bom["components"]) == 1
