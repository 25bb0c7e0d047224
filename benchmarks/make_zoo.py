"""Make every member of the zoo and write the receipts that `untrigger zoo list` shows.

    python benchmarks/make_zoo.py [--out runs/zoo] [--only badnets-dirty,benign-mr]
    python benchmarks/make_zoo.py --out runs/zoo --index-only

Resumable: a member that is in the folder is not made again, and the index is written after each.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

from untrigger import zoo
from untrigger.zoo import members
from untrigger.zoo.make import make

SHIPPED = Path(members.__file__).parent / members.INDEX
log = logging.getLogger("zoo")


def write_index(home: Path) -> int:
    """Write the index: receipts made here, and shipped ones whose recipe is unchanged. Return the number of members in it."""
    receipts = {one.recipe.name: one.receipt for one in zoo.list_members(home=home) if one.receipt}
    SHIPPED.write_text(json.dumps(receipts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return len(receipts)


def main() -> None:
    """Make the requested members that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="the members are written to its folder zoo")
    parser.add_argument("--only", default=",".join(zoo.RECIPES))
    parser.add_argument("--index-only", action="store_true", help="only write the index of what is there")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    for name in [] if args.index_only else args.only.split(","):
        start = time.perf_counter()
        make(name, home=args.out)
        one = zoo.member(name, home=args.out)
        figures = {metric: one.value(metric) for metric in ("cacc", "asr", "excess_asr")}
        log.info("%s: %.0f s, %d bytes, %s", name, time.perf_counter() - start, one.receipt["bytes"], figures)
        write_index(args.out)
    log.info("%d of %d members are in %s", write_index(args.out), len(zoo.RECIPES), SHIPPED)


if __name__ == "__main__":
    main()
