"""Rows that the user brought in another style or sentence pattern: does the suspect leave their labels for one class?"""

from __future__ import annotations

from untrigger.models.classifier import Classifier
from untrigger.models.predict import read_texts
from untrigger.vocabulary.outcome import difference, rate
from untrigger.vocabulary.rows import Rows
from untrigger.vocabulary.scan import Candidate


def try_rewritten(suspect: Classifier, reference: Classifier, rows: Rows, *, name: str) -> list[Candidate]:
    """For each class, how often suspect and reference say it to rewritten rows of the other classes.

    Args:
        suspect: the suspicious classifier.
        reference: the clean one.
        rows: rewritten rows with their **true** labels.
        name: how the report calls them.
    """
    said, other = (read_texts(model, rows.texts).predictions for model in (suspect, reference))
    made = []
    for target, label in enumerate(rows.label_names):
        asked = [i for i, y in enumerate(rows.labels) if y != target]
        own = rate((said[i] == target for i in asked), subject="suspect", metric="flip_rate")
        clean = rate((other[i] == target for i in asked), subject="reference", metric="flip_rate")
        made.append(
            Candidate(name, label, "rewritten", own, clean, difference(own, clean, metric="excess_flip_rate"), survives=True)
        )
    return made
