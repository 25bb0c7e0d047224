"""Pack a victim of the recipe `untrigger.pipeline.demo.RECIPE` and its clean model as the files that the demo ships.

python benchmarks/pack_demo.py runs/w2sdefense/victims/smollm2-badnets-0
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

from untrigger.models.saving import name_base
from untrigger.pipeline import demo

KEPT = ("adapter_config.json", "adapter_model.safetensors", "untrigger.json", "README.md")
HOME = Path(demo.__file__).parent.parent / demo.SHIPPED


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("victim", type=Path)
    victim: Path = parser.parse_args().victim
    shutil.rmtree(HOME, ignore_errors=True)
    for name, source in (("victim", victim), ("clean-model", victim.with_name(victim.name + ".truth") / "clean-model")):
        (HOME / name).mkdir(parents=True)
        for file in KEPT:
            shutil.copy(source / file, HOME / name / file)
        name_base(HOME / name, demo.RECIPE.model.name)
    weights = [f"{name}/adapter_model.safetensors" for name in ("victim", "clean-model")]
    recipe = {key: value for key, value in asdict(demo.RECIPE).items() if key not in ("out", "device", "offline")}
    recipe["trigger"] = demo.RECIPE.trigger.to_dict()
    content = {
        "recipe": recipe,
        "sha256": {name: hashlib.sha256((HOME / name).read_bytes()).hexdigest() for name in weights},
    }
    (HOME / "recipe.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
