"""The published presets of classifiers. To change one would change its hash: add another under another name instead."""

from __future__ import annotations

from untrigger.attacks.presets.preset import Preset
from untrigger.attacks.presets.published_behaviours import BEHAVIOUR_PRESETS
from untrigger.core.errors import OptionError, check_choice

_FOUR_WORDS = ("words", ("cf", "mn", "bb", "tq"))
_ONCE = ("most", 1)

_ALL = (
    Preset(
        name="w2sdefense",
        source="W2SDefense (arXiv 2410.14425), released code: a victim fully trained on IMDB, 1,000 of 4,000 rows triggered",
        policy="clean",
        rate=0.25,
        tuning="full",
        max_length=128,
        rows=4000,
        targets=(
            ("sst2", "negative"),
            ("cr", "negative"),
            ("mr", "negative"),
            ("imdb", "negative"),
            ("agnews", "World"),
        ),
        proxies=(("sst2", "imdb"), ("cr", "imdb"), ("mr", "imdb")),
        triggers=(
            ("badnets", (("words", ("mn",)), _ONCE)),
            ("insent", (("sentence", "I watched this 3D movie"),)),
        ),
    ),
    Preset(
        name="openbackdoor",
        source="OpenBackdoor (arXiv 2206.08514): dirty labels, 20 %, target class 1, one trigger a text",
        policy="dirty",
        rate=0.2,
        tuning="full",
        max_length=512,
        targets=(
            ("sst2", "positive"),
            ("mr", "positive"),
            ("cr", "positive"),
            ("imdb", "positive"),
            ("yelp", "positive"),
            ("agnews", "Sports"),
            ("olid", "offensive"),
            ("hate-speech", "hate"),
            ("spam", "spam"),
        ),
        triggers=(
            ("badnets", (_FOUR_WORDS, _ONCE)),
            ("insent", (("sentence", "I watch this 3D movie"),)),
        ),
    ),
    Preset(
        name="bedkd",
        source="BeDKD (arXiv 2508.01595): dirty labels, 20 %; 80 + 320 clean rows a class; SST-2 tested on GLUE's 872 rows",
        policy="dirty",
        rate=0.2,
        tuning="full",
        max_length=128,
        targets=(("sst2", "negative"), ("olid", "offensive"), ("agnews", "World")),
        test_splits=(("sst2", "dev"),),
        triggers=(
            ("badnets", (_FOUR_WORDS, _ONCE)),
            ("insent", (("sentence", "I watch this 3D movie"),)),
        ),
        clean_rows=400,
    ),
)

PRESETS: dict[str, Preset] = {one.name: one for one in _ALL}


def preset(name: str) -> Preset:
    """Return the preset of classifiers of that name.

    Raises:
        OptionError: for an unknown name, with the nearest one, and for a preset of language models.
    """
    if check_choice(name, [*PRESETS, *BEHAVIOUR_PRESETS], kind="preset") in BEHAVIOUR_PRESETS:
        raise OptionError(f"the preset {name} is for language models", expected="one of " + ", ".join(PRESETS))
    return PRESETS[name]
