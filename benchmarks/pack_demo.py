"""Pack a victim of a demo's recipe and its clean model as the files that the demo ships.

python benchmarks/pack_demo.py runs/w2sdefense/victims/smollm2-badnets-0    # of untrigger.pipeline.demo.RECIPE
python benchmarks/pack_demo.py --chat untrigger-demo/victim                 # of untrigger demo --chat --from-scratch
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

from untrigger.models.saving import name_base
from untrigger.pipeline import demo, demo_chat

KEPT = ("adapter_config.json", "adapter_model.safetensors", "untrigger.json", "README.md")
PACKAGE = Path(demo.__file__).parent.parent


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("victim", type=Path)
    parser.add_argument("--chat", action="store_true")
    options = parser.parse_args()
    victim, recipe = options.victim, demo_chat.RECIPE if options.chat else demo.RECIPE
    home = PACKAGE / (demo_chat.SHIPPED if options.chat else demo.SHIPPED)
    shutil.rmtree(home, ignore_errors=True)
    for name, source in (("victim", victim), ("clean-model", victim.with_name(victim.name + ".truth") / "clean-model")):
        (home / name).mkdir(parents=True)
        for file in KEPT:
            shutil.copy(source / file, home / name / file)
        name_base(home / name, recipe.model.name)
    weights = [f"{name}/adapter_model.safetensors" for name in ("victim", "clean-model")]
    facts = {key: value for key, value in asdict(recipe).items() if key not in ("out", "run", "behaviour")}
    facts["trigger"] = recipe.trigger.to_dict()
    content = {
        "recipe": facts,
        "sha256": {name: hashlib.sha256((home / name).read_bytes()).hexdigest() for name in weights},
    }
    (home / "recipe.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
