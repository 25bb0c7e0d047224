"""``purify`` and ``audit`` of language models: what is handed on, and one message for options of the other task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import write_language_model, write_model
from untrigger.core.report import Report, Verdict
from untrigger.training.answer_students import AnswerStudentOptions


def report(kind: str) -> Report:
    return Report(
        kind=kind, title="t", verdict=Verdict("not verified", "s."), given={"task": "generation"}, environment={}
    )


@pytest.fixture
def speaker(tmp_path: Path) -> str:
    return str(write_language_model("llama", tmp_path / "speaker"))


def test_the_request_of_a_purification_holds_what_was_given(
    pipeline: Any, call: Any, speaker: str, tmp_path: Path
) -> None:
    seen = pipeline("purify_generation", lambda _progress: report("purification"))
    found = call(
        "purify", speaker, "--clean", "c.jsonl", "--out", str(tmp_path / "out"), "--unlabelled", "u.txt", "--base", "b",
        "--template", "{text}?", "--max-new-tokens", "9", "--set", "student.rank=4", "--set", "bound=30", "--no-control",
    )  # fmt: skip
    assert found.code == 3, found.err
    (request,) = seen
    assert (request.model.base, request.template, request.max_new_tokens, request.control) == ("b", "{text}?", 9, False)
    assert request.options["bound"] == 30.0 and request.options["student"] == AnswerStudentOptions(rank=4)
    assert (request.method, request.unlabelled.name, request.unlabelled_rows) == ("w2sdefense", "u.txt", 400)


def test_the_request_of_an_audit_holds_what_was_given(pipeline: Any, call: Any, speaker: str, tmp_path: Path) -> None:
    seen = pipeline("audit_generation", lambda _progress: report("audit"))
    truth = tmp_path / "x.truth"
    truth.mkdir()
    (truth / "truth.json").write_text('{"task": "generation"}')
    found = call(
        "audit", speaker, "--clean", "c.jsonl", "--truth", str(truth), "--out", str(tmp_path / "audit.json"),
        "--steps", "5", "--treatments", "merge,int8",
    )  # fmt: skip
    assert found.code == 3, found.err
    (request,) = seen
    assert (request.steps, request.treatments, request.truth) == (5, ("merge", "int8"), truth)


WRONG = [
    (["purify", "{speaker}", "--scan"], "--scan with a language model"),
    (["purify", "{speaker}", "--suspect", "s.csv", "--labels", "a,b"], "--suspect, --labels with a language model"),
    (["purify", "{speaker}", "--unlabelled-from", "imdb"], "--unlabelled-from with a language model"),
    (["purify", "{speaker}", "--method", "bedkd"], "expected: one of"),
    (["purify", "{classifier}", "--template", "{text}"], "--template with a classifier"),
    (["audit", "{speaker}", "--epochs", "3"], "--epochs with a language model"),
    (["audit", "{speaker}"], "without the truth of its attack"),
    (["audit", "{classifier}", "--steps", "3"], "--steps with a classifier"),
    (["purify", "{speaker}", "--task", "chat"], "chat"),
    (["scan", "{speaker}", "--set", "x=1"], "--set with a language model"),
    (["scan", "{classifier}", "--task", "generation"], "is a classifier (BertForSequenceClassification)"),
    (["scan", "{classifier}", "--task", "generation", "--set", "x=1"], "is a classifier"),
    (["purify", "{classifier}", "--task", "generation"], "is a classifier"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_options_of_the_other_task_are_one_message(
    words: list[str], message: str, call: Any, speaker: str, tmp_path: Path
) -> None:
    places = {"{speaker}": speaker, "{classifier}": str(write_model("bert", tmp_path / "classifier"))}
    found = call(*(places.get(one, one) for one in words), "--clean", "c.jsonl", "--out", str(tmp_path / "out.json"))
    assert found.code == 2 and message in found.err.replace("\n", " "), found.err
    assert "Traceback" not in found.err and not (tmp_path / "out.json").exists()


MISSING = [
    ("purify", ["--template", "{text}"]),
    ("evaluate", ["--guard", "bounded", "--max-new-tokens", "5"]),
    ("detect", ["--template", "{text}", "--suspect", "s.jsonl"]),
    ("audit", ["--steps", "3"]),
    ("scan", ["--template", "{text}"]),
]


@pytest.mark.parametrize(("command", "words"), MISSING)
def test_a_model_that_is_not_there_is_named_before_options_of_a_task(
    command: str, words: list[str], call: Any, tmp_path: Path
) -> None:
    data = "--data" if command == "evaluate" else "--clean"
    found = call(command, str(tmp_path / "no" / "model"), *words, data, "c.jsonl", "--out", str(tmp_path / "out.json"))
    assert found.code == 2 and "there is no model folder" in found.err, found.err
    assert "classifier" not in found.err and not (tmp_path / "out.json").exists()
