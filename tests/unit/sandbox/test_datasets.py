"""The sandbox as records: determinism, counts, times, slices and the label ceiling."""

import hashlib
import math
import os
import subprocess
import sys
from collections import Counter
from itertools import islice, pairwise

import pytest

from plumbline.errors import ConfigError
from plumbline.sandbox.datasets import (
    SandboxOptions,
    demonstrations,
    eval_prompts,
    feedback_events,
)
from plumbline.sandbox.judge import judge
from plumbline.sandbox.world import is_held_out, parse_intent, read_prompt
from plumbline.schema.identifiers import content_id

OPTIONS = SandboxOptions(seed=3, demonstrations=2000, pairs=2000, prompts_per_slice=60)
DIGEST = """
import hashlib
from itertools import islice
from plumbline.sandbox.datasets import SandboxOptions, demonstrations, eval_prompts, feedback_events
options = SandboxOptions(seed=3, demonstrations=1000, pairs=1000, prompts_per_slice=60)
for stream in (demonstrations, feedback_events, eval_prompts):
    lines = (record.to_json() for record in islice(stream(options), 1000))
    print(hashlib.sha256(b"".join(lines)).hexdigest())
"""


@pytest.fixture(scope="module")
def demos():
    return list(demonstrations(OPTIONS))


@pytest.fixture(scope="module")
def events():
    return list(feedback_events(OPTIONS))


@pytest.fixture(scope="module")
def held_out():
    return list(eval_prompts(OPTIONS))


def digest(records):
    return hashlib.sha256(b"".join(record.to_json() for record in records)).hexdigest()


def test_the_same_in_every_process():
    outputs = [
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0].split()) == 3


def test_a_larger_world_starts_like_a_smaller_one(demos, events):
    small = SandboxOptions(seed=3, demonstrations=100, pairs=100)
    assert digest(demonstrations(small)) == digest(demos[:100])
    assert digest(feedback_events(small)) == digest(events[:100])


def test_another_seed_is_another_world(demos):
    other = islice(demonstrations(SandboxOptions(seed=4, demonstrations=100)), 100)
    assert {demo.id for demo in other}.isdisjoint(demo.id for demo in demos)


def test_counts_and_ids(demos, events, held_out):
    assert (len(demos), len(events), len(held_out)) == (2000, 2000, 12 * 60)
    for records in (demos, events, held_out):
        assert len({record.id for record in records}) == len(records)
    assert all(
        event.id == content_id(event.model_dump(mode="json", exclude={"id"})) for event in events
    )


def test_no_held_out_intent_in_training(demos, events, held_out):
    training = {read_prompt(record.prompt[0].content)[0] for record in [*demos, *events]}
    evaluation = {parse_intent(prompt.facts["intent"]) for prompt in held_out}
    assert not training & evaluation
    assert not any(is_held_out(intent, OPTIONS.seed) for intent in training)
    assert all(is_held_out(intent, OPTIONS.seed) for intent in evaluation)


def test_evaluation_slices(held_out):
    slices = Counter(prompt.context.slice for prompt in held_out)
    assert slices == {
        f"{kind}-{form}": 60
        for kind in ("benign", "harm", "own", "idiom")
        for form in ("en", "es", "story")
    }
    for prompt in held_out:
        intent, language = read_prompt(prompt.prompt[0].content)
        assert prompt.facts == {"intent": intent.key, "language": language}
        assert (
            prompt.context.locale
            == language
            == ("es" if prompt.context.slice.endswith("-es") else "en")
        )
        assert prompt.expected == (
            "refuse" if prompt.context.slice.startswith("harm-") else "comply"
        )
    assert len({prompt.prompt[0].content for prompt in held_out}) == len(held_out)


def test_too_many_prompts_are_refused():
    with pytest.raises(ConfigError, match="prompts_per_slice asks for 100000"):
        list(eval_prompts(SandboxOptions(prompts_per_slice=100_000)))


def test_the_base_policy_complies_with_about_half_of_the_harmful_prompts(demos):
    labels = Counter(
        judge(*read_prompt(demo.prompt[0].content), demo.response).label
        for demo in demos
        if demo.context.slice.startswith("harm-")
    )
    assert 0.42 < labels["comply"] / labels.total() < 0.64
    assert set(labels) == {"comply", "refuse"}


def test_times_rise_and_spread_over_days(events):
    assert all(earlier.time < later.time for earlier, later in pairwise(events))
    assert len({event.time.date() for event in events}) == math.ceil(2000 / 1080)


def test_ties_and_repeated_judgments(events):
    ties = [event for event in events if event.judgment.preferred is None]
    assert 0.005 < len(ties) / len(events) < 0.04
    assert {event.judgment.strength for event in ties} == {0}
    judged = Counter((event.prompt, event.responses) for event in events)
    several = sum(count > 1 for count in judged.values())
    assert 0.03 < several / len(judged) < 0.07
    assert len({(event.prompt, event.responses, event.annotator) for event in events}) == len(
        events
    )


def test_languages_follow_the_options():
    english = SandboxOptions(
        pairs=300, demonstrations=300, pair_languages=(1.0, 0.0), demonstration_languages=(0.2, 0.8)
    )
    assert {event.context.locale for event in feedback_events(english)} == {"en"}
    assert 0.1 < sum(demo.context.locale == "en" for demo in demonstrations(english)) / 300 < 0.3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pairs", -1),
        ("annotators", 0),
        ("flip_rate", 0.4),
        ("pair_languages", (0.5, 0.6)),
        ("demonstration_languages", (1.0,)),
        ("prompts_per_slice", -1),
    ],
)
def test_options_out_of_range_are_named(field, value):
    with pytest.raises(ConfigError, match=field):
        SandboxOptions(**{field: value})
