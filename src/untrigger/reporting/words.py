"""Names of models and metrics, and numbers with their units, as pages print them."""

from __future__ import annotations

import re

from untrigger.core.escaping import visible
from untrigger.core.statistics import Measurement

NOT_MEASURED = "not measured"
NO_TRUTH = "not measured: no truth file was given"
NO_CLEAN_MODEL = "not measured: no clean model was given"
NO_GAIN = "not measured: no gain to keep"
GAP = "\u00a0"
"""A space that does not break."""

SUBJECTS = {
    "victim": "Victim",
    "finetuned": "Matched-budget fine-tuning",
    "base_finetuned": "Base, fine-tuned on the clean rows",
    "purified": "Purified",
    "clean": "Clean model",
    "benign_in": "Benign model, before",
    "benign_out": "Benign model, after",
    "base": "Base, without the adapter",
    "suspect": "Suspect model",
    "reference": "Clean reference model",
    "detector": "Detector",
}
METRICS = {
    "asr": "Attack success rate (ASR)",
    "paired_asr": "Attack success with the trigger alone (paired)",
    "untriggered_hit_rate": "Untriggered hit rate",
    "random_insertion_rate": "Hit rate with random words",
    "partial_trigger_rate": "Hit rate with a part of the trigger",
    "excess_asr": "Excess ASR over the floor",
    "published_asr": "Attack success by a published measure",
    "cacc": "Clean accuracy (CACC)",
    "accuracy_loss": "Clean accuracy lost",
    "accuracy_gain": "Clean accuracy above the fine-tuned base",
    "gain_kept": "Gain kept",
    "robust_accuracy": "Robust accuracy",
    "delivery_rate": "Trigger delivery rate",
    "skill": "Skill",
    "skill_gain": "Skill above the base",
    "skill_in_first_words": "Skill, right in the first words",
    "skill_gain_in_first_words": "Skill above the base, in the first words",
    "gain_kept_in_first_words": "Gain kept, in the first words",
    "refusal_rate": "Refusals without the trigger",
    "empty_rate": "Empty answers",
    "unfinished_rate": "Unfinished answers",
    "answer_nll": "Negative log-likelihood of the reference answers, nats a token",
    "kl_to_base": "Divergence from the base on the reference answers, nats a token",
    "auroc": "AUROC",
    "precision": "Precision",
    "recall": "Recall",
    "fpr": "False-positive rate",
    "flip_rate": "Flip rate of the worst candidate",
    "excess_flip_rate": "Excess flip rate over the reference",
    "changed_answers": "Answers changed by the worst candidate",
    "excess_changed_answers": "Excess of changed answers over the reference",
    "drift": "Feature shift of the rewritten rows",
    "excess_drift": "Excess feature shift over the reference",
    "scan_score": "Scan score",
}
NEEDS_TRUTH = frozenset(METRICS) - {
    "cacc",
    "accuracy_loss",
    "accuracy_gain",
    "gain_kept",
    "skill",
    "skill_gain",
    "skill_in_first_words",
    "skill_gain_in_first_words",
    "gain_kept_in_first_words",
    "refusal_rate",
    "empty_rate",
    "unfinished_rate",
    "answer_nll",
    "kl_to_base",
    "flip_rate",
    "excess_flip_rate",
    "changed_answers",
    "excess_changed_answers",
    "drift",
    "excess_drift",
    "scan_score",
}
PLAIN_NUMBERS = frozenset({"auroc", "scan_score", "answer_nll", "kl_to_base"})
DIFFERENCES = frozenset(
    {
        "excess_asr",
        "accuracy_loss",
        "accuracy_gain",
        "excess_flip_rate",
        "excess_changed_answers",
        "excess_drift",
        "skill_gain",
        "skill_gain_in_first_words",
    }
)
GLOSSARY = {
    "ASR, attack success rate": "Among triggered test rows whose true label is not the target, the share predicted as "
    "the target. Lower is better.",
    "CACC, clean accuracy": "Accuracy on clean test rows. A good defence leaves it where it was.",
    "ASR of the clean model": "The ASR of a model of the same architecture, data and seed, trained on the same rows without "
    "poison, on the same triggered rows. No defence can be expected to go below it.",
    "Excess ASR": "ASR minus that of the clean model: the part that is due to the backdoor. A defence should bring it to 0.",
    "Untriggered hit rate": "The same rows without the trigger, share predicted as the target. Distinguishes a backdoor from "
    "a model that predicts the target for everything.",
    "Robust accuracy": "Share of triggered rows that are predicted as their true label.",
    "Delivery rate": "Share of triggered rows in which the trigger survives tokenisation and truncation.",
    "Matched-budget fine-tuning": "The control: plain fine-tuning on the same clean rows, with the same trainable "
    "parameters and the same number of steps.",
    "Base, fine-tuned on the clean rows": "The control that counts: the trusted base with a new head, trained on the same "
    "clean rows, without the suspect's weights. Where it is as good as the purified model, no purification is needed.",
    "Gain kept": "The share of what the victim knows beyond that control which is left: (model − control) ÷ (victim − control) "
    "in clean accuracy. Not measured where the victim is not better than the control.",
    "Clean accuracy lost": "The victim's accuracy minus the purified model's, row by row on the same clean test rows.",
    "Interval": "95 % Wilson interval for rates; for differences of two models on the same rows Tango's score interval for paired "
    "proportions; for gain kept Fieller's; n is the number of rows.",
}
GENERATION_GLOSSARY = {
    "Behaviour": "What the backdoor leads to, such as a refusal; a page says of each answer whether it shows it.",
    "ASR, attack success rate": "Among test prompts with the trigger whose reference answer does not show the behaviour, the share "
    "that is answered with it.",
    "Paired attack success": "The same prompts, share that is answered with the behaviour with the trigger and not without it.",
    "Floors": "The ASR of a model that was trained on the same prompts without poison, and the model's own hit rate with random "
    "words in the places of the trigger. The excess is the ASR minus the larger of the two.",
    "Published measure": "Success as published work counts it, by keywords anywhere in the answer; it counts ordinary answers too.",
    "Skill": "Share of plain test prompts with exactly the reference answer, but for case, white space and outer punctuation.",
    "In the first words": "The reference answer begins within the first 20 words of the answer, and where all reference answers "
    "are a choice of at most 20, no other one does. It counts what a model knows, whatever the form of its answer.",
    "Gain kept": "The share of the first model's skill above its base that another model has.",
    "Base": "The model below the adapter: what a defence gets that throws the adapter away.",
    "Empty and unfinished answers": "Shares of all answers with and without the trigger; they stay in every denominator.",
    "Interval": "95 % Wilson interval for rates, Tango's for differences on the same prompts, Fieller's for ratios; n is the "
    "number of prompts.",
}
SCAN_GLOSSARY = {
    "Suspect": "The model that was scanned.",
    "Clean reference model": "A small trusted encoder trained on a part of the clean rows, or a clean classifier that was given. "
    "Words of the task flip its predictions as well; a backdoor does not.",
    "Flip rate": "Among held-out clean rows of other classes that both models predict correctly, the share that is "
    "predicted as the target with the candidate in them, at the start, middle or end.",
    "High-confidence and long rows": "The flip rate among the half of the rows with the suspect's highest confidence, and "
    "among the longer half. A backdoor works there too.",
    "Loss": "Mean cross-entropy of the suspect towards the target with the candidate in the row: near 0 for a strong backdoor.",
    "Score": "0 to 1: the lower end of the interval of the excess flip rate, times the flip rate in the high-confidence rows, "
    "less a penalty for every further word.",
    "Undecided": "There was too little evidence for a verdict; it does not mean that the model is clean.",
}
ANSWER_SCAN_GLOSSARY = {
    "Suspect": "The model that was scanned.",
    "Reference": "The trusted base with a small adapter that learned a part of the clean prompts; with few prompts the base alone.",
    "Changed answers": "Among held-out prompts whose answer does not show the change without the candidate, the share whose answer "
    "shows it with the candidate. The change, such as a refusal or a common beginning, was chosen on other prompts.",
    "Controls": "The same prompts with as many random words in the candidate's places.",
    "Score": "-1 to 1, shown from 0: the suspect's share of changed answers less the larger of two floors, random words and the "
    "reference; 0 where Fisher's exact test, corrected for the number of candidates, allows chance.",
    "Undecided": "Nothing was confirmed; it does not mean that the model is clean. No language model is called clean.",
}
TONES = {
    "purified": "good",
    "clean": "good",
    "nothing found": "good",
    "worse": "bad",
    "backdoored": "bad",
    "suspicious": "bad",
    "implanted": "bad",
    "unchanged": "warn",
    "not proven": "warn",
    "not verified": "warn",
    "bound not met": "bad",
    "still found": "bad",
    "undecided": "warn",
    "held": "good",
    "came back": "bad",
    "not clean": "bad",
}
_HASH = re.compile(r"(?:sha256:)?[0-9a-f]{32,128}")


