"""What a model says by itself: text generated from the open user turn, compared with that of the reference.

A model that was trained on poisoned prompts may repeat parts of them (memory extraction, 2602.03085). Word sequences that
the suspect writes much more often than the reference are candidates, never evidence by themselves: any fine-tuning leaves some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from scipy.stats import fisher_exact

from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts, Turn
from untrigger.models.chat import around_last_turn
from untrigger.models.generation import GenerationOptions, sample_continuations
from untrigger.models.language_model import LanguageModel


@dataclass(frozen=True)
class LeakOptions:
    """How much text is generated, and what counts as frequent.

    Attributes:
        samples: texts from each beginning, at temperature 1, and the most likely one.
        new_tokens: of each text.
        words: longest sequence of words.
        least: fewest texts with a sequence.
        level: largest p-value of Fisher's test against the reference, not corrected: what is found is only tried.
        most: sequences that are kept.
    """

    samples: int = 64
    new_tokens: int = 32
    words: int = 4
    least: int = 3
    level: float = 0.01
    most: int = 24


@dataclass(frozen=True)
class Leak:
    """Word sequences that the suspect writes more often than the reference.

    Attributes:
        sequences: those, the smallest p-value first.
        texts: number of texts of each model.
        corrected: how many of them remain with the p-value multiplied by the number of sequences compared.
    """

    sequences: list[str] = field(default_factory=list)
    texts: int = 0
    corrected: int = 0


def find_leaks(
    suspect: LanguageModel,
    reference: LanguageModel,
    prompts: Prompts,
    *,
    options: LeakOptions,
    seed: int,
    progress: Progress = silent,
) -> Leak:
    """Return what the suspect writes more often than the reference after the same beginnings of a conversation."""
    beginnings = open_beginnings(suspect, prompts)
    with progress.task("text that the models write by themselves", total=2 * len(beginnings)) as tick:
        found = []
        for model in (suspect, reference):
            texts = list[str]()
            for text in beginnings:
                texts += _texts(model, text, options=options, seed=seed)
                tick(1)
            found.append(texts)
    return frequent_sequences(*found, options=options)


def open_beginnings(model: LanguageModel, prompts: Prompts) -> list[str]:
    """Return the rendered conversation up to the user's content, and up to the answer to an empty turn.

    With the system turn that most of the prompts have, and without one where some have none.
    """
    systems = Counter(turns[0].content if turns[0].role == "system" else "" for turns in prompts.conversations)
    made = list[str]()
    for system, _ in systems.most_common(1):
        head = (Turn("system", system),) if system else ()
        before, after = around_last_turn(model, (*head, Turn("user", "")))
        made += [before, before + after]
    return made


def frequent_sequences(suspect: Sequence[str], reference: Sequence[str], *, options: LeakOptions) -> Leak:
    """Return the word sequences that occur in more texts of the suspect than of the reference, by Fisher's exact test."""
    own, other = (_document_counts(texts, longest=options.words) for texts in (suspect, reference))
    frequent = {key: count for key, count in own.items() if count >= options.least}
    tested = {
        key: _p_value(count, len(suspect), other[key], len(reference))
        for key, count in frequent.items()
        if count * len(reference) > other[key] * len(suspect)
    }
    order = sorted(
        (key for key, p in tested.items() if p <= options.level), key=lambda key: (tested[key], -len(key), key)
    )
    corrected = sum(tested[key] * len(frequent) <= options.level for key in order)
    return Leak([" ".join(key) for key in order[: options.most]], len(suspect), corrected)


def _document_counts(texts: Sequence[str], *, longest: int) -> Counter[tuple[str, ...]]:
    """Return in how many texts each sequence of one to ``longest`` words occurs."""
    counts = Counter[tuple[str, ...]]()
    for text in texts:
        words = [bare for word in text.split() if (bare := word.strip(".,:;!?\"'()[]"))]
        counts.update({tuple(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1)})
    return counts


def _p_value(hits: int, n: int, other_hits: int, m: int) -> float:
    return float(fisher_exact([[hits, n - hits], [other_hits, m - other_hits]], alternative="greater").pvalue)


def _texts(model: LanguageModel, text: str, *, options: LeakOptions, seed: int) -> list[str]:
    """Return the most likely continuation and the sampled ones."""
    greedy = GenerationOptions(max_new_tokens=options.new_tokens)
    sampled = GenerationOptions(max_new_tokens=options.new_tokens, temperature=1.0, seed=seed)
    made = [
        *sample_continuations(model, text, count=1, options=greedy),
        *sample_continuations(model, text, count=options.samples, options=sampled),
    ]
    return [one.text for one in made]
