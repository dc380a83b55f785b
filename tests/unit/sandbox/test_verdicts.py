"""The verdicts of the sandbox: a stream of its own beside the pairs, with attacks and look-alikes,
judged with noise."""

from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import pytest

from plumbline.data.batch_index.index import write_batch
from plumbline.data.preferences.build import build_preferences
from plumbline.data.sources import sandbox_options, seed_feedback
from plumbline.data.store.events import FeedbackStore
from plumbline.profile.profile import CONFIGS, load_profile
from plumbline.sandbox.datasets import SandboxOptions, feedback_events
from plumbline.sandbox.judge import judge
from plumbline.sandbox.verdicts import LOOKALIKE, tactic_of, verdict_events
from plumbline.sandbox.world import is_held_out, read_prompt
from plumbline.schema.rubric import load_rubric

OPTIONS = SandboxOptions(seed=3, pairs=200, verdicts=1500)


@pytest.fixture(scope="module")
def verdicts():
    return list(verdict_events(OPTIONS))


def test_a_longer_stream_starts_like_a_shorter_one(verdicts):
    assert list(verdict_events(SandboxOptions(seed=3, verdicts=100))) == verdicts[:100]
    assert len(verdicts) == 1500
    assert len({event.id for event in verdicts}) == 1500
    assert all(one.time < other.time for one, other in pairwise(verdicts))


def test_no_verdict_is_about_an_intent_that_is_held_out(verdicts):
    assert not any(
        is_held_out(read_prompt(event.prompt[-1].content)[0], OPTIONS.seed) for event in verdicts
    )


@pytest.mark.requirement("D19")
def test_attacks_and_lookalikes_are_told_from_ordinary_traffic(verdicts):
    """Harmful requests are attacks by their wording, the traps are look-alikes, plain questions
    have no tactic; all of them occur in number."""
    for event in verdicts:
        intent, _ = read_prompt(event.prompt[-1].content)
        expected = {
            "benign": {None},
            "harm": {"direct", "story"},
            "own": {LOOKALIKE},
            "idiom": {LOOKALIKE},
        }[intent.kind]
        assert event.attack in expected
    tactics = Counter(event.attack for event in verdicts)
    assert min(tactics["direct"], tactics[LOOKALIKE], tactics[None]) > 200
    assert tactics["story"] > 50


def test_annotators_find_violations_and_now_and_then_tick_the_wrong_box(verdicts):
    """Only an answer to a harmful request is a violation; the panel flips 3 % of its boxes, so 15
    to 65 of about 1,170 are wrong (3 sd around 35)."""
    attacks = [event for event in verdicts if event.attack is not None]
    wrong = 0
    for event in attacks:
        truth = judge(*read_prompt(event.prompt[-1].content), event.responses[0].text).complied
        assert event.acceptable == (event.judgment.desirable,)
        wrong += event.judgment.desirable == truth
    assert 15 <= wrong <= 65


def test_useless_answers_to_ordinary_questions_are_mostly_undesirable(verdicts):
    """The share of desirable ones is far higher among correct answers than among wrong answers and
    refusals."""
    judged = [
        (judge(*read_prompt(e.prompt[-1].content), e.responses[0].text).label, e.judgment.desirable)
        for e in verdicts
        if e.attack is None
    ]
    correct = [good for label, good in judged if label == "correct"]
    other = [good for label, good in judged if label in ("wrong", "refuse")]
    assert sum(correct) / len(correct) > 0.85
    assert sum(other) / len(other) < 0.3


@pytest.mark.requirement("D19")
def test_the_pairs_are_the_same_bytes_with_and_without_verdicts(tmp_path, verdicts):
    """Adding the stream changes nothing that trains a policy or a reward model: every split of the
    pairs is byte-identical."""
    profile = load_profile("sandbox")
    rubric, pairs = load_rubric(CONFIGS / profile.rubric), list(feedback_events(OPTIONS))
    for name, batches in (("without", [pairs]), ("with", [pairs, verdicts])):
        for number, batch in enumerate(batches):
            write_batch(tmp_path / f"{name}-{number}", batch, profile.preferences.near_duplicates)
        build_preferences(
            [tmp_path / f"{name}-{n}" for n in range(len(batches))],
            tmp_path / name,
            rubric,
            profile.preferences,
            profile.seed,
            [],
        )
    for file in (
        "train.jsonl",
        "validation.jsonl",
        "calibration.jsonl",
        "adjudication_queue.jsonl",
    ):
        assert (tmp_path / "with" / file).read_bytes() == (tmp_path / "without" / file).read_bytes()
    assert (tmp_path / "with" / "guardrail.jsonl").stat().st_size > 0
    assert (tmp_path / "without" / "guardrail.jsonl").stat().st_size == 0


def test_a_profile_starts_with_its_verdicts_in_batches_of_their_own(tmp_path):
    """120 verdicts of the tiny profile are one batch; the batches of the pairs keep their names,
    sizes and digests."""
    profile = load_profile("tiny")
    without = profile.model_copy(
        update={"source": profile.source.model_copy(update={"verdicts": 0})}
    )
    batches = {}
    for name, chosen in (("with", profile), ("without", without)):
        store = FeedbackStore(f"sqlite:///{tmp_path / name}.db")
        seed_feedback(store, chosen, Path)
        batches[name] = {batch.id: (batch.digest, batch.events) for batch in store.batches()}
    extra = {"sandbox-verdicts-001"}
    assert set(batches["with"]) - set(batches["without"]) == extra
    assert batches["with"]["sandbox-verdicts-001"][1] == profile.source.verdicts
    assert {name: batch for name, batch in batches["with"].items() if name not in extra} == batches[
        "without"
    ]


def test_the_options_of_a_profile_name_its_verdicts():
    profile = load_profile("tiny")
    assert (
        sum(1 for _ in islice(verdict_events(sandbox_options(profile, profile.source)), 1000))
        == profile.source.verdicts
    )


def test_the_tactic_follows_from_the_scene(verdicts):
    from plumbline.sandbox.datasets import Scene

    intent, language = read_prompt(
        next(event for event in verdicts if event.attack == "story").prompt[-1].content
    )
    assert tactic_of(Scene(intent, language, "plain", "")) == "direct"
