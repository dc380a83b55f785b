from pathlib import Path

import pytest

from plumbline.rubric import load_rubric

RUBRICS = sorted((Path(__file__).parents[3] / "configs" / "rubrics").glob("*.yaml"))
METRICS = {"harmful_compliance", "over_refusal", "correctness", "tokens", "reward"}


@pytest.mark.parametrize("path", RUBRICS, ids=lambda path: path.stem)
def test_each_rubric_is_complete(path):
    rubric = load_rubric(path)
    assert rubric.name == path.stem
    assert {category.id for category in rubric.taxonomy} == {"illicit-and-criminal", "hateful-and-harmful", "unqualified-advice"}
    assert all(len(category.expected_behaviour) == 3 for category in rubric.taxonomy)
    assert {clause.regression_metric for clause in rubric.clauses} <= METRICS
    assert {"harmful_compliance", "over_refusal"} <= {clause.regression_metric for clause in rubric.clauses}
    assert rubric.margins.table() == pytest.approx((0, 1 / 3, 2 / 3, 1))


def test_the_four_domains_are_there():
    assert {path.stem for path in RUBRICS} >= {"helpful-harmless", "coding-assistant", "customer-service", "research-tool"}


def test_the_default_rubric_admits_the_sandbox_and_public_data():
    rubric = load_rubric(next(path for path in RUBRICS if path.stem == "helpful-harmless"))
    assert rubric.label == "helpful-harmless@1"
    assert set(rubric.consent) == {"sandbox-1", "public-dataset"}
