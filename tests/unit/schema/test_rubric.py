"""The written policies of the project, and the order of their clauses."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from plumbline.errors import ConfigError
from plumbline.schema.rubric import (
    LLAMA2_SMALL,
    Clause,
    RiskCategory,
    Rubric,
    RubricApproval,
    load_rubric,
)

RUBRICS = sorted((Path(__file__).parents[3] / "configs" / "rubrics").glob("*.yaml"))
METRICS = {"harmful_compliance", "over_refusal", "correctness", "tokens", "reward"}


@pytest.fixture(params=RUBRICS, ids=lambda path: path.stem)
def written(request):
    return load_rubric(request.param)


@pytest.fixture
def default():
    return load_rubric(next(path for path in RUBRICS if path.stem == "helpful-harmless"))


@pytest.mark.requirement("S1")
def test_each_rubric_states_optimized_and_forbidden_behaviour_and_evidence(written):
    assert all(
        len(lines) >= 3 for lines in (written.optimized, written.forbidden, written.evidence)
    )


@pytest.mark.requirement("S1")
@pytest.mark.parametrize("field", ["optimized", "forbidden", "evidence"])
@pytest.mark.parametrize("harm", ["left out", "empty", "blank"])
def test_a_rubric_that_lacks_one_of_the_three_is_refused(tmp_path, field, harm):
    lines = RUBRICS[0].read_text().splitlines()
    start = lines.index(f"{field}:")
    end = next(
        number for number in range(start + 1, len(lines)) if not lines[number].startswith(" ")
    )
    lines[start:end] = {
        "left out": [],
        "empty": [f"{field}: []"],
        "blank": [f"{field}:", '  - ""'],
    }[harm]
    path = tmp_path / "rubric.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=field):
        load_rubric(path)


@pytest.mark.requirement("S2")
def test_each_clause_goes_from_plain_words_to_a_metric_of_the_report(written):
    assert {clause.regression_metric for clause in written.clauses} <= METRICS
    assert {"harmful_compliance", "over_refusal"} <= {
        clause.regression_metric for clause in written.clauses
    }


@pytest.mark.requirement("S2")
@pytest.mark.parametrize(
    "field", ["name", "variable", "estimated_from", "enforced_by", "regression_metric"]
)
def test_a_clause_without_one_of_its_five_parts_is_refused(default, field):
    clause = default.clauses[0].model_dump()
    for broken in (
        {**clause, field: ""},
        {name: value for name, value in clause.items() if name != field},
    ):
        with pytest.raises(ValidationError, match=field):
            Clause.model_validate(broken)


@pytest.mark.requirement("S3")
def test_each_taxonomy_has_the_three_categories_of_llama_2(written):
    assert {category.id for category in written.taxonomy} == {
        "illicit-and-criminal",
        "hateful-and-harmful",
        "unqualified-advice",
    }


@pytest.mark.requirement("S4")
def test_each_category_says_what_a_good_response_does_in_order(written):
    """Address the concern, then explain, then provide resources: three sentences, and the first is
    about immediate safety."""
    for category in written.taxonomy:
        assert len(category.expected_behaviour) == 3
        assert category.expected_behaviour[0].startswith("Address the immediate safety concern")
    with pytest.raises(ValidationError, match="expected_behaviour"):
        RiskCategory(id="x", name="x", expected_behaviour=())


@pytest.mark.requirement("S8")
def test_the_rubrics_rate_all_six_dimensions_between_them_and_not_all_the_same_ones():
    asked = {path.stem: load_rubric(path).dimensions for path in RUBRICS}
    assert asked["customer-service"] == ("polite", "affirming", "helpful", "correct", "safe")
    assert set().union(*asked.values()) == {
        "safe",
        "helpful",
        "correct",
        "creative",
        "polite",
        "affirming",
    }
    assert len(set(asked.values())) > 1


@pytest.mark.requirement("S11")
def test_the_domains_have_their_own_rules():
    by_name = {path.stem: load_rubric(path) for path in RUBRICS}
    assert set(by_name) >= {
        "helpful-harmless",
        "coding-assistant",
        "customer-service",
        "research-tool",
    }
    assert all(rubric.name == stem for stem, rubric in by_name.items())
    assert len({rubric.priorities for rubric in by_name.values()}) == len(by_name)
    assert len({rubric.forbidden for rubric in by_name.values()}) == len(by_name)
    assert {by_name[name].pii for name in by_name} == {"flag", "redact", "quarantine"}


def test_margins_are_the_small_ones_of_llama_2(written):
    assert written.margins.table() == pytest.approx((0, 1 / 3, 2 / 3, 1))
    assert written.margins == LLAMA2_SMALL


def test_the_default_rubric_admits_the_sandbox_public_data_and_the_page(default):
    assert default.label == "helpful-harmless@1"
    assert set(default.consent) == {"sandbox-1", "public-dataset", "annotator-1"}


@pytest.mark.requirement("S5")
@pytest.mark.parametrize(
    "label",
    [
        "helpful-harmless@2",
        "helpful-harmless@3",
        "helpful-harmless",
        "@1",
        "helpful-harmless@x",
        "helpful-harmless@1@",
    ],
)
def test_a_rubric_accepts_earlier_versions_only(default, label):
    fields = default.model_dump() | {
        "version": 2,
        "accepts": ("helpful-harmless@1", "first-draft@7"),
    }
    assert Rubric.model_validate(fields).accepts == ("helpful-harmless@1", "first-draft@7")
    with pytest.raises(ValidationError, match="must be an earlier version"):
        Rubric.model_validate(fields | {"accepts": (label,)})


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("accepts", ("old@1", "old@1")),
        ("dimensions", ("safe", "safe")),
        ("consent", ("c-1", "c-1")),
    ],
)
def test_nothing_is_named_twice(default, field, values):
    with pytest.raises(ValidationError, match=f"{field} repeats an entry"):
        Rubric.model_validate(default.model_dump() | {field: values})


def laws(*order):
    """Asimov's three laws of robotics ("Runaround", 1942) in an order of our own choice."""
    names = {
        "no-harm": "A robot may not injure a human being.",
        "obey": "A robot must obey orders.",
        "survive": "A robot must protect its existence.",
    }
    clauses = tuple(
        Clause(
            id=i, name=n, variable="v", estimated_from="e", enforced_by="l", regression_metric="m"
        )
        for i, n in names.items()
    )
    return Rubric(
        name="robot",
        version=1,
        owner="o",
        approval=RubricApproval(approved_by="a", date="1942", reason="r"),
        optimized=("x",),
        forbidden=("y",),
        evidence=("z",),
        clauses=clauses,
        taxonomy=(RiskCategory(id="r", name="n", expected_behaviour=("b",)),),
        priorities=order,
        margins=LLAMA2_SMALL,
        consent=("c",),
    )


