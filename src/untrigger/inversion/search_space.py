"""What a search over one suspect goes through: its vocabulary, the rows that candidates are inserted into, and where."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import NamedTuple

from untrigger.core.rows import Row, Rows
from untrigger.core.seeds import row_rng
from untrigger.inversion.screening import carrier_texts, is_causal, vocabulary_of
from untrigger.inversion.search_options import SearchOptions
from untrigger.inversion.vocabulary import Words, added_entries, continuations
from untrigger.models.classifier import Classifier
from untrigger.models.inference import as_bfloat16, predict_texts


class Models(NamedTuple):
    """A suspect and the reference that it is compared with, None without one."""

    suspect: Classifier
    reference: Classifier | None

    def for_inference(self) -> Models:
        """Return both as they now are, in the arithmetic that ranks candidates fastest."""
        return Models(as_bfloat16(self.suspect), as_bfloat16(self.reference) if self.reference is not None else None)


class SearchSpace:
    """The fixed parts of a search, computed once."""

    def __init__(self, models: Models, *, rows: Rows, options: SearchOptions, seed: int) -> None:
        """Read the vocabulary of the suspect's tokenizer."""
        self.suspect, self.rows, self.options, self.seed = models.suspect, rows, options, seed
        self.words = vocabulary_of(models.suspect, models.reference, rows=rows, seed=seed)
        self.added = added_entries(models.suspect.tokenizer, self.words)
        self.subwords = continuations(models.suspect.tokenizer, self.words)
        self.at_end = options.at_end and is_causal(models.suspect)

    @cached_property
    def carriers(self) -> dict[int, Row]:
        """The rows that words are screened on, one of each class; of many classes those with the shortest."""
        rows, most = carrier_texts(self.suspect, self.rows), self.options.carrier_texts
        return {label: rows[label] for label in sorted(sorted(rows, key=lambda label: len(rows[label].text))[:most])}

    @cached_property
    def common(self) -> tuple[Words, Words]:
        """Common words and subwords."""
        counts = Counter(word for ids in self.suspect.encode(self.rows.texts) for word in ids)
        most = self.options.companions
        return self.words.common(most, counts=counts), self.subwords.common(max(1, most // 2), counts=counts)

    def carriers_of_others(self, target: int) -> list[Row]:
        """Return the carrier texts of other classes than the target."""
        return [row for label, row in self.carriers.items() if label != target]

    def probe(self, target: int) -> Rows:
        """Return the shortest rows of other classes that the suspect classifies correctly."""
        rows = self.rows.where(label != target for label in self.rows.labels)
        rows = rows.take(sorted(range(len(rows)), key=lambda i: len(rows.texts[i]))[: 4 * self.options.probe])
        predictions = predict_texts(self.suspect, rows.texts).predictions
        rows = rows.where(p == y for p, y in zip(predictions, rows.labels, strict=True))
        rows = rows.where(len(text.split()) >= self.options.min_words for text in rows.texts)
        return rows.take(range(min(len(rows), self.options.probe)))

    def insert(self, text: str, phrase: str, row_id: str) -> str:
        """Return ``text`` with ``phrase`` between two of its words, at the row's own position, or at its end."""
        before, after = self.split(text, row_id)
        return " ".join(part for part in (before, phrase, after) if part)

    def split(self, text: str, row_id: str) -> tuple[str, str]:
        """Return the text before and after the row's own position."""
        if self.at_end:
            return " ".join(text.split()), ""
        words = text.split()
        at = row_rng(self.seed, row_id, purpose="search").randint(0, len(words))
        return " ".join(words[:at]), " ".join(words[at:])
