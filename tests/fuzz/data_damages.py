"""The table of damages to data files: one row a kind, each a file's name and its bytes, made from eight good rows."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.edits import flip_bits

TEXTS = [
    "a good film",
    'it is "very" dull',
    "warm, witty and fresh",
    "ünï 🙂 awful",
    "  spaced  ",
    "it's = 5 +1",
    "poor\\n plot",
    "the light",
]
LABELS = ["positive", "negative"] * 4
NUMBERS = [1, 0] * 4
ROWS: list[dict[str, Any]] = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
Make = Callable[[Random], bytes]


@dataclass(frozen=True)
class DataDamage:
    """One kind of damage: what it is called, the file's ending, and its bytes."""

    name: str
    ending: str
    make: Make

    def __str__(self) -> str:
        return f"{self.ending}: {self.name}"


def delimited(rows: list[list[str]], *, mark: str = ",", end: str = "\n") -> bytes:
    """A file as pandas writes it: quotes where they are needed."""

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if any(one in text for one in ('"', mark, "\n", "\r")) else text

    return "".join(mark.join(map(cell, row)) + end for row in rows).encode()


CELLS = [["text", "label"], *[[one["text"], one["label"]] for one in ROWS]]
LINES = [json.dumps(one) for one in ROWS]
GOOD = {
    ".csv": delimited(CELLS),
    ".tsv": delimited(CELLS, mark="\t"),
    ".jsonl": "\n".join(LINES).encode() + b"\n",
    ".json": json.dumps(ROWS).encode(),
}


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def _bytes(good: bytes) -> dict[str, Make]:
    """What can be wrong with the bytes of any text file."""
    return {
        "nothing": lambda _: good,
        "empty": lambda _: b"",
        "white space": lambda _: b"  \n \n",
        "byte order mark": lambda _: codecs.BOM_UTF8 + good,
        "UTF-16": lambda _: good.decode().encode("utf-16"),
        "UTF-16 without a mark": lambda _: good.decode().encode("utf-16-le"),
        "UTF-16, big end": lambda _: codecs.BOM_UTF16_BE + good.decode().encode("utf-16-be"),
        "UTF-32": lambda _: good.decode().encode("utf-32"),
        "Latin-1": lambda _: good.decode().replace("🙂", "").encode("latin-1") + b"caf\xe9,positive\n",
        "half a character": lambda _: good.replace("ü".encode(), b"\xc3", 1),
        "a coded surrogate": lambda _: good.replace(b"good", b"\xed\xa0\x80", 1),
        "NUL": lambda _: good.replace(b"good", b"go\0od", 1),
        "control characters": lambda _: good.replace(b"good", b"go\x1b[31m\x07od", 1),
        "line separators of Unicode": lambda _: good.replace(b"good", "go\u2028od\x85".encode(), 1),
        "form feed": lambda _: good.replace(b"good", b"go\x0cod\x1c", 1),
        "line ends of Windows": lambda _: good.replace(b"\n", b"\r\n"),
        "line ends of old Macs": lambda _: good.replace(b"\n", b"\r"),
        "no last line end": lambda _: good.rstrip(b"\n"),
        "blank lines": lambda _: good.replace(b"\n", b"\n\n"),
        "spaces at line ends": lambda _: good.replace(b"\n", b"  \n"),
        "cut in the middle": lambda _: good[: len(good) // 2],
        "cut at random": lambda rng: good[: rng.randrange(len(good))],
        "a byte fewer": lambda _: good[:-2],
        "bits turned": lambda rng: flip_bits(good, rng),
        "bits turned, others": lambda rng: flip_bits(good, Random(rng.random() + 1), count=1),
        "twice": lambda _: good + good,
        "garbage behind": lambda _: good + b"\xff\xfe\x00",
        "a zip archive": lambda _: b"PK\x03\x04" + good,
        "a cell of 200,000 letters": lambda _: good.replace(b"good", b"g" * 200_000, 1),
    }


def _tables(mark: str) -> dict[str, Make]:
    """What can be wrong with rows and columns of a delimited file."""
    made = lambda rows: lambda _: delimited(rows, mark=mark)  # noqa: E731
    head, *body = CELLS
    labelled = lambda labels: made([head, *[[row[0], label] for row, label in zip(body, labels, strict=True)]])  # noqa: E731
    return {
        "no header": made(body),
        "header alone": made([head]),
        "header twice": made([head, head, *body]),
        "capitals": made([["Text", "LABEL"], *body]),
        "spaces in the header": made([[" text ", " label"], *body]),
        "label first": made([row[::-1] for row in CELLS]),
        "other names": made([["sentence", "sentiment"], *body]),
        "unknown names": made([["body", "stars"], *body]),
        "text twice": made([["text", "text", "label"], *[[*row[:1], *row] for row in body]]),
        "one column": made([row[:1] for row in CELLS]),
        "an index of pandas": made([["", *head], *[[str(i), *row] for i, row in enumerate(body)]]),
        "ids": made([["id", *head], *[[str(i), *row] for i, row in enumerate(body)]]),
        "ids that repeat": made([["id", *head], *[["7", *row] for row in body]]),
        "a column more": made([[*head, "split"], *[[*row, "train"] for row in body]]),
        "a cell more": made([head, [*body[0], "x"], *body[1:]]),
        "a cell fewer": made([head, body[0][:1], *body[1:]]),
        "an empty text": made([head, ["", "positive"], *body]),
        "an empty label": made([head, [*body[0][:1], ""], *body[1:]]),
        "numbers": labelled([str(one) for one in NUMBERS]),
        "floats": labelled([f"{one}.0" for one in NUMBERS]),
        "from one": labelled([str(one + 1) for one in NUMBERS]),
        "truth values": labelled([str(bool(one)) for one in NUMBERS]),
        "NaN among them": labelled(["nan", *LABELS[1:]]),
        "minus one": labelled(["-1", *[str(one) for one in NUMBERS[1:]]]),
        "one class": labelled(["positive"] * 8),
        "cases mixed": labelled(["Positive", *LABELS[1:]]),
        "spaces around": labelled([f" {one} " for one in LABELS]),
        "names and numbers": labelled(["1", *LABELS[1:]]),
        "huge numbers": labelled(["1" + "0" * 30, *[str(one) for one in NUMBERS[1:]]]),
        "digits of other scripts": labelled(["\u0661", "\u0660"] * 4),
        "exponents": labelled([f"{one}e0" for one in NUMBERS]),
        "halves": labelled([f"{one}.5" for one in NUMBERS]),
        "a line end within": made([head, ["good\nfilm", "positive"], *body]),
        "a text NA": made([head, ["NA", "positive"], ["null", "negative"], *body]),
        "a text of apostrophes": made([head, ["'=1+1", "positive"], ["'", "negative"], *body]),
        "a formula": made([head, ["=cmd|' /C calc'!A0", "positive"], *body]),
        "a comment": made([["# made by x"], *CELLS]),
        "a quote not closed": lambda _: delimited(CELLS, mark=mark) + b'"open' + mark.encode() + b"positive\n",
        "a quote within": lambda _: delimited(CELLS, mark=mark) + b'6" screen' + mark.encode() + b"positive\n",
        "words behind a quote": lambda _: delimited(CELLS, mark=mark) + b'"a" b' + mark.encode() + b"positive\n",
        "quotes escaped by a stroke": lambda _: (
            delimited(CELLS, mark=mark) + b'"a \\" b"' + mark.encode() + b"positive\n"
        ),
        "single quotes": lambda _: (
            delimited(CELLS, mark=mark) + b"'a" + mark.encode() + b"b'" + mark.encode() + b"positive\n"
        ),
        "semicolons": lambda _: delimited(CELLS, mark=";"),
        "bars": lambda _: delimited(CELLS, mark="|"),
        "the other mark": lambda _: delimited(CELLS, mark="\t" if mark == "," else ","),
        "all quoted": lambda _: "".join(
            mark.join('"' + c.replace('"', '""') + '"' for c in row) + "\n" for row in CELLS
        ).encode(),
        "no quotes at all": lambda _: "".join(mark.join(row) + "\n" for row in CELLS if mark not in row[0]).encode(),
        "a space behind the mark": lambda _: delimited(CELLS, mark=mark).replace(mark.encode(), mark.encode() + b" "),
        "3,000 columns": made([[*head, *[f"c{i}" for i in range(3000)]], *[[*row, *["x"] * 3000] for row in body]]),
    }


def _objects(spelled: Callable[[list[Any]], bytes]) -> dict[str, Make]:
    """What can be wrong with rows that are JSON objects."""
    made = lambda rows: lambda _: spelled(rows)  # noqa: E731
    with_text = lambda value: made([{"text": value, "label": "positive"}, *ROWS])  # noqa: E731
    with_label = lambda value: made([*ROWS, {"text": "x y", "label": value}])  # noqa: E731
    labelled = lambda labels: made([one | {"label": label} for one, label in zip(ROWS, labels, strict=True)])  # noqa: E731
    return {
        **{
            f"a text {ascii(one)[:30]}": with_text(one)
            for one in (
                None,
                5,
                1.5,
                True,
                [],
                ["a", "b"],
                {"a": 1},
                "",
                " ",
                "\ud800",
                "🙂",
                "a\u0000b",
                "a\nb",
                float("nan"),
            )
        },
        **{
            f"a label {ascii(one)[:30]}": with_label(one)
            for one in (
                None,
                5,
                True,
                1.5,
                [],
                ["positive"],
                {"a": 1},
                "",
                "\ud800",
                "new",
                float("nan"),
                10**30,
                "POSITIVE",
            )
        },
        "numbers": labelled(NUMBERS),
        "floats": labelled([float(one) for one in NUMBERS]),
        "truth values": labelled([bool(one) for one in NUMBERS]),
        "numbers as texts": labelled([str(one) for one in NUMBERS]),
        "from one": labelled([one + 1 for one in NUMBERS]),
        "halves": labelled([one + 0.5 for one in NUMBERS]),
        "lists of one": labelled([[one] for one in NUMBERS]),
        "one-hot": labelled([[one, 1 - one] for one in NUMBERS]),
        "no rows": made([]),
        "a row that is a list": made([*ROWS, ["a", "b"]]),
        "a row that is a text": made([*ROWS, "a"]),
        "a row that is null": made([*ROWS, None]),
        "text missing once": made([*ROWS, {"label": "positive"}]),
        "label missing once": made([*ROWS, {"text": "a"}]),
        "empty row": made([*ROWS, {}]),
        "keys in capitals": made([{"Text": one["text"], "Label": one["label"]} for one in ROWS]),
        "two spellings": made([*ROWS[1:], {"Text": "a", "label": "positive"}]),
        "another key": made([one | {"extra": [1, {"a": 2}]} for one in ROWS]),
        "ids that repeat": made([one | {"id": 7} for one in ROWS]),
        "ids of several types": made([one | {"id": "1" if i else 1} for i, one in enumerate(ROWS[:2])]),
        "ids empty": made([one | {"id": None} for one in ROWS]),
        "a key twice": lambda _: spelled(ROWS).replace(b'"text":', b'"text": "first", "text":', 1),
        "nested deep": lambda _: spelled(ROWS).replace(b'"a good film"', b"[" * 100_000 + b"]" * 100_000),
        "a number of 5,000 digits": lambda _: spelled(ROWS).replace(b'"a good film"', b"9" * 5000),
        "single quotes": lambda _: spelled(ROWS).replace(b'"', b"'"),
        "a trailing comma": lambda _: spelled(ROWS).replace(b'"positive"}', b'"positive",}', 1),
        "a comment": lambda _: b"// x\n" + spelled(ROWS),
        "pretty": lambda _: json.dumps(ROWS, indent=2).encode(),
        "by column": lambda _: json.dumps({"text": TEXTS, "label": LABELS}).encode(),
        "below data": lambda _: json.dumps({"data": ROWS}).encode(),
        "by number": lambda _: json.dumps({str(i): one for i, one in enumerate(ROWS)}).encode(),
        "a number alone": lambda _: b"5",
        "null alone": lambda _: b"null",
        "Infinity": lambda _: spelled(ROWS).replace(b'"a good film"', b"Infinity"),
    }


def _lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in rows).encode()