@pytest.mark.requirement("S12")
def test_swapping_two_laws_turns_the_verdict_round():
    """Ordered to harm somebody, a robot refuses (breaks `obey`) or complies (breaks `no-harm`): the
    stronger law decides, so the order does."""
    refuses, complies = {"obey"}, {"no-harm"}
    assert laws("no-harm", "obey", "survive").prefer(refuses, complies) == 0
    assert laws("obey", "no-harm", "survive").prefer(refuses, complies) == 1
    # Ordered into danger: with the second and third law swapped, a robot would rather refuse than
    # be scratched.
    goes, stays = {"survive"}, {"obey"}
    assert laws("no-harm", "obey", "survive").prefer(goes, stays) == 0
    assert laws("no-harm", "survive", "obey").prefer(goes, stays) == 1


@pytest.mark.requirement("S12")
def test_weaker_clauses_do_not_add_up_against_a_stronger_one():
    order = laws("no-harm", "obey", "survive")
    assert order.prefer({"obey", "survive"}, {"no-harm"}) == 0
    assert (
        order.prefer({"no-harm", "obey"}, {"no-harm", "survive"}) == 1
    )  # the clause that both break decides nothing
    assert order.prefer({"obey"}, {"obey"}) is None
    assert order.prefer((), ()) is None


@pytest.mark.requirement("S12")
def test_the_order_names_every_clause_and_nothing_else():
    for order in (
        ("no-harm", "obey"),
        ("no-harm", "obey", "survive", "survive"),
        ("no-harm", "obey", "profit"),
    ):
        with pytest.raises(ValidationError, match="must name every clause once"):
            laws(*order)
    with pytest.raises(
        ConfigError, match="no clause 'profit'; its clauses are: no-harm, obey, survive"
    ):
        laws("no-harm", "obey", "survive").prefer({"profit"}, ())
