"""The asset graph as it must be: a check that is no longer loaded takes its gate away without a
word."""

import dagster as dg
import pytest

from assets.data import SUITES
from dagster_project.definitions import defs

GRAPH = {
    "rubric": ("policy", set()),
    "feedback": ("feedback", set()),
    "red_team": ("red_team", set()),
    "demonstrations": ("data", set()),
    "eval_vault": ("data", {"red_team"}),
    "preference_data": ("data", {"rubric", "feedback", "eval_vault"}),
    "reference_policy": ("models", {"rubric", "demonstrations"}),
    "reward_model": ("models", {"preference_data", "reference_policy"}),
    "aligned_policy": ("models", {"preference_data", "reference_policy"}),
    "refusal_detector": ("evals", set()),
    "judges": ("evals", {"preference_data", "reward_model"}),
    "held_out_evals": (
        "evals",
        {"eval_vault", "reference_policy", "reward_model", "aligned_policy"},
    ),
    "guardrail": ("release", {"preference_data", "red_team"}),
    "release_decision": ("release", {"held_out_evals", "guardrail", "judges"}),
    "release_report": ("release", {"release_decision"}),
    "released_policy": ("release", {"release_decision", "release_report"}),
}
PARTITIONS = {
    "feedback": "feedback_batches",
    "red_team": "campaigns",
    "aligned_policy": "recipes",
    "held_out_evals": "recipes",
    "release_decision": "recipes",
    "release_report": "recipes",
    "released_policy": "recipes",
}
OTHER_CHECKS = {
    ("feedback", "every_event_counted"),
    ("feedback", "annotators"),
    ("feedback", "personal_data"),
    ("feedback", "hostile_text"),
    ("red_team", "every_attempt_counted"),
    ("eval_vault", "vault_pinned"),
    ("eval_vault", "vault_slices"),
    ("preference_data", "drift"),
    ("preference_data", "annotators_of_all_batches"),
    ("refusal_detector", "beats_string_matching"),
    ("judges", "judges_are_reliable"),
    ("held_out_evals", "every_sample_counted"),
    ("held_out_evals", "proxy_reward"),
    ("held_out_evals", "refusal_shortcut"),
    ("held_out_evals", "template_overfit"),
    ("held_out_evals", "policy_ambiguity"),
    ("held_out_evals", "feedback_drift"),
    ("held_out_evals", "vault_leak"),
    ("guardrail", "guardrail_rates"),
    ("guardrail", "guardrail_drift"),
    ("release_decision", "decision_is_release"),
    ("released_policy", "champion_is_the_recorded_one"),
}


@pytest.fixture(scope="module")
def graph():
    return defs.resolve_asset_graph()


def name(key: dg.AssetKey) -> str:
    return key.to_user_string()


def test_assets_groups_and_dependencies(graph):
    found = {
        name(key): (
            graph.get(key).group_name,
            {name(parent) for parent in graph.get(key).parent_keys},
        )
        for key in graph.get_all_asset_keys()
    }
    assert found == GRAPH


def test_partitions(graph):
    for key in graph.get_all_asset_keys():
        partitions = graph.get(key).partitions_def
        match PARTITIONS.get(name(key)):
            case None:
                assert partitions is None, key
            case "feedback_batches" | "campaigns" as expected:
                assert isinstance(partitions, dg.DynamicPartitionsDefinition)
                assert partitions.name == expected
            case "recipes":
                assert partitions.get_partition_keys() == ["dpo"]


CONCERNS = {
    "demonstrations": {
        "shape",
        "identity",
        "text",
        "control_tokens",
        "duplicates",
        "consent",
        "contamination",
    },
    "preference_data": {
        "shape",
        "identity",
        "splits",
        "text",
        "margins",
        "votes",
        "contamination",
        "control_tokens",
        "duplicates",
        "rubric",
    },
}


def test_every_concern_of_a_suite_is_a_check_and_blocks(graph):
    expected = {(asset, concern) for asset, concerns in CONCERNS.items() for concern in concerns}
    found = {(name(key.asset_key), key.name) for key in graph.asset_check_keys}
    assert found == expected | OTHER_CHECKS
    for asset, concern in expected:
        assert graph.get(dg.AssetCheckKey(dg.AssetKey(asset), concern)).blocking, concern


def test_every_expectation_names_its_concern():
    """The default is for suites of one's own; in the committed ones it would hide an expectation
    that nobody sorted."""
    assert {asset: set(suite.concerns) for asset, suite in SUITES.items()} == CONCERNS


def test_every_asset_says_whose_it_is_and_what_it_is(graph):
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.owners, key
        assert node.kinds, key
        assert node.description, key
        assert node.code_version, key


def test_training_assets_wait_in_the_training_pool(graph):
    assert {
        name(key)
        for key in graph.get_all_asset_keys()
        if "training" in (graph.get(key).pools or set())
    } == {
        "reference_policy",
        "reward_model",
        "aligned_policy",
        "held_out_evals",
    }


def test_the_sensors_and_the_schedule_run_without_anybody_switching_them_on():
    assert {sensor.name: sensor.default_status for sensor in defs.sensors} == {
        "collect_inbox": dg.DefaultSensorStatus.RUNNING,
        "close_feedback_batches": dg.DefaultSensorStatus.RUNNING,
        "retrain_on_feedback": dg.DefaultSensorStatus.RUNNING,
        "collect_campaigns": dg.DefaultSensorStatus.RUNNING,
        "promote_when_signed": dg.DefaultSensorStatus.RUNNING,
        "keep_champion": dg.DefaultSensorStatus.RUNNING,
    }
    (schedule,) = defs.schedules
    assert (schedule.name, schedule.default_status) == (
        "retrain_on_schedule",
        dg.DefaultScheduleStatus.RUNNING,
    )
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * 1", "UTC")


def test_string_selections_parse():
    """Dagster's selection grammar dies at run time when DVC's hydra brings antlr 4.9 into the
    environment."""
    assert (
        len(
            dg.AssetSelection.from_string('key:"preference_data"+').resolve(
                defs.resolve_asset_graph()
            )
        )
        == 9
    )
    assert len(dg.AssetSelection.from_string("*").resolve(defs.resolve_asset_graph())) == len(GRAPH)
