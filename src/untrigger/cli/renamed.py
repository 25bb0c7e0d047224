"""Old names of options and words, each with the name that replaced it."""

from __future__ import annotations

from collections.abc import Mapping

OPTIONS: Mapping[str, str] = {
    "--via": "--tuning",
    "--twin": "--clean-model",
    "--no-twin": "--no-clean-model",
    "--negatives": "--negative-rate",
    "--faithful": "--clean-consistency",
}
"""Options of the commands."""

KINDS: Mapping[str, str] = {"scanning": "scanners"}
"""Words of ``untrigger list``."""

SETTINGS: Mapping[str, str] = {
    "alarm_above": "unlearn.alarm_score",
    "content": "confirmation.content_words",
    "calm_below": "unlearn.stop_score",
    "dropout": "use_dropout",
    "held": "held_out",
    "most_held": "max_held_out",
    "others": "confirmation.runners_up",
    "relapse": "unlearn.retrained_stop_score",
    "relearn.full_steps": "retrain.full_steps",
    "relearn.inserted": "retrain.insertion_share",
    "relearn.kept": "retrain.recovery.lower_layer_mix",
    "relearn.mixed": "retrain.mixture_share",
    "relearn.rank": "retrain.recovery.rank",
    "relearn.steps": "retrain.steps",
    "relearn.teacher": "retrain.teacher_weight",
    "relearn.upper": "retrain.upper",
    "reset": "algorithm=search_and_unlearn",
    "searched": "unlearn.search_share",
    "sure": "confirmation.top",
    "taught": "train_share",
    "tried": "confirmation.candidates",
    "worst": "unlearn.relative_score",
}
"""Keys of ``--set``, whole or the end of a dotted one; where the values changed too, with the new value."""