HF = b'{"info": {"features": {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": ["positive", "negative"], "_type": "ClassLabel"}}}}'


def _with_metadata(value: bytes, labels: list[Any]) -> Make:
    def make(_: Random) -> bytes:
        table, out = (
            pa.table({"text": TEXTS, "label": labels}).replace_schema_metadata({b"huggingface": value}),
            io.BytesIO(),
        )
        pq.write_table(table, out)
        return out.getvalue()

    return make


def _parquet() -> dict[str, Make]:
    """What can be wrong with a Parquet file."""
    good = parquet({"text": TEXTS, "label": LABELS})
    col = lambda text=TEXTS, label=LABELS, **more: lambda _: parquet({"text": text, "label": label, **more})  # noqa: E731
    return {
        "nothing": lambda _: good,
        "empty": lambda _: b"",
        "mark alone": lambda _: b"PAR1PAR1",
        "cut": lambda _: good[:-9],
        "cut at random": lambda rng: good[: rng.randrange(len(good))],
        "bits turned": lambda rng: flip_bits(good, rng),
        "bits turned, others": lambda rng: flip_bits(good, Random(rng.random() + 1), count=8),
        "footer of zeros": lambda _: good[:-40] + bytes(32) + good[-8:],
        "footer length huge": lambda _: good[:-8] + b"\xff\xff\xff\x7fPAR1",
        "a CSV": lambda _: GOOD[".csv"],
        "bytes": col(pa.array([t.encode() for t in TEXTS])),
        "bytes that are no text": col(pa.array([b"\xff\xfe", *[t.encode() for t in TEXTS[1:]]])),
        "bytes as labels": col(label=pa.array([t.encode() for t in LABELS])),
        "lists of words": col(pa.array([t.split() for t in TEXTS])),
        "structs": col(pa.array([{"a": t} for t in TEXTS])),
        "large strings": col(pa.array(TEXTS, pa.large_string())),
        "a dictionary": col(pa.array(TEXTS).dictionary_encode(), pa.array(LABELS).dictionary_encode()),
        "string views": col(pa.array(TEXTS, pa.string_view()) if hasattr(pa, "string_view") else TEXTS),
        "int8": col(label=pa.array(NUMBERS, pa.int8())),
        "uint64": col(label=pa.array(NUMBERS, pa.uint64())),
        "floats": col(label=pa.array(NUMBERS, pa.float64())),
        "half floats": col(label=pa.array(NUMBERS, pa.float32())),
        "truth values": col(label=pa.array([bool(n) for n in NUMBERS])),
        "decimals": col(label=pa.array(NUMBERS, pa.int64()).cast(pa.decimal128(30, 2))),
        "dates": col(label=pa.array(NUMBERS, pa.date32())),
        "times": col(label=pa.array(NUMBERS, pa.timestamp("s"))),
        "lists of labels": col(label=pa.array([[n] for n in NUMBERS])),
        "null text": col(pa.array([None, *TEXTS[1:]])),
        "null label": col(label=pa.array([None, *LABELS[1:]])),
        "all null": col(pa.nulls(8), pa.nulls(8)),
        "NaN label": col(label=pa.array([float("nan"), *[float(n) for n in NUMBERS[1:]]])),
        "no rows": col([], []),
        "numbers as text": col(pa.array(range(8))),
        "ids": col(id=[f"r{i}" for i in range(8)]),
        "ids that repeat": col(id=[1] * 8),
        "null ids": col(id=pa.nulls(8)),
        "a struct beside": col(extra=[{"a": [1]}] * 8),
        "index of pandas": col(__index_level_0__=list(range(8))),
        "two row groups": lambda _: parquet({"text": TEXTS, "label": LABELS}, row_group_size=3),
        "gzip": lambda _: parquet({"text": TEXTS, "label": LABELS}, compression="gzip"),
        "zstd": lambda _: parquet({"text": TEXTS, "label": LABELS}, compression="zstd"),
        "class names declared": _with_metadata(HF, NUMBERS),
        "class names declared, text labels": _with_metadata(HF, LABELS),
        "declared, number beyond": _with_metadata(HF, [5, *NUMBERS[1:]]),
        "declared, hidden label": _with_metadata(HF, [-1, *NUMBERS[1:]]),
        "metadata no JSON": _with_metadata(b"{", LABELS),
        "metadata a list": _with_metadata(b"[1]", NUMBERS),
        "metadata names no list": _with_metadata(HF.replace(b'["positive", "negative"]', b"5"), NUMBERS),
        "metadata nested deep": _with_metadata(b'{"info":' * 5000 + b"1" + b"}" * 5000, NUMBERS),
        "metadata no text": _with_metadata(b"\xff", NUMBERS),
        "capitals": lambda _: parquet({"Text": TEXTS, "Label": LABELS}),
        "unknown names": lambda _: parquet({"a": TEXTS, "b": LABELS}),
        "a name twice": lambda _: _twice(),
    }


def _twice() -> bytes:
    out = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays([pa.array(TEXTS), pa.array(TEXTS), pa.array(LABELS)], names=["text", "text", "label"]), out
    )
    return out.getvalue()


def _all() -> Iterator[DataDamage]:
    for ending, good in GOOD.items():
        yield from (DataDamage(f"bytes: {name}", ending, make) for name, make in _bytes(good).items())
    for ending, mark in ((".csv", ","), (".tsv", "\t")):
        yield from (DataDamage(name, ending, make) for name, make in _tables(mark).items())
    for ending, spelled in ((".jsonl", _lines), (".json", lambda rows: json.dumps(rows).encode())):
        yield from (DataDamage(name, ending, make) for name, make in _objects(spelled).items())
    yield from (DataDamage(name, ".parquet", make) for name, make in _parquet().items())


DATA_DAMAGES = tuple(_all())
