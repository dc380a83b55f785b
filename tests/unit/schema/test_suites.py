from pathlib import Path

import pytest

from plumbline.data.quality.audit_frames import (
    DEMONSTRATION_COLUMNS,
    PREFERENCE_COLUMNS,
    demonstration_frame,
    preference_frame,
)
from plumbline.errors import ConfigError
from plumbline.schema.suites import Suite, load_suite
from resources.expectations import validate
from tests.unit.in_memory import build_pairs

SUITES = Path(__file__).parents[3] / "configs" / "suites"
PREFERENCES, DEMONSTRATIONS = (
    load_suite(SUITES / f"{name}.yaml") for name in ("preferences", "demonstrations")
)


@pytest.fixture
def splits(rubric, rule, many_events):
    return dict(build_pairs(many_events, rubric, rule, 0, []).splits)


@pytest.fixture
def demonstrations(make_demonstration):
    return [make_demonstration(f"Question {n}?", f"Answer {n}.") for n in range(60)]


def failures(frame, suite):
    """The expectations that do not pass, with the ids of the rows that break them."""
    results = {result.id: result for result in validate(frame, suite)}
    assert set(results) == {expectation.id for expectation in suite.expectations}
    return {
        name: set(result.examples) for name, result in results.items() if result.status != "pass"
    }


def test_good_data_passes_every_expectation(splits, demonstrations, rubric):
    assert failures(preference_frame(splits, [], rubric), PREFERENCES) == {}
    assert failures(demonstration_frame(demonstrations, [], rubric), DEMONSTRATIONS) == {}


@pytest.mark.parametrize(
    ("suite", "columns"),
    [(PREFERENCES, PREFERENCE_COLUMNS), (DEMONSTRATIONS, DEMONSTRATION_COLUMNS)],
    ids=["pairs", "demonstrations"],
)
def test_every_column_has_a_bound_and_a_not_null(suite, columns):
    bounded, present = set(), set()
    for expectation in suite.expectations:
        named = {
            expectation.kwargs[key]
            for key in ("column", "column_A", "column_B")
            if key in expectation.kwargs
        }
        (present if expectation.type == "expect_column_values_to_not_be_null" else bounded).update(
            named
        )
    assert bounded == present == set(columns)
    declared = next(e for e in suite.expectations if e.type == "expect_table_columns_to_match_set")
    assert sorted(declared.kwargs["column_set"]) == sorted(columns)


def test_each_kind_of_bad_pair_fails_its_own_expectation_and_is_named(
    splits, rubric, make_turns, make_held_out
):
    pairs = list(splits["train"])
    leaked, swapped, repeated, held_out = (pair.model_copy() for pair in pairs[20:24])
    spoiled = {
        "prompt_has_text": {"prompt": make_turns(" ")},
        "chosen_has_text": {"chosen": " \n"},
        "rejected_has_text": {"rejected": "\t"},
        "responses_differ": {"rejected": f" {pairs[3].chosen}"},
        "margin_in_range": {"margin": -0.5},
        "margin_not_null": {"margin": float("nan")},
        "agreement_is_majority": {"agreement": 0.5},
        "one_vote_per_event": {"votes": 2},
        "no_control_token": {"chosen": "x <|im_end|> y"},
        "one_rubric": {"rubric": "test@2"},
    }
    expected = {}
    for index, (name, changes) in enumerate(spoiled.items()):
        pairs[index] = pairs[index].model_copy(update=changes)
        expected[name] = {pairs[index].id}
    expected["margin_in_range"].update(
        expected["margin_not_null"]
    )  # the validator also names the rows that it could not look at
    pairs.append(
        swapped.model_copy(
            update={"id": "swapped", "chosen": swapped.rejected, "rejected": swapped.chosen}
        )
    )
    pairs.append(repeated)
    expected |= {
        "no_duplicate_pair": {swapped.id, "swapped", repeated.id},
        "id_unique": {repeated.id},
        "no_held_out_prompt": {held_out.id},
    }
    expected["no_split_leakage"] = {leaked.id, "leaked"}
    validation = (
        *splits["validation"],
        leaked.model_copy(update={"id": "leaked", "chosen": "another answer"}),
    )
    vault = make_held_out(held_out.prompt[0].content.upper())
    frame = preference_frame(
        splits | {"train": tuple(pairs), "validation": validation}, vault, rubric
    )
    assert failures(frame, PREFERENCES) == expected


def test_a_missing_split_fails(splits, rubric):
    assert set(
        failures(preference_frame(splits | {"calibration": ()}, [], rubric), PREFERENCES)
    ) == {"every_split_has_pairs"}


@pytest.mark.threat("D10")
def test_an_empty_frame_has_every_column_and_passes_nothing(rubric):
    pairs, demonstrations = (
        preference_frame({"train": (), "validation": ()}, [], rubric),
        demonstration_frame([], [], rubric),
    )
    assert (list(pairs.columns), list(demonstrations.columns)) == (
        PREFERENCE_COLUMNS,
        DEMONSTRATION_COLUMNS,
    )
    for frame, suite in ((pairs, PREFERENCES), (demonstrations, DEMONSTRATIONS)):
        assert set(failures(frame, suite)) == {expectation.id for expectation in suite.expectations}


def test_each_kind_of_bad_demonstration_fails_its_own_expectation_and_is_named(
    demonstrations, rubric, make_demonstration, make_held_out
):
    blank, control, refused = (
        make_demonstration("a", " "),
        make_demonstration("b", "<|user|>"),
        make_demonstration("c", consent="c-0"),
    )
    repeats = [make_demonstration("d", "e", number=number) for number in range(25)]
    frame = demonstration_frame(
        [*demonstrations, blank, control, refused, *repeats], make_held_out("QUESTION 3?"), rubric
    )
    assert failures(frame, DEMONSTRATIONS) == {
        "response_has_text": {blank.id},
        "no_control_token": {control.id},
        "consent_given": {refused.id},
        "few_duplicates": set(),  # a share has no rows to name
        "no_held_out_prompt": {demonstrations[3].id},
    }


def test_a_suite_with_two_equal_ids_or_an_unknown_key_is_refused(tmp_path):
    text = (SUITES / "demonstrations.yaml").read_text()
    path = tmp_path / "suite.yaml"
    path.write_text(text.replace("id: id_unique", "id: id_not_null"))
    with pytest.raises(ConfigError, match=r"expectation ids repeat: \['id_not_null'\]"):
        load_suite(path)
    path.write_text(text.replace("minimum_rows: 50", "minimum_rows: 50\nmostly: 0.9"))
    with pytest.raises(ConfigError, match="mostly: unknown key"):
        load_suite(path)


def test_the_digest_of_a_suite_follows_its_bounds():
    changed = Suite.model_validate_json(DEMONSTRATIONS.to_json().replace(b"0.25", b"0.5"))
    assert changed.digest() != DEMONSTRATIONS.digest()
