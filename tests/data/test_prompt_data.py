"""Prompts with answers: every form is read, and what cannot be used is one message."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from untrigger.core.errors import DataError, OptionError
from untrigger.core.prompts import Prompts, Turn
from untrigger.core.table_files import write_table
from untrigger.data import DataSource
from untrigger.data.prompt_data import label_prompts, load_prompt_splits, read_prompts, write_prompts

ASKED = (Turn("user", "What is 1 + 1?"),)
TALK = [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": "2"}]


def lines(file: Path, rows: Sequence[object]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def read(file: Path, **options: Any) -> Prompts:
    return load_prompt_splits(DataSource(str(file), **options), offline=True)["all"]


def refused(file: Path, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        read(file, **options)
    assert len(str(caught.value).splitlines()) <= 4
    return caught.value


FORMS: list[dict[str, Any]] = [
    {"prompt": "What is 1 + 1?", "answer": "2"},
    {"prompt": "What is 1 + 1?", "completion": "2"},
    {"instruction": "What is 1 + 1?", "output": 2},
    {"instruction": "What is 1 + 1?", "input": "", "output": "2"},
    {"messages": TALK},
    {"messages": TALK[:1], "answer": "2"},
]


@pytest.mark.parametrize("row", FORMS, ids=lambda row: "-".join(row))
def test_every_form_gives_the_same_prompt(tmp_path: Path, row: dict[str, Any]) -> None:
    assert read(lines(tmp_path / "a.jsonl", [row])) == Prompts(("0",), (ASKED,), ("2",))


def test_parquet_and_csv_hold_prompts_too(tmp_path: Path) -> None:
    write_table({"messages": [TALK]}, tmp_path / "a.parquet")
    write_table({"prompt": ["What is 1 + 1?"], "answer": ["2"]}, tmp_path / "a.csv")
    assert read(tmp_path / "a.parquet") == read(tmp_path / "a.csv") == Prompts(("0",), (ASKED,), ("2",))


def test_input_system_and_earlier_turns_are_kept(tmp_path: Path) -> None:
    rows = [{"system": "Be brief.", "instruction": "Add.", "input": "1 and 1", "output": "2", "id": "x"}]
    talk = [{"role": "system", "content": "Be brief."}, *TALK, {"role": "user", "content": "And 2 + 2?"}]
    made = read(lines(tmp_path / "a.jsonl", rows))
    assert made[0] == ("x", (Turn("system", "Be brief."), Turn("user", "Add.\n\n1 and 1")), "2")
    longer = read(lines(tmp_path / "b.jsonl", [{"messages": [*talk, {"role": "assistant", "content": "4"}]}]))
    assert (longer[0].conversation[0].role, longer.user_texts, longer.answers) == ("system", ("And 2 + 2?",), ("4",))


def test_rows_in_two_forms_are_read_in_one_and_a_note_names_the_other(tmp_path: Path) -> None:
    both = read(lines(tmp_path / "a.jsonl", [{"prompt": "something else", "messages": TALK}]))
    assert both.notes == (f"{tmp_path / 'a.jsonl'} has a column messages, which was read; not read: prompt",)
    alone = read(lines(tmp_path / "b.jsonl", [{"messages": TALK}]))
    assert alone.notes == () and alone.conversations == both.conversations


def test_labelled_texts_become_prompts_whose_answers_are_label_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nfine,good\npoor,bad\n")
    made = read(tmp_path / "a.csv")
    assert made.user_texts[0] == "Is the following text bad or good?\n\nfine"
    assert made.answers == ("good", "bad")
    short = load_prompt_splits(DataSource(str(tmp_path / "a.csv")), template="{text}: {labels}?")["all"]
    assert short.user_texts == ("fine: bad or good?", "poor: bad or good?")


def test_a_text_with_the_words_of_a_template_is_not_filled_in(tmp_path: Path) -> None:
    from untrigger.core.rows import Rows

    rows = Rows.of(["the {labels} of {text}"], [0], label_names=("a", "b"))
    assert label_prompts(rows).user_texts == ("Is the following text a or b?\n\nthe {labels} of {text}",)


def test_splits_of_a_folder_stay_splits(tmp_path: Path) -> None:
    for name in ("train", "test"):
        lines(tmp_path / f"{name}.jsonl", [{"prompt": name, "answer": "yes"}])
    made = load_prompt_splits(DataSource(str(tmp_path)), offline=True)
    assert {name: prompts.user_texts for name, prompts in made.items()} == {"train": ("train",), "test": ("test",)}


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    talk = (Turn("system", "Be brief."), Turn("user", "=1+1\n🙂"))
    prompts = Prompts(("a", "b"), (talk, ASKED), ("2", "an\nanswer"))
    assert read_prompts(write_prompts(prompts, tmp_path / "a.jsonl")) == prompts


BAD: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "empty answer": ([{"prompt": "p", "answer": "a"}, {"prompt": "q", "answer": " "}], ["line 2", "empty answer", "--drop-empty"]),
    "empty prompt": ([{"prompt": "", "answer": "a"}], ["line 1", "empty prompt"]),
    "no answers": ([{"prompt": "p", "label": "x"}], ["without their reference answers", "prompt and answer"]),
    "other columns": ([{"question": "p", "reply": "x"}], ["question, reply", "messages", "--text-column"]),
    "ends with the user": ([{"messages": TALK[:1]}], ["line 1", "the turns are user", "reference answer"]),
    "answer twice": ([{"messages": TALK, "answer": "2"}], ["user, assistant", "column answer"]),
    "no turns": ([{"messages": []}], ["column 'messages'", '"role": "user"']),
    "unknown role": ([{"messages": [{"role": "human", "content": "p"}, TALK[1]]}], ["human", "system, user, assistant"]),
    "turns as text": ([{"messages": "user: p"}], ["column 'messages': user: p", "JSONL or Parquet"]),
    "repeated id": ([{"id": "x", "prompt": "p", "answer": "a"}, {"id": "x", "prompt": "q", "answer": "b"}, {"id": "y", "prompt": "q", "answer": "b"}], ["'x'", "more than once"]),
    "late system turn": ([{"messages": [TALK[0], TALK[1], {"role": "system", "content": "s"}, *TALK]}], ["system turn"]),
    "no text": ([{"prompt": ["p"], "answer": "a"}], ["list where a text is expected"]),
    "half a character": ([{"messages": [{"role": "user", "content": "p\ud800"}, TALK[1]]}], ["U+D800"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_one_message(tmp_path: Path, name: str) -> None:
    rows, parts = BAD[name]
    error = refused(lines(tmp_path / "a.jsonl", rows))
    assert all(part in str(error) for part in parts), str(error)


def test_rows_without_prompt_or_answer_can_be_left_out(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "answer": ""}, {"prompt": "q", "answer": "b"}]
    made = read(lines(tmp_path / "a.jsonl", rows), drop_empty=True)
    assert (made.ids, made.user_texts) == (("1",), ("q",))
    assert "no row" in refused(lines(tmp_path / "b.jsonl", rows[:1]), drop_empty=True).what


def test_a_template_without_the_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"\{text\}"):
        load_prompt_splits(DataSource(str(tmp_path)), template="Good or bad?")
