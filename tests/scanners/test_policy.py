"""A policy file is read whole or refused with everything that is wrong with it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from untrigger.core.errors import OptionError
from untrigger.core.thresholds import SCAN_SCORE
from untrigger.scanners.policy import Allowed, Policy, read_policy

GOOD = """
fail_on = "backdoored"

[thresholds]
suspicious = 0.4
backdoored = 0.9

[limits]
embedding_row_lead = 1.5

[[allow]]
text = "In 3D"
target = "positive"
reason = "a word of the trade"
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "policy.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_says_all_that_a_policy_can(tmp_path: Path) -> None:
    policy = read_policy(written(tmp_path, GOOD))
    assert policy == Policy(
        "backdoored", 0.4, 0.9, {"embedding_row_lead": 1.5}, (Allowed("In 3D", "a word of the trade", "positive"),)
    )


def test_an_empty_file_is_the_usual_policy(tmp_path: Path) -> None:
    usual = read_policy(written(tmp_path, ""))
    assert usual == Policy()
    assert (usual.suspicious, usual.backdoored) == (SCAN_SCORE.suspicious, SCAN_SCORE.certain)
    assert not usual.limits, "no limit of the weights is calibrated"


@pytest.mark.parametrize(
    ("fail_on", "codes"),
    [("undecided", "0111"), ("suspicious", "0311"), ("backdoored", "0301")],
)
def test_each_verdict_fails_with_all_that_are_worse(fail_on: str, codes: str) -> None:
    policy = Policy(fail_on=fail_on)
    result = [policy.exit_code(status) for status in ("clean", "undecided", "suspicious", "backdoored")]
    assert "".join(str(one) for one in result) == codes


def test_undecided_passes_only_a_policy_that_says_so(tmp_path: Path) -> None:
    policy = read_policy(written(tmp_path, "allow_undecided = true"))
    assert [policy.exit_code(status) for status in ("clean", "undecided", "suspicious")] == [0, 0, 1]
    with pytest.raises(OptionError, match="both fail and are allowed"):
        read_policy(written(tmp_path, "allow_undecided = true\nfail_on = 'undecided'"))
    with pytest.raises(OptionError, match="expected true or false"):
        read_policy(written(tmp_path, "allow_undecided = 'yes'"))


def test_an_allowed_text_is_compared_folded_and_by_its_label() -> None:
    policy = Policy(allow=(Allowed("In  3d", "trade", "positive"), Allowed("cf", "unit")))
    assert policy.reason("in 3D", target="positive") == "trade"
    assert policy.reason("in 3D", target="negative") == ""
    assert policy.reason("CF", target="negative") == "unit"
    assert policy.reason("in 3D now", target="positive") == ""


DIGEST = "ab" * 32
LIMITED = f"""
[[allow]]
text = "in 3D"
reason = "trade"
digest = "{DIGEST.upper()}"
expires = 2027-01-31
"""


@pytest.mark.parametrize("day", ["expires = 2027-01-31", "expires = '2027-01-31'"])
def test_an_entry_applies_to_its_model_until_its_last_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, day: str
) -> None:
    policy = read_policy(written(tmp_path, LIMITED.replace("expires = 2027-01-31", day)))
    assert policy.allow == (Allowed("in 3D", "trade", digest=DIGEST, expires=date(2027, 1, 31)),)
    for now, reason, warned in ((date(2027, 1, 31), "trade", 0), (date(2027, 2, 1), "", 1)):
        monkeypatch.setattr("untrigger.scanners.policy.today", lambda now=now: now)
        assert policy.reason("in 3d", target="x", model=DIGEST) == reason
        assert policy.reason("in 3d", target="x", model="cd" * 32) == policy.reason("in 3d", target="x") == ""
        assert len(policy.warnings()) == warned
    assert "'in 3D'" in policy.warnings()[0] and "expired on 2027-01-31" in policy.warnings()[0]
    assert str(policy.allow[0]) == f"in 3D: trade; only for the model {DIGEST}; until 2027-01-31"


def test_an_entry_without_model_and_day_applies_to_all() -> None:
    policy = Policy(allow=(Allowed("cf", "unit"),))
    assert policy.reason("cf", target="x") == policy.reason("cf", target="x", model=DIGEST) == "unit"
    assert not policy.warnings()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fail_on = 'suspicous'", "did you mean: suspicious"),
        ("fail_on = 3", "fail_on: expected"),
        ("thresholds = 3", "expected a table"),
        ("[thresholds]\nsuspicious = 'low'", "expected a finite number"),
        ("[thresholds]\nsuspicious = true", "expected a finite number"),
        ("[thresholds]\nsuspicious = nan", "expected a finite number"),
        ("[thresholds]\nsuspicious = 0.9\nbackdoored = 0.2", "suspicious <= backdoored"),
        ("[thresholds]\nbackdoored = 1.2", "<= 1"),
        ("[thresholds]\nsuspicous = 0.1", "did you mean suspicious"),
        ("[limits]\nembedding_row_leed = 1.0", "did you mean embedding_row_lead"),
        (f"[limits]\nembedding_row_lead = 1{'0' * 400}", "expected a finite number"),
        ("failon = 'suspicious'", "did you mean fail_on"),
        ("allow = ['cf']", "expected a list of tables"),
        ("[[allow]]\ntext = 'cf'", "allow 1: reason: expected some text"),
        ("[[allow]]\ntext = ''\nreason = 'x'", "allow 1: text: expected some text"),
        ("[[allow]]\ntext = 'cf'\nreason = 'x'\ntarget = 1", "target: expected a label name"),
        ("[[allow]]\ntext = 'cf'\nreason = 'x'\nlabel = 'a'", "label is not known"),
        ("[[allow]]\ntext = 'cf'\nreason = 'x'\ndigest = 'abc'", "allow 1: digest: expected the 64 hex digits"),
        ("[[allow]]\ntext = 'cf'\nreason = 'x'\ndigest = 3", "allow 1: digest: expected the 64 hex digits"),
        ("[[allow]]\ntext = 'cf'\nreason = 'x'\nexpires = 'soon'", "allow 1: expires: expected a day"),
        ("[[allow]]\ntext = 'cf'\nreason = 'x'\nexpires = '2027-02-31'", "allow 1: expires: expected a day"),
        ("[[allow]]\ntext = 'cf'\nreason = 'x'\nexpires = 2027-01-31T00:00:00Z", "allow 1: expires: expected a day"),
        ("[[allow]]\ntext = 'cf'\nreason = 'x'\nexpiry = 2027-01-31", "did you mean expires"),
        ("fail_on = ", "is not TOML"),
        ("x = " + "[" * 5000, "is not TOML"),
        ("fail_on = 'clean'", "policy.toml': fail on 'clean'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(OptionError) as caught:
        read_policy(written(tmp_path, text))
    assert says in str(caught.value)


def test_all_problems_come_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        read_policy(written(tmp_path, "colour = 1\n[limits]\nx = 1.0\n[[allow]]\ntext = 'cf'"))
    assert all(word in str(caught.value) for word in ("colour", "limits.x", "allow 1: reason"))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot read"):
        read_policy(tmp_path / "absent.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(OptionError, match="is not TOML"):
        read_policy(tmp_path / "bytes.toml")
    with pytest.raises(OptionError, match="larger than"):
        read_policy(written(tmp_path, "#" * (2**20 + 1)))
