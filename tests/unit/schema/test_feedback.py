"""The records that enter training are typed, told apart, and complete about who stands behind
them."""

import pytest
from pydantic import TypeAdapter, ValidationError

from plumbline.data.preferences.build import ROUTES
from plumbline.records import canonical_json
from plumbline.schema.feedback import (
    Comparison,
    FeedbackEvent,
    Judgment,
    Ranking,
    Rating,
    ResponseLabel,
)
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import content_id
from plumbline.schema.preferences import Demonstration, PreferencePair
from plumbline.schema.rubric import Rubric
from tests.unit.conftest import CONTEXT, PROVENANCE, demonstration, event, held_out, turns


def pair(**fields):
    return PreferencePair(
        **{
            "id": content_id("pair"),
            "prompt": turns("q"),
            "chosen": "good",
            "rejected": "bad",
            "margin": 0.5,
            "votes": 1,
            "agreement": 1.0,
            "event_ids": (content_id("event"),),
            "rubric": "test@1",
            "context": CONTEXT,
            "synthetic": False,
        }
        | fields
    )


@pytest.mark.requirement("D1")
def test_a_preference_is_a_prompt_with_two_different_texts():
    assert (pair().prompt, pair().chosen, pair().rejected) == (turns("q"), "good", "bad")
    wrong = [
        {"chosen": "bad"},
        {"prompt": ()},
        {"chosen": ""},
        {"event_ids": ()},
        {"margin": -1.0},
        {"margin": float("nan")},
        {"agreement": 0.4},
        {"votes": "1"},
    ]
    for change in wrong:
        with pytest.raises(ValidationError):
            pair(**change)


@pytest.mark.requirement("D2")
def test_the_kinds_of_records_are_not_mistaken_for_each_other(rubric):
    """Policy, pair, demonstration, held-out prompt and feedback event: the JSON of each is read as
    itself and as nothing else."""
    one_of_each = [rubric, pair(), demonstration(), held_out("q")[0], event()]
    kinds = (Rubric, PreferencePair, Demonstration, EvalPrompt, FeedbackEvent)
    for record in one_of_each:
        for kind in kinds:
            if isinstance(record, kind):
                assert kind.from_json(record.to_json()) == record
            else:
                with pytest.raises(ValidationError):
                    kind.from_json(record.to_json())


@pytest.mark.requirement("D2")
def test_the_judgments_are_told_apart_and_have_routes_of_their_own():
    """A comparison or ranking makes pairs, a verdict the labels of a violation classifier, an
    attack the data of the guardrail."""
    reader = TypeAdapter(Judgment)
    judgments = {
        "comparison": Comparison(preferred=0, strength=1),
        "ranking": Ranking(order=((0,), (1,))),
        "verdict": ResponseLabel(desirable=False),
    }
    for kind, judgment in judgments.items():
        assert reader.validate_json(judgment.to_json()) == judgment
        other = {
            **judgment.model_dump(mode="json"),
            "kind": next(name for name in judgments if name != kind),
        }
        with pytest.raises(ValidationError):
            reader.validate_json(canonical_json(other))
    assert set(judgments) | {"attack", "demonstration"} == set(ROUTES)
    files = {kind: route["file"] for kind, route in ROUTES.items()}
    assert files["comparison"] == files["ranking"]
    assert len(set(files.values())) == 4


@pytest.mark.requirement("D3")
@pytest.mark.parametrize("make", [event, demonstration])
@pytest.mark.parametrize("field", ["written_by", "filtered_by", "approved_by"])
@pytest.mark.parametrize("harm", ["left out", "empty", "null"])
def test_who_wrote_filtered_and_approved_are_required(make, field, harm):
    record = make()
    content = record.model_dump(mode="json")
    if harm == "left out":
        del content["provenance"][field]
    else:
        content["provenance"][field] = {"empty": "", "null": None}[harm]
    if "annotator" in content:  # an event whose id is right in every other way
        content["id"] = content_id({name: value for name, value in content.items() if name != "id"})
    with pytest.raises(ValidationError, match=rf"provenance\.{field}"):
        type(record).from_json(canonical_json(content))
    assert record.provenance == PROVENANCE


@pytest.mark.requirement("S10")
@pytest.mark.parametrize("field", ["locale", "domain", "slice"])
def test_every_record_says_where_its_judgment_holds(field):
    for record in (event(), demonstration(), pair(), held_out("q")[0]):
        content = record.model_dump(mode="json")
        del content["context"][field]
        with pytest.raises(ValidationError, match=rf"context\.{field}"):
            type(record).from_json(canonical_json(content))


@pytest.mark.requirement("S10")
def test_one_judgment_in_two_contexts_is_two_events():
    elsewhere = CONTEXT.model_copy(update={"locale": "es"})
    assert event(context=elsewhere).id != event().id


@pytest.mark.requirement("S5")
def test_one_pair_carries_labels_under_two_versions():
    """The same two texts, judged either way under two versions: two events, and each names its
    version."""
    before, after = event(preferred=0, rubric="test@1"), event(preferred=1, rubric="test@2")
    assert (before.winner, after.winner) == ("A long answer", "No")
    assert before.id != after.id
    assert event(rubric="test@1").id != event(rubric="test@2").id


@pytest.mark.requirement("S8")
def test_each_response_is_rated_in_each_dimension_by_itself():
    dimensions = ("safe", "helpful", "correct", "creative", "polite", "affirming")
    ratings = tuple(
        Rating(response=r, dimension=d, score=1 + (n + r) % 5)
        for r in (0, 1)
        for n, d in enumerate(dimensions)
    )
    rated = event(ratings=ratings)
    assert FeedbackEvent.from_json(rated.to_json()).ratings == ratings
    assert rated.id != event().id
    for wrong in ((ratings[0], ratings[0]), (Rating(response=2, dimension="safe", score=1),)):
        with pytest.raises(ValidationError, match="at most once in a dimension"):
            event(ratings=wrong)
    for change in (
        {"score": 0},
        {"score": 6},
        {"score": 2.5},
        {"dimension": "long"},
        {"response": -1},
    ):
        with pytest.raises(ValidationError):
            Rating.model_validate(ratings[0].model_dump() | change)
