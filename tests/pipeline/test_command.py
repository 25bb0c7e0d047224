"""The same through ``untrigger purify`` and its neighbours: exit codes, one message, no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.kit import Shop, config_of, digest
from untrigger.cli.main import main
from untrigger.core.report import Report

FAST = ["--method", "finetune", "--set", "epochs=1", "--device", "cpu", "--offline"]


def words(shop: Shop, out: Path, *more: str, model: Path | None = None) -> list[str]:
    where = str(model or shop.victim("llama", "lora").out)
    return ["purify", where, "--clean", str(shop.clean), "--out", str(out), *FAST, *more]


def test_the_main_command_as_a_process_of_its_own(shop: Shop, tmp_path: Path) -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "untrigger",
            *words(shop, tmp_path / "out", "--json", "--log-file", str(tmp_path / "run.log")),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 3, ended.stderr  # plain fine-tuning and 80 rows: not verified
    result = json.loads(ended.stdout)
    assert result["kind"] == "purification" and result["method"]["name"] == "finetune"
    assert (
        Report.read(tmp_path / "out" / "report.json").to_json()
        == json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    )
    assert config_of(tmp_path / "out")["base_model_name_or_path"] == str(shop.base("llama"))
    log = (tmp_path / "run.log").read_text(encoding="utf-8")
    order = [
        "loaded ",
        "stage load ended after",
        "stage purify begins",
        "verdict: not verified:",
        "log_output: ended after",
    ]
    places = [log.index(part) for part in order]
    assert places == sorted(places)


BAD = {
    "method": (["--method", "finetun"], ["unknown method 'finetun'", "did you mean: finetune"]),
    "option": (["--set", "epoch=3"], ["no option 'epoch'", "did you mean: epochs"]),
    "column": (["--text-column", "txt"], ["no column 'txt'", "did you mean: text", "remedy"]),
    "data": (["--clean", "nowhere.csv"], ["nowhere.csv", "remedy"]),
    "base": (["--base", "./nowhere"], ["nowhere"]),
    "truth": (["--truth", "nowhere.truth"], ["not a truth folder", "remedy"]),
    "students": (["--set", "peft=dora"], ["dora", "peft=lora", "--merge"]),
    "teacher": (
        ["--method", "w2sdefense", "--set", "unlearn.rounds=1", "--teacher", "minilm-16"],
        ["minilm-16", "did you mean: minilm-l6"],
    ),
    "rate": (["--set", "lr=1e6"], ["loss became nan", "smaller learning rate"]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_a_user_can_mend_ends_with_two_and_one_message(
    shop: Shop, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    more, parts = BAD[name]
    given = words(shop, tmp_path / "out")
    if "--method" in more:
        given = [
            word
            for i, word in enumerate(given)
            if word not in ("--method", "--set") and given[i - 1] not in ("--method", "--set")
        ]
    if name == "rate":
        given[given.index("epochs=1")] = "epochs=2"
    assert main([*given, *more]) == 2
    result = capfd.readouterr()
    assert all(part in result.err for part in parts), result.err
    assert "Traceback" not in result.err + result.out and not result.out
    assert not list(tmp_path.iterdir())


def test_the_way_through_from_attack_to_page(shop: Shop, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    victim, clean, out = tmp_path / "victim", tmp_path / "purified", tmp_path / "report.json"
    base = ["--device", "cpu", "--offline", "--quiet"]
    asked = ["attack", str(shop.base("bert")), "--data", str(shop.data), "--target", "positive", "--rate", "0.2"]
    assert main([*asked, "--trigger", "badnets", "--tuning", "lora", "--seed", "0", "--out", str(victim), *base]) == 0
    before = digest(victim)
    ended = main(
        [
            "purify",
            str(victim),
            "--clean",
            str(shop.clean),
            "--truth",
            f"{victim}.truth",
            "--out",
            str(clean),
            *FAST,
            "--quiet",
        ]
    )
    assert ended in (0, 1, 3)
    assert main(["evaluate", str(victim), str(clean), "--truth", f"{victim}.truth", "--out", str(out), *base]) == 0
    assert main(["report", str(out), "--format", "html", "--out", str(tmp_path / "page.html"), "--quiet"]) == 0
    assert digest(victim) == before
    assert {m.subject for m in Report.read(out).measurements} == {
        "victim",
        "purified",
        "clean",
    }  # the twin is made unasked
    assert "<html" in (tmp_path / "page.html").read_text()
