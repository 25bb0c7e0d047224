"""The data sets of the literature by name: what they are called, where they come from, what their numbers mean."""

from __future__ import annotations

from dataclasses import dataclass, field

SENTIMENT = ("negative", "positive")


@dataclass(frozen=True)
class DataSet:
    """One data set of the literature.

    Attributes:
        name: what it is called here.
        what: one line about it.
        label_names: the classes in the order of the numbers that public files use.
        licence: under which its texts may be used.
        aliases: what public releases call its folder.
        embedded: the asset that holds it, where there is one.
        hub: the hub's name for it, without ``hf:``.
        revision: the hub's revision, where the usual one cannot be read without running code.
        text: the hub's text column, where it is not one that is guessed.
        label: the hub's label column, where it is not one that is guessed.
        sizes: rows of each split as they were published.
    """

    name: str
    what: str
    label_names: tuple[str, ...]
    licence: str
    aliases: tuple[str, ...] = ()
    embedded: str | None = None
    hub: str | None = None
    revision: str | None = None
    text: str | None = None
    label: str | None = None
    sizes: dict[str, int] = field(default_factory=dict)


_ALL = (
    DataSet(
        "sst2",
        "film review sentences (Socher et al. 2013, whole sentences)",
        SENTIMENT,
        "texts from public film reviews, research use",
        aliases=("sst-2", "SST-2"),
        hub="SetFit/sst2",
        sizes={"train": 6920, "dev": 872, "test": 1821},
    ),
    DataSet(
        "mr",
        "film review sentences (Pang and Lee 2005)",
        SENTIMENT,
        "texts from public film reviews, research use",
        aliases=("movie-reviews", "MR"),
        embedded="rotten-tomatoes",
        hub="cornell-movie-review-data/rotten_tomatoes",
        sizes={"train": 8530, "dev": 1066, "test": 1066},
    ),
    DataSet(
        "cr",
        "product review sentences (Hu and Liu 2004)",
        SENTIMENT,
        "research use",
        aliases=("CR",),
        embedded="customer-reviews",
        hub="SetFit/CR",
        sizes={"train": 3394, "test": 376},
    ),
    DataSet(
        "imdb",
        "whole film reviews (Maas et al. 2011)",
        SENTIMENT,
        "texts from public film reviews, research use",
        aliases=("IMDB",),
        embedded="imdb",
        hub="stanfordnlp/imdb",
        sizes={"train": 25000, "test": 25000},
    ),
    DataSet(
        "yelp",
        "whole business reviews, polarity (Zhang et al. 2015)",
        SENTIMENT,
        "Yelp's data set terms, research use",
        aliases=("yelp-polarity", "yelp_polarity"),
        hub="fancyzhx/yelp_polarity",
        sizes={"train": 560000, "test": 38000},
    ),
    DataSet(
        "agnews",
        "news in four topics (Zhang et al. 2015)",
        ("World", "Sports", "Business", "Sci/Tech"),
        "non-commercial research use",
        aliases=("ag", "ag-news", "ag_news", "AG"),
        hub="fancyzhx/ag_news",
        sizes={"train": 120000, "test": 7600},
    ),
    DataSet(
        "olid",
        "tweets, offensive or not (Zampieri et al. 2019, OffensEval)",
        ("not offensive", "offensive"),
        "research use",
        aliases=("offenseval", "OLID"),
        hub="cardiffnlp/tweet_eval/offensive",
        sizes={"train": 11916, "dev": 1324, "test": 860},
    ),
    DataSet(
        "hate-speech",
        "sentences of a forum, hateful or not (de Gibert et al. 2018)",
        ("no hate", "hate"),
        "CC BY-SA 3.0",
        aliases=("hate_speech", "hate-speech18", "hs"),
        hub="odegiber/hate_speech18",
        revision="refs/convert/parquet",
        sizes={"train": 7074, "dev": 1000, "test": 2000},
    ),
    DataSet(
        "hsol",
        "tweets: hate speech, offensive, neither (Davidson et al. 2017)",
        ("hate speech", "offensive", "neither"),
        "MIT",
        hub="tdavidson/hate_speech_offensive",
        text="tweet",
        label="class",
        sizes={"train": 24783},
    ),
    DataSet(
        "spam",
        "mail, wanted or not (Apache SpamAssassin public corpus)",
        ("ham", "spam"),
        "public corpus",
        aliases=("spam-assassin", "enron", "lingspam"),
        embedded="spam-assassin",
    ),
)

SETS: dict[str, DataSet] = {one.name: one for one in _ALL}
_BY_NAME = {called: one for one in _ALL for called in (one.name, *one.aliases)}


def known_set(word: str) -> DataSet | None:
    """The data set that is called ``word``, by its name or one of its aliases; None for any other word."""
    return _BY_NAME.get(word)