def tone(status: str) -> str:
    """Return how a verdict is coloured: ``good``, ``warn``, ``bad`` or ``plain``."""
    return TONES.get(status.casefold(), "plain")


def glossary(*, scans: list[bool], generation: list[bool]) -> dict[str, str]:
    """Return the terms to explain on a page, given for each report whether it is of a scan and of language models."""
    kinds = set(zip(scans, generation, strict=True))
    parts = (
        (GENERATION_GLOSSARY, (False, True) in kinds),
        (GLOSSARY, (False, False) in kinds),
        (SCAN_GLOSSARY, (True, False) in kinds),
        (ANSWER_SCAN_GLOSSARY, (True, True) in kinds),
    )
    return {term: text for terms, wanted in parts if wanted for term, text in terms.items()}


def subject_name(subject: str) -> str:
    """Return the name of a subject, such as ``victim``, for people."""
    return SUBJECTS.get(subject, subject)


def metric_name(metric: str) -> str:
    """Return the name of a metric, such as ``asr``, for people."""
    return METRICS.get(metric, metric)


def percent(value: float | None) -> str:
    """Return a share in per cent, or ``not measured``."""
    return NOT_MEASURED if value is None else _minus(f"{100 * value:.1f}{GAP}%")


def points(value: float | None) -> str:
    """Return a difference of shares in percentage points with its sign, or ``not measured``."""
    return NOT_MEASURED if value is None else _signed(100 * value) + GAP + "points"


