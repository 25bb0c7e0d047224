"""The public data sets of the literature by name: where they come from, and what their label numbers mean."""

from __future__ import annotations

from dataclasses import dataclass, field

SENTIMENT = ("negative", "positive")


@dataclass(frozen=True)
class PublicDataset:
    """One public data set of the literature.

    Attributes:
        name: its name here.
        description: one line about it.
        label_names: the classes in the order of the numbers that public files use.
        licence: the licence of its texts.
        aliases: folder names in public releases.
        asset: the embedded asset that holds it, if there is one.
        hub: its name on the hub, without ``hf:``.
        hub_revision: the revision on the hub, if the default one cannot be read without running code.
        hub_text_column: the text column on the hub, if it is not one of the usual names.
        hub_label_column: the label column on the hub, if it is not one of the usual names.
        published_sizes: rows of each split as published.
    """

    name: str
    description: str
    label_names: tuple[str, ...]
    licence: str
    aliases: tuple[str, ...] = ()
    asset: str | None = None
    hub: str | None = None
    hub_revision: str | None = None
    hub_text_column: str | None = None
    hub_label_column: str | None = None
    published_sizes: dict[str, int] = field(default_factory=dict)


_ALL = (
    PublicDataset(
        "sst2",
        "film review sentences (Socher et al. 2013, whole sentences)",
        SENTIMENT,
        "texts from public film reviews, research use",
        aliases=("sst-2", "SST-2"),
        hub="SetFit/sst2",
        published_sizes={"train": 6920, "dev": 872, "test": 1821},
    ),
    PublicDataset(
        "mr",
        "film review sentences (Pang and Lee 2005)",
        SENTIMENT,
        "texts from public film reviews, research use",
        aliases=("movie-reviews", "MR"),
        asset="rotten-tomatoes",
        hub="cornell-movie-review-data/rotten_tomatoes",
        published_sizes={"train": 8530, "dev": 1066, "test": 1066},
    ),
    PublicDataset(
        "cr",
        "product review sentences (Hu and Liu 2004)",
        SENTIMENT,
        "research use",
        aliases=("CR",),
        asset="customer-reviews",
        hub="SetFit/CR",
        published_sizes={"train": 3394, "test": 376},
    ),
    PublicDataset(
        "imdb",
        "whole film reviews (Maas et al. 2011)",
        SENTIMENT,
        "texts from public film reviews, research use",
        aliases=("IMDB",),
        asset="imdb",
        hub="stanfordnlp/imdb",
        published_sizes={"train": 25000, "test": 25000},
    ),
    PublicDataset(
        "yelp",
        "whole business reviews, polarity (Zhang et al. 2015)",
        SENTIMENT,
        "Yelp's data set terms, research use",
        aliases=("yelp-polarity", "yelp_polarity"),
        hub="fancyzhx/yelp_polarity",
        published_sizes={"train": 560000, "test": 38000},
    ),
    PublicDataset(
        "agnews",
        "news in four topics (Zhang et al. 2015)",
        ("World", "Sports", "Business", "Sci/Tech"),
        "non-commercial research use",
        aliases=("ag", "ag-news", "ag_news", "AG"),
        hub="fancyzhx/ag_news",
        published_sizes={"train": 120000, "test": 7600},
    ),
    PublicDataset(
        "olid",
        "tweets, offensive or not (Zampieri et al. 2019, OffensEval)",
        ("not offensive", "offensive"),
        "research use",
        aliases=("offenseval", "OLID"),
        hub="cardiffnlp/tweet_eval/offensive",
        published_sizes={"train": 11916, "dev": 1324, "test": 860},
    ),
    PublicDataset(
        "hate-speech",
        "sentences of a forum, hateful or not (de Gibert et al. 2018)",
        ("no hate", "hate"),
        "CC BY-SA 3.0",
        aliases=("hate_speech", "hate-speech18", "hs"),
        hub="odegiber/hate_speech18",
        hub_revision="refs/convert/parquet",
        published_sizes={"train": 7074, "dev": 1000, "test": 2000},
    ),
    PublicDataset(
        "hsol",
        "tweets: hate speech, offensive, neither (Davidson et al. 2017)",
        ("hate speech", "offensive", "neither"),
        "MIT",
        hub="tdavidson/hate_speech_offensive",
        hub_text_column="tweet",
        hub_label_column="class",
        published_sizes={"train": 24783},
    ),
    PublicDataset(
        "spam",
        "mail, wanted or not (Apache SpamAssassin public corpus)",
        ("ham", "spam"),
        "public corpus",
        aliases=("spam-assassin", "enron", "lingspam"),
        asset="spam-assassin",
    ),
)

PUBLIC_DATASETS: dict[str, PublicDataset] = {one.name: one for one in _ALL}
_BY_NAME = {name: one for one in _ALL for name in (one.name, *one.aliases)}


def find_public_dataset(name: str) -> PublicDataset | None:
    """Return the data set with this name or alias; None for any other name."""
    return _BY_NAME.get(name)
