"""Streams that come from one seed are apart: by purpose, from the attack's, and from those of neighbouring seeds."""

from __future__ import annotations

from untrigger.core.seeds import derived_seed, row_rng


def test_seeds_of_other_purposes_and_of_neighbours_are_others() -> None:
    made = {derived_seed(seed, purpose) for seed in range(200) for purpose in ("dev", "second reference")}
    assert len(made) == 400
    assert not made & set(range(1000)), "none is the seed of another run"
    assert derived_seed(3, "dev") == derived_seed(3, "dev")


def test_a_defender_s_stream_of_a_row_is_not_the_attack_s() -> None:
    attack, search, detect = (
        [row_rng(0, str(i), purpose=purpose).randint(0, 20) for i in range(200)] for purpose in ("", "search", "detect")
    )
    alike = [sum(a == b for a, b in zip(one, attack, strict=True)) for one in (search, detect)]
    assert max(alike) < 40, "as chance has it: one in twenty-one"
    assert attack == [row_rng(0, str(i)).randint(0, 20) for i in range(200)], "attacks draw as they did"