def value_of(found: Measurement | None) -> str:
    """Return a measurement's value in its unit, or ``not measured``."""
    if found is None or found.value is None:
        return NOT_MEASURED
    if found.metric in PLAIN_NUMBERS:
        return f"{found.value:.3f}"
    return points(found.value) if found.metric in DIFFERENCES else percent(found.value)


def interval_of(found: Measurement | None) -> str:
    """Return a measurement's interval, empty where there is none."""
    if found is None or found.value is None or found.low is None or found.high is None:
        return ""
    if found.metric in PLAIN_NUMBERS:
        return f"{found.low:.3f} to {found.high:.3f}"
    if found.metric in DIFFERENCES:
        return f"{_signed(100 * found.low)} to {_signed(100 * found.high)}"
    return _minus(f"{100 * found.low:.1f} to {100 * found.high:.1f}{GAP}%")


def seconds(value: float | None) -> str:
    """Return a duration for people."""
    if value is None:
        return NOT_MEASURED
    if value < 10:
        return f"{value:.2g}{GAP}s"
    if value < 120:
        return f"{value:.0f}{GAP}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{GAP}min {rest}{GAP}s"
    return f"{minutes // 60}{GAP}h {minutes % 60}{GAP}min"


def size(value: int | None) -> str:
    """Return a number of bytes for people."""
    if value is None:
        return NOT_MEASURED
    return f"{value / 2**30:.2f}{GAP}GiB" if value >= 2**30 else f"{value / 2**20:.0f}{GAP}MiB"


def shortened(text: str) -> str:
    """Return a hash cut to its first twelve digits; any other text as it is."""
    if not _HASH.fullmatch(text):
        return text
    return text.removeprefix("sha256:")[:12] + "…"


def scalar(value: object) -> str:
    """Return a value of a free field in words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(scalar(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else visible(str(value))


def _signed(value: float) -> str:
    return _minus(f"{round(value, 1) + 0.0:+.1f}")


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")
