"""Prompts with answers from files, folders and hub sets; labelled texts become prompts through a template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from untrigger.core.errors import DataError, OptionError
from untrigger.core.files import write_text
from untrigger.core.prompts import ROLES, Prompts, Turn
from untrigger.core.rows import Rows
from untrigger.data.columns import LABEL_COLUMNS, TEXT_COLUMNS, ids_of, readable, texts_of
from untrigger.data.data_source import DataSource
from untrigger.data.layouts import holds_splits
from untrigger.data.load import choose_split, load_splits, read_tables
from untrigger.data.locate import locate
from untrigger.data.tables import Table, read_table
from untrigger.data.unlabelled_data import TEXT_EXTENSIONS, Texts, load_texts

TEMPLATE = "Is the following text {labels}?\n\n{text}"
"""The prompt that a labelled text becomes; the answer is its label name."""
COLUMNS = (("prompt", "answer"), ("prompt", "completion"), ("prompt", "response"), ("instruction", "output"))
"""The columns of prompts and of their answers, the first pair that is there."""
_FORMS = "prompt and answer, instruction (and input) and output, messages, or text and label"


def load_prompt_splits(source: DataSource, *, template: str = TEMPLATE, offline: bool = False) -> dict[str, Prompts]:
    """Return the splits of a data source as prompts with answers; a single file gives one split, ``"all"``.

    A table holds ``prompt`` and ``answer``, or ``instruction`` (with or without ``input``) and ``output``, each with or without
    ``system``; or ``messages``, whose last turn is the assistant's. Every other table is read as labelled texts.

    Args:
        source: as for ``load_splits``.
        template: the prompt of a labelled text, with ``{text}`` and, if wanted, ``{labels}``: the label names with "or"
            between them.
        offline: use only what is on this machine.

    Raises:
        DataError: one message for the first thing that is wrong, with its remedy.
        OptionError: for a template without ``{text}``.
        AssetError: an embedded set that could not be fetched.
    """
    if "{text}" not in template:
        raise OptionError(
            f"the template {template!r}", expected="one with {text}, and with {labels} where they are wanted"
        )
    location = locate(source.name, offline=offline)
    if location.kind != "embedded" and location.dataset is None:
        tables = read_tables(location, source=source, offline=offline, labelled=False)
        if any(_holds_prompts(table) for table in tables.values()):
            return {name: _prompts(table, drop_empty=source.drop_empty) for name, table in tables.items()}
        _check_labelled(tables, source)
    splits = load_splits(source, offline=offline)
    return {name: label_prompts(rows, template=template) for name, rows in splits.items()}


def load_prompts(source: DataSource, *, template: str = TEMPLATE, offline: bool = False) -> Prompts:
    """Return the prompts of one split of a data source: the one that it names, or the only one (see ``load_prompt_splits``).

    Raises:
        DataError: also where several splits are there and none is named.
    """
    splits = load_prompt_splits(source, template=template, offline=offline)
    return splits[choose_split(source, splits)]


def load_questions(source: DataSource, *, offline: bool = False) -> Prompts | Texts:
    """Return prompts without answers: conversations where the data holds prompts, else the texts themselves.

    Answers that are in the data are not read. The answers of the prompts are empty.

    Args:
        source: as for ``load_prompt_splits``, or as for ``load_texts``.
        offline: use only what is on this machine.

    Raises:
        DataError: one message for the first thing that is wrong, with its remedy.
    """
    location = locate(source.name, offline=offline)
    if location.kind == "file" and Path(location.place).suffix.casefold() in TEXT_EXTENSIONS:
        return load_texts(source, offline=offline)
    if (
        location.kind != "embedded"
        and location.dataset is None
        and not _is_folder_of_texts(location.kind, location.place)
    ):
        tables = read_tables(location, source=source, offline=offline, labelled=False)
        table = tables[choose_split(source, tables)]
        if _holds_prompts(table):
            return _questions(table)
    return load_texts(source, offline=offline)


def _is_folder_of_texts(kind: str, place: str) -> bool:
    return kind == "folder" and not holds_splits(Path(place))


def _questions(table: Table) -> Prompts:
    """Return the conversations of one table, each once, without answers."""
    if "messages" in table.columns:
        talks = []
        for cell, line in zip(table.columns["messages"], table.lines, strict=True):
            turns = _turns(cell, where=f"{table.origin}, row at line {line}")
            talks.append(turns[:-1] if turns and turns[-1].role == "assistant" else turns)
    else:
        talks = _questions_of_columns(table, "prompt" if "prompt" in table.columns else "instruction")
    kept = [turns for turns in dict.fromkeys(talks) if turns and turns[-1].content.strip()]
    if not kept:
        raise DataError(f"{table.origin}: no row has a prompt")
    return Prompts.of(kept, [""] * len(kept))


def label_prompts(rows: Rows, *, template: str = TEMPLATE) -> Prompts:
    """Return the prompts of labelled texts: one user turn each, with the label name as answer."""
    labels = " or ".join(rows.label_names)
    filled = template.replace("{labels}", labels)
    before, _, after = filled.partition("{text}")
    questions = [filled.replace("{text}", text) for text in rows.texts]
    answers = [rows.label_names[label] for label in rows.labels]
    frame = None if "{text}" in after else (before, after)
    return replace(Prompts.of(questions, answers, ids=rows.ids), notes=rows.notes, frame=frame)


def read_prompts(file: Path) -> Prompts:
    """Return the prompts in a file that ``write_prompts`` wrote.

    Raises:
        DataError: if it cannot be read.
    """
    return _prompts(read_table(file), drop_empty=False)


def write_prompts(prompts: Prompts, path: Path) -> Path:
    """Write one JSON object a line, ``{"id", "messages", "answer"}``, and return the path.

    Raises:
        OutputError: if the file cannot be written.
    """
    lines = [
        {"id": one.id, "messages": [turn._asdict() for turn in one.conversation], "answer": one.answer}
        for one in prompts
    ]
    return write_text(path, text="".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))


def _holds_prompts(table: Table) -> bool:
    names = set(table.columns)
    return "messages" in names or bool({"prompt", "instruction"} & names)


def _check_labelled(tables: Mapping[str, Table], source: DataSource) -> None:
    """Raise DataError for a table that holds neither prompts nor labelled texts under a known name."""
    for table in tables.values():
        names = {name.casefold() for name in table.columns}
        texts, labels = (
            source.text_column or names & set(TEXT_COLUMNS),
            source.label_column or names & set(LABEL_COLUMNS),
        )
        if not texts or not labels:
            raise DataError(
                f"{table.origin} has the columns {', '.join(table.columns)}: neither prompts with answers nor labelled texts",
                expected=f"the columns {_FORMS}",
                remedy="rename the columns; those of labelled texts may be named with --text-column and --label-column",
            )


def _prompts(table: Table, *, drop_empty: bool) -> Prompts:
    """Return the prompts of one table.

    Raises:
        DataError: for missing columns, empty prompts or answers, ids that repeat, and turns that cannot be read.
    """
    read = _read_messages(table) if "messages" in table.columns else _read_columns(table)
    ids, notes = ids_of(table)
    names = ids or [str(i) for i in range(len(table))]
    missing = [
        "prompt" if not turns[-1].content.strip() else "answer" if not answer.strip() else "" for turns, answer in read
    ]
    first = next((i for i, what in enumerate(missing) if what), None)
    if first is not None and not drop_empty:
        raise DataError(
            f"{table.origin}: {sum(map(bool, missing))} rows with an empty prompt or answer, the first at line "
            f"{table.lines[first]} with an empty {missing[first]}",
            expected="a prompt and its reference answer in every row",
            remedy="fill or remove these rows, or leave them out: --drop-empty, in Python DataSource(drop_empty=True)",
        )
    kept = [i for i, what in enumerate(missing) if not what]
    if not kept:
        raise DataError(f"{table.origin}: no row has a prompt and an answer")
    prompts = Prompts.of([read[i][0] for i in kept], [read[i][1] for i in kept], ids=[names[i] for i in kept])
    return replace(prompts, notes=(*notes, *_unread(table)))


def _unread(table: Table) -> list[str]:
    """Return a note where the rows hold prompts in two forms, of which one is read."""
    if "messages" not in table.columns:
        return []
    ignored = [name for name in ("prompt", "instruction", "output", "system") if name in table.columns]
    if not ignored:
        return []
    return [f"{table.origin} has a column messages, which was read; not read: {', '.join(ignored)}"]


def _read_columns(table: Table) -> list[tuple[tuple[Turn, ...], str]]:
    """Return conversation and answer of each row of a table with one column for each."""
    names = next((pair for pair in COLUMNS if set(pair) <= set(table.columns)), None)
    if names is None:
        raise DataError(
            f"{table.origin} has the columns {', '.join(table.columns)}: prompts without their reference answers",
            expected=f"the columns {_FORMS}",
            remedy="give every prompt the answer that a model without a backdoor would give",
        )
    talks = _questions_of_columns(table, names[0])
    return list(zip(talks, texts_of(table, names[1])[1], strict=True))


def _questions_of_columns(table: Table, name: str) -> list[tuple[Turn, ...]]:
    """Return the conversation of each row: a system turn where there is one, and the prompt with its input."""
    questions = texts_of(table, name)[1]
    if name == "instruction" and "input" in table.columns:
        inputs = texts_of(table, "input")[1]
        questions = [
            f"{first}\n\n{more}" if more.strip() else first for first, more in zip(questions, inputs, strict=True)
        ]
    systems = texts_of(table, "system")[1] if "system" in table.columns else [""] * len(table)
    heads = [(Turn("system", one),) if one.strip() else () for one in systems]
    return [(*head, Turn("user", text)) for head, text in zip(heads, questions, strict=True)]


def _read_messages(table: Table) -> list[tuple[tuple[Turn, ...], str]]:
    """Return conversation and answer of each row of a table with lists of turns, the answer as last turn or in a column."""
    apart = texts_of(table, "answer")[1] if "answer" in table.columns else None
    wanted = ("user",) if apart is not None else ("user", "assistant")
    made = []
    for i, (cell, line) in enumerate(zip(table.columns["messages"], table.lines, strict=True)):
        where = f"{table.origin}, row at line {line}"
        turns = _turns(cell, where=where)
        if tuple(turn.role for turn in turns[-len(wanted) :]) != wanted:
            raise DataError(
                f"{where}: the turns are {', '.join(turn.role for turn in turns)}",
                expected="a conversation that ends with the user's turn and the assistant's answer",
                remedy="end every conversation with the reference answer, as last turn or in a column answer of its own",
            )
        made.append((turns, apart[i]) if apart is not None else (turns[:-1], turns[-1].content))
    return made


def _turns(cell: object, *, where: str) -> tuple[Turn, ...]:
    """Return the turns in a cell; raise DataError for anything but a list of objects with a role and a text."""
    items: Sequence[object] = cell if isinstance(cell, list | tuple) else ()
    turns = tuple(
        Turn(str(one["role"]), readable(one["content"], where=where))
        for one in items
        if isinstance(one, Mapping) and one.get("role") in ROLES and isinstance(one.get("content"), str)
    )
    if not items or len(turns) < len(items):
        bad = next((one for one in items if not isinstance(one, Mapping) or one.get("role") not in ROLES), cell)
        raise DataError(
            f"{where}, column 'messages': {str(bad)[:60]}",
            expected='a list such as [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]',
            remedy="write the conversations as JSONL or Parquet; the roles are " + ", ".join(ROLES),
        )
    return turns
