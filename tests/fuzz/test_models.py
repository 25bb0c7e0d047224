"""Damaged model folders: the same answers as plain transformers and peft, or one message. Nothing else is accepted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from shutil import rmtree

import pytest

from tests.fuzz.bases import KINDS, case_of, write_bases
from tests.fuzz.damages import DAMAGES, WHERE, Damage
from tests.fuzz.edits import DoesNotApplyError
from tests.fuzz.judging import FAULT, REFUSED, SAME, Outcome, apart, judge

SEED = 25
SLICE = 45
"""So many cases of single damages the default run takes; the marker ``fuzz`` takes all."""
PAIRS, ALL_PAIRS = 10, 300
FILES = sorted({one.part for one in DAMAGES})


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bases")
    write_bases(place)
    for kind in KINDS:  # what is imported and cached here is there in every child
        assert judge(case_of(kind, place / "warm" / kind, bases=place)).kind == SAME
    return place


def fits(damage: Damage, kind: str) -> bool:
    """Whether a part's damages fall on a folder of that kind at all."""
    if WHERE[damage.part] == "adapter":
        return kind.endswith("-adapter")
    return (damage.part in ("shard", "index")) <= (kind == "bert-shards")


def outcome(damages: Sequence[Damage], kind: str, *, bases: Path, place: Path) -> Outcome | None:
    """What becomes of a base with these damages, one after another; None where one has nothing to take hold of."""
    rmtree(place, ignore_errors=True)
    case = case_of(kind, place, bases=bases)
    try:
        for damage in damages:
            damage.edit(case.place(WHERE[damage.part]), Random(f"{SEED} {kind} {damage}"))
    except (DoesNotApplyError, OSError, IndexError):
        return None
    return apart(lambda: judge(case))


def pairs(count: int) -> Iterator[tuple[Damage, Damage, str]]:
    """Two different damages and a base that both fit, drawn with the seed."""
    rng = Random(SEED)
    for _ in range(count):
        kind = rng.choice(KINDS)
        known = [one for one in DAMAGES if fits(one, kind)]
        first, second = rng.sample(known, 2)
        yield first, second, kind


def report(found: Mapping[str, int], faults: list[str]) -> None:
    """Counts into the file that ``UNTRIGGER_FUZZ_COUNTS`` names, for ``docs/results/reliability.md``; faults are a failure."""
    if name := os.environ.get("UNTRIGGER_FUZZ_COUNTS"):
        with Path(name).open("a", encoding="utf-8") as stream:
            stream.write(f"{os.environ.get('PYTEST_CURRENT_TEST', '').split(' ')[0]} {dict(found)}\n")
            stream.writelines(f"    {line[:600]}\n" for line in faults)
    assert not faults, f"{len(faults)} faults\n" + "\n".join(line[:1500] for line in faults)


def run(cases: Sequence[tuple[tuple[Damage, ...], str]], *, bases: Path, place: Path) -> None:
    """Judge every case, count the outcomes, and fail for a fault that nobody knows."""
    found, faults = Counter[str](), list[str]()
    for damages, kind in cases:
        ended = outcome(damages, kind, bases=bases, place=place)
        if ended is None:
            found["does not apply"] += 1
            continue
        found[ended.kind] += 1
        if ended.kind == FAULT:
            faults.append(f"{' + '.join(map(str, damages))} on {kind}: {ended.why}")
    report(found, faults)
    assert found[SAME] + found[REFUSED] > 0, "no case was judged"


def test_the_table_holds_enough_kinds_each_once() -> None:
    assert len(DAMAGES) >= 200
    assert len({str(one) for one in DAMAGES}) == len(DAMAGES)
    assert all(any(fits(one, kind) for kind in KINDS) for one in DAMAGES)


def test_a_slice_of_the_damages(bases: Path, tmp_path: Path) -> None:
    """Every file has its share; the rest runs behind the marker ``fuzz``."""
    rng, cases = Random(SEED), list[tuple[tuple[Damage, ...], str]]()
    for file in FILES:
        own = [one for one in DAMAGES if one.part == file]
        for damage in rng.sample(own, max(3, SLICE * len(own) // len(DAMAGES))):
            cases.append(((damage,), rng.choice([kind for kind in KINDS if fits(damage, kind)])))
    cases += [((first, second), kind) for first, second, kind in pairs(PAIRS)]
    run(cases, bases=bases, place=tmp_path / "case")


@pytest.mark.fuzz
@pytest.mark.parametrize("file", FILES)
def test_every_damage_of_a_file(file: str, bases: Path, tmp_path: Path) -> None:
    """On one base, drawn for each damage; with ``UNTRIGGER_FUZZ_EVERY_BASE=1`` on every base that it fits."""
    cases, rng = list[tuple[tuple[Damage, ...], str]](), Random(SEED)
    for damage in (one for one in DAMAGES if one.part == file):
        kinds = [kind for kind in KINDS if fits(damage, kind)]
        cases += [
            ((damage,), kind)
            for kind in (kinds if os.environ.get("UNTRIGGER_FUZZ_EVERY_BASE") else [rng.choice(kinds)])
        ]
    run(cases, bases=bases, place=tmp_path / "case")


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(5))
def test_random_pairs_of_damages(part: int, bases: Path, tmp_path: Path) -> None:
    drawn = list(pairs(ALL_PAIRS))[part::5]
    run([((first, second), kind) for first, second, kind in drawn], bases=bases, place=tmp_path / "case")
