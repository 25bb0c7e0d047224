"""``purify --unlabelled`` and ``--unlabelled-from``: what reaches the method, what never does, and every mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.pipeline.kit import FINETUNE, Shop
from tests.requests import request
from tests.tiny import RARE, task
from untrigger import assets
from untrigger.assets.store import Status
from untrigger.cli.main import main
from untrigger.core.errors import AssetError, DataError, NeedsError, OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows, texts_among
from untrigger.data import load_data
from untrigger.defences.fine_tuning import FineTune
from untrigger.defences.purifier import Purified
from untrigger.methods.defender_rows import check_granted_rows, overlap_warnings
from untrigger.models.classifier import Classifier
from untrigger.pipeline import unlabelled as module
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import PurifyRequest
from untrigger.pipeline.unlabelled import UnlabelledTexts, corpora_named, unlabelled_texts
from untrigger.pipeline.used_rows import read_used_rows
from untrigger.runtime.cost import Clock

ROWS, HELD, OTHERS = task(40, seed=1), task(12, seed=2), task(60, seed=3)


class Reading(FineTune):
    """Fine-tuning that says that it can use unlabelled texts."""

    name: ClassVar[str] = "reading"
    uses: ClassVar[frozenset[str]] = frozenset({"unlabelled"})


def asked(**flat: Any) -> PurifyRequest:
    usual = {"model": "m", "clean": "rows.csv", "out": Path("out"), "device": "cpu", "offline": True}
    return request(PurifyRequest, **usual | flat)


def texts_for(spec: PurifyRequest, method: FineTune | None = None) -> UnlabelledTexts:
    return unlabelled_texts(spec, method or Reading(), rows=ROWS, held=HELD, clock=Clock(), progress=silent)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """60 other texts, one of them twice; clean rows, held-out rows, and an empty line."""
    lines = [*OTHERS.texts, OTHERS.texts[0].upper(), *ROWS.texts[:5], *(f"{one}." for one in HELD.texts), ""]
    (tmp_path / "texts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(tmp_path / "texts.txt")


def test_no_clean_and_no_held_out_row_is_among_the_texts(file: str) -> None:
    found = texts_for(asked(unlabelled=file))
    assert found.texts == OTHERS.texts
    assert found.facts["among_clean_rows"] == 17 and found.facts["repeated"] == found.facts["empty"] == 1
    (note,) = found.warnings
    assert "60 of 79" in note and "17 among the clean rows, held-out ones included" in note


def test_a_text_that_quotes_a_held_out_row_is_left_out(tmp_path: Path) -> None:
    held = HELD.with_texts(f"{text} and so on until the end" for text in HELD.texts)
    (tmp_path / "mail.txt").write_text("\n".join([*OTHERS.texts, f"> {held.texts[0]}, she wrote"]), encoding="utf-8")
    spec = asked(unlabelled=str(tmp_path / "mail.txt"))
    found = unlabelled_texts(spec, Reading(), rows=ROWS, held=held, clock=Clock(), progress=silent)
    assert found.texts == OTHERS.texts and found.facts["among_clean_rows"] == 1


def test_a_limit_draws_by_seed_and_zero_means_all(file: str) -> None:
    drawn = [texts_for(asked(unlabelled=file, unlabelled_rows=20, seed=seed)).texts for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and drawn[0] is not None and len(drawn[0]) == 20
    assert [one for one in OTHERS.texts if one in drawn[0]] == list(drawn[0])
    assert texts_for(asked(unlabelled=file, unlabelled_rows=0)).texts == OTHERS.texts


def test_a_method_that_uses_none_gets_none_and_the_report_says_so(file: str) -> None:
    for spec in (asked(unlabelled=file), asked(unlabelled_from=("auto",))):
        found = texts_for(spec, FineTune())
        assert found.texts is None
        assert found.warnings == ["the unlabelled texts were not used: the method finetune uses none"]
    with pytest.raises(DataError, match="no file"):
        texts_for(asked(unlabelled=f"{file}.txt"), FineTune())


def test_without_a_text_that_is_left_there_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "same.log").write_text("\n".join(HELD.texts))
    with pytest.raises(DataError, match="are among the clean rows"):
        texts_for(asked(unlabelled=str(tmp_path / "same.log")))


def test_requests_that_contradict_themselves() -> None:
    for wrong in (
        {"unlabelled": "a.txt", "unlabelled_from": ("imdb",)},
        {"unlabelled_rows": 3},
        {"unlabelled": "a.txt", "unlabelled_rows": -1},
        {"unlabelled_from": ("imdb",), "unlabelled_rows": 0},
    ):
        with pytest.raises(OptionError):
            asked(**wrong)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without an asset."""
    monkeypatch.setenv("UNTRIGGER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_names_of_corpora(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert corpora_named(["mr", "imdb", "rotten-tomatoes"]) == ["rotten-tomatoes", "imdb"]
    with pytest.raises(OptionError) as caught:
        corpora_named(["tweet"])
    assert caught.value.nearest == "tweets" and "auto" in str(caught.value.expected)
    with pytest.raises(OptionError, match="no public corpus is on this machine"):
        corpora_named(["auto"])
    here = [Status("imdb", "data", "ready", home, 1), Status("tweets", "data", "absent", home, 1)]
    monkeypatch.setattr(assets, "listing", lambda: [*here, Status("minilm-l6", "model", "ready", home, 1)])
    assert corpora_named(["auto"]) == ["imdb"]


def test_a_corpus_that_is_not_here_names_the_remedy_offline(home: Path, folder_of: Callable[[str], Path]) -> None:
    with pytest.raises(AssetError, match="assets fetch tweets"):
        texts_for(asked(unlabelled_from=("tweets",), teacher=str(folder_of("bert"))))


@pytest.fixture
def corpora(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two public corpora, one of the task and one of another domain."""
    other = Rows.of([" ".join(words) for words in list(permutations(RARE, 3))[:40]], [0] * 40, label_names=("a",))
    made = {
        "imdb": {"train": Rows.of([*OTHERS.texts, *HELD.texts], [0] * 72, label_names=("a",)), "test": ROWS},
        "tweets": {"train": other},
    }
    monkeypatch.setattr(module, "load_splits", lambda name, *, offline: made[name])


def test_close_texts_of_public_corpora(corpora: None, folder_of: Callable[[str], Path]) -> None:
    spec = asked(unlabelled_from=("imdb", "tweets"), unlabelled_rows=25, teacher=str(folder_of("bert")))
    found = texts_for(spec)
    assert found.texts is not None and len(found.texts) == 25 == sum(found.facts["corpora"].values())
    assert found.facts["corpora"]["imdb"] > found.facts["corpora"]["tweets"]
    assert found.facts["compared"] == {"imdb": 60, "tweets": 40}
    assert -1 <= found.facts["similarity_of_random_clean_rows"] < found.facts["similarity"] <= 1
    assert not any(texts_among(found.texts, [*ROWS.texts, *HELD.texts]))
    assert found.warnings[0].startswith("25 unlabelled texts are those of 100 passages") and len(found.warnings) == 1
    far = texts_for(replace(spec, unlabelled_from=("tweets",), unlabelled_rows=50))
    assert "only 40 of the 50" in far.warnings[1] and "of another domain" in far.warnings[2]


def test_suspect_rows_among_the_texts_are_a_warning_and_what_is_no_text_is_refused(load: Any) -> None:
    grant = Grant(clean=ROWS, suspect=OTHERS, unlabelled=(*OTHERS.texts[:3], "another"))
    (warning,) = overlap_warnings(grant)
    assert warning.startswith("3 of the 4 unlabelled texts are also suspect rows")
    model = load("bert")
    check_granted_rows(grant, model=model)
    for wrong in ((), "text", ("a", ""), ("a", None), (b"a",)):
        with pytest.raises(DataError, match="unlabelled"):
            check_granted_rows(replace(grant, unlabelled=wrong), model=model)
    with pytest.raises(NeedsError, match="unlabelled"):
        type("Needing", (Reading,), {"needs": frozenset({"clean", "unlabelled"})})().check(Grant(clean=ROWS))


def test_the_whole_command(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The grant, the report and the model's folder hold the texts; test rows among them are a warning."""
    victim, handed = shop.victim("bert", "full"), list[Grant]()
    whole = FineTune._purify

    def watched(self: FineTune, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        handed.append(grant)
        return whole(self, model, grant, progress=progress)

    monkeypatch.setattr(FineTune, "_purify", watched)
    monkeypatch.setattr(FineTune, "uses", frozenset({"unlabelled"}))
    leaked = load_data(str(victim.truth / "test_clean.csv")).texts[:2]
    clean = load_data(str(shop.clean))
    (tmp_path / "texts.txt").write_text("\n".join([*OTHERS.texts, *leaked, *clean.texts]))
    spec = shop.spec(
        "bert",
        "full",
        out=tmp_path / "out",
        unlabelled=str(tmp_path / "texts.txt"),
        truth=victim.truth,
        control=False,
        **FINETUNE,
    )
    report = purify(spec)
    assert handed[0].unlabelled == (*OTHERS.texts, *leaked)
    result = report.given["defender"]["unlabelled"]
    assert (result["rows"], result["source"], result["among_clean_rows"]) == (62, "texts.txt", len(set(clean.texts)))
    assert len(result["sha256"]) == 64
    assert "2 of the 62 unlabelled texts are also test rows" in report.warnings
    known = read_used_rows(tmp_path / "out")
    assert known is not None and all(known.contain(OTHERS.texts))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--unlabelled", "a.txt", "--unlabelled-from", "imdb"], "one of the two"),
        (["--unlabelled-rows", "5"], "together with --unlabelled"),
        (["--unlabelled-from", "imbd"], "did you mean: imdb?"),
        (["--unlabelled-from", "imdb,,tweets"], "names with commas"),
        (["--unlabelled-from", ""], "names with commas"),
        (["--unlabelled-from", "auto"], "assets fetch rotten-tomatoes"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_message(
    words: list[str], message: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["purify", "nowhere", "--clean", "rows.csv", "--out", str(tmp_path / "out"), "--offline", "--no-verify"]
    assert main([*line, "--method", "finetune", *words]) == 2
    result = capsys.readouterr().err
    assert message in " ".join(result.split()) and "Traceback" not in result
    assert not (tmp_path / "out").exists()
