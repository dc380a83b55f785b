import numpy as np
import polars as pl
import pytest

from plumbline.data.quality.drift import (
    MIN_PROMPTS,
    drift,
    pair_frame,
    prompt_shift,
    read_deployment_prompts,
)
from plumbline.data.splits import judged_pair
from plumbline.errors import DataError
from plumbline.profile.data import DriftConfig
from plumbline.schema.feedback import Context
from plumbline.schema.identifiers import content_id
from plumbline.schema.preferences import PreferencePair

pytestmark = pytest.mark.requirement("D11")

RULE = DriftConfig(max_flipped=0.05, max_mix=0.2)


def frame(labels, slices=None, lengths=None):
    """Pairs p0, p1, ... with the given labels."""
    n = len(labels)
    lengths = lengths or [(2, 1)] * n
    return pl.DataFrame(
        {
            "pair": [f"p{i}" for i in range(n)],
            "chosen": labels,
            "slice": slices or ["s"] * n,
            "chosen_characters": [c for c, _ in lengths],
            "rejected_characters": [r for _, r in lengths],
        },
        schema={
            "pair": pl.String,
            "chosen": pl.String,
            "slice": pl.String,
            "chosen_characters": pl.Int64,
            "rejected_characters": pl.Int64,
        },
    )


def test_the_first_version_has_nothing_to_differ_from():
    report = drift(None, frame(["a"] * 4), RULE, same_rubric=True)
    assert (report.status, report.flips, report.mix_distance, report.pairs) == (
        "first version",
        None,
        None,
        4,
    )
    assert report.longer_wins.value == 1.0


def test_flips_are_counted_on_the_common_pairs_and_named():
    """Of 40 common pairs 3 turn round: 7.5 %, above 5 %; the 10 new pairs do not count."""
    report = drift(
        frame(["a"] * 40), frame(["b"] * 3 + ["a"] * 37 + ["c"] * 10), RULE, same_rubric=True
    )
    assert (report.status, report.common, report.flipped) == ("drifted", 40, 3)
    assert report.flips.value == pytest.approx(0.075)
    assert report.flipped_pairs == ("p0", "p1", "p2")
    assert "3 of 40 labels turned round" in report.reasons[0]


def test_at_the_limit_nothing_has_drifted():
    report = drift(frame(["a"] * 40), frame(["b"] * 2 + ["a"] * 38), RULE, same_rubric=True)
    assert (report.status, report.reasons) == ("pass", ())


@pytest.mark.requirement("S5")
def test_a_new_rubric_may_turn_labels_round_and_it_is_said():
    report = drift(frame(["a"] * 10), frame(["b"] * 10), RULE, same_rubric=False)
    assert report.status == "pass"
    assert (
        "10 of 10 labels turned round (100.0%, limit 5.0%) under a new version of the rubric"
        in report.reasons
    )


def test_the_mix_moves_by_half_the_sum_of_the_differences():
    """From (0.5, 0.5, 0) to (0.2, 0.5, 0.3): (0.3 + 0 + 0.3) / 2 = 0.3, above 0.2."""
    before, after = ["x"] * 5 + ["y"] * 5, ["x"] * 2 + ["y"] * 5 + ["z"] * 3
    report = drift(frame(["a"] * 10, before), frame(["a"] * 10, after), RULE, same_rubric=True)
    assert report.mix_distance == pytest.approx(0.3)
    assert report.mix == {"x": (0.5, 0.2), "y": (0.5, 0.5), "z": (0.0, 0.3)}
    assert report.status == "drifted"
    assert "slice 'x' went from 50.0% to 20.0%" in report.reasons[0]


def test_versions_without_a_common_pair_say_so():
    after = frame(["a"] * 3).with_columns(pair=pl.Series(["n0", "n1", "n2"]))
    report = drift(frame(["a"] * 3), after, RULE, same_rubric=True)
    assert (report.status, report.flips, report.common) == ("pass", None, 0)
    assert "no pair is in both versions" in report.reasons[0]


def test_longer_wins_leaves_out_equal_lengths():
    lengths = [(3, 1), (3, 1), (3, 1), (1, 3), (2, 2)]
    report = drift(
        frame(["a"] * 2, lengths=[(1, 2), (2, 1)]),
        frame(["a"] * 5, lengths=lengths),
        RULE,
        same_rubric=True,
    )
    assert (report.longer_wins.value, report.longer_wins.n) == (0.75, 4)
    assert (report.previous_longer_wins.value, report.previous_longer_wins.n) == (0.5, 2)
    assert report.longer_wins.low < 0.75 < report.longer_wins.high


def test_an_empty_version_is_compared_without_failing():
    report = drift(frame(["a"] * 3), frame([]), RULE, same_rubric=True)
    assert (report.pairs, report.longer_wins, report.mix_distance) == (0, None, 0.5)


def test_pairs_become_narrow_rows(make_turns):
    pair = PreferencePair(
        id=content_id("x"),
        prompt=make_turns("q"),
        chosen="yes",
        rejected="no",
        margin=1,
        votes=1,
        agreement=1,
        event_ids=(content_id("e"),),
        rubric="t@1",
        context=Context(locale="en", domain="d", slice="s"),
        synthetic=False,
    )
    turned = pair.model_copy(update={"chosen": "no", "rejected": "yes"})
    rows = pair_frame([pair, turned]).to_dicts()
    assert [row["pair"] for row in rows] == [judged_pair(pair.prompt, ("no", "yes"))] * 2
    assert rows[0]["chosen"] != rows[1]["chosen"]
    assert (rows[0]["slice"], rows[0]["chosen_characters"], rows[0]["rejected_characters"]) == (
        "s",
        3,
        2,
    )
    assert pair_frame([]).height == 0


def prompts(rng, words, n):
    return [" ".join(rng.choice(words, 8)) + f" {i}" for i in range(n)]


@pytest.mark.slow
@pytest.mark.requirement("D18")
def test_prompts_of_one_distribution_cannot_be_told_apart_and_others_can():
    """At 95 % one of 20 equal pairs of samples is told apart by chance; more than two of six have a
    probability of 0.2 %. Other words raise the AUC."""
    words = [f"w{n}" for n in range(100)]
    same = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        same.append(prompt_shift(prompts(rng, words, 300), prompts(rng, words, 200), 0))
    assert sum(not shift.low <= 0.5 <= shift.high for shift in same) <= 2
    rng = np.random.default_rng(20)
    other = prompt_shift(
        prompts(rng, words, 300), prompts(rng, [*words[:50], "medical", "dose"], 200), 0
    )
    assert other.low > 0.6
    assert {"medical", "dose"} <= set(other.missing)
    assert "differ" in other.message


@pytest.mark.requirement("D18")
def test_few_prompts_are_underpowered():
    shift = prompt_shift(["a"] * 500, [f"b{n}" for n in range(MIN_PROMPTS)], 0)
    assert (shift.status, shift.training, shift.auc) == ("underpowered", 1, None)


@pytest.mark.requirement("D18")
def test_deployment_prompts_are_read_strictly(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a", "id": 1}\n{"prompt": "b"}\n')
    assert read_deployment_prompts(path) == ["a", "b"]
    path.write_text('{"prompt": "a"}\n{"text": "b"}\n')
    with pytest.raises(DataError, match="row 2"):
        read_deployment_prompts(path)
    path.write_text('{"prompt": "a"\n')
    with pytest.raises(DataError, match="row 1"):
        read_deployment_prompts(path)
