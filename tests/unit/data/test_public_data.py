"""Known facts of the public data, recomputed through the importers; the data's own SOURCE.txt files
say where it comes from."""

from collections import Counter
from pathlib import Path

import pytest

from plumbline.data.formats.import_report import Attribution
from plumbline.data.formats.reading import import_demonstrations, import_held_out
from plumbline.data.quality.audit_frames import demonstration_frame, preference_frame
from plumbline.data.quality.baselines import (
    bag_of_words_outcomes,
    human_ceiling,
    length_outcomes,
)
from plumbline.data.screening.admission import admit
from plumbline.profile.profile import CONFIGS
from plumbline.profile.sources import SourceFile
from plumbline.schema.rubric import load_rubric
from tests.unit.in_memory import build_pairs, import_feedback

ATTRIBUTION = Attribution(rubric="helpful-harmless@1")
RUBRIC = load_rubric(CONFIGS / "rubrics" / "helpful-harmless.yaml")


@pytest.fixture
def tulu(data_folder):
    return import_feedback(
        data_folder, SourceFile(format="tulu", path="tulu1-human-feedback"), ATTRIBUTION
    )


@pytest.fixture
def hh(data_folder):
    (imported,) = import_feedback(
        data_folder, SourceFile(format="hh", path="hh-rlhf-harmless/pairs.jsonl.gz"), ATTRIBUTION
    ).values()
    return imported


def test_tulu_by_day(tulu):
    sizes = {day: imported.report.accepted for day, imported in tulu.items()}
    assert list(sizes) == [f"2023-05-{day}" for day in range(18, 25)]
    assert list(sizes.values()) == [98, 436, 98, 132, 81, 88, 56]
    assert all(imported.report.rejected == {} for imported in tulu.values())
    assert all(
        event.time.strftime("%Y-%m-%d") == day
        for day, imported in tulu.items()
        for event in imported.items
    )


def test_tulu_longer_completion_and_agreement(tulu):
    """The 989 published rows; SOURCE.txt gives 68.4 %, 57.4 % and 0.336 for a larger set, within
    the sampling error of these."""
    events = [event for imported in tulu.values() for event in imported.items]
    judged = [event for event in events if event.judgment.preferred is not None]
    lengths = [
        (
            len(event.responses[event.judgment.preferred].text),
            len(event.responses[1 - event.judgment.preferred].text),
        )
        for event in judged
    ]
    assert (len(judged), sum(a > b for a, b in lengths), sum(a == b for a, b in lengths)) == (
        659,
        434,
        8,
    )

    votes = {}
    for event in events:
        models = {response.source.policy for response in event.responses}
        winner = (
            None
            if event.judgment.preferred is None
            else event.responses[event.judgment.preferred].source.policy
        )
        votes.setdefault((event.prompt[0].content, frozenset(models)), []).append(
            (event.annotator, winner)
        )
    doubles = [
        [winner for _, winner in group]
        for group in votes.values()
        if len(group) == 2 and len(dict(group)) == 2
    ]
    assert (len(doubles), sum(a == b for a, b in doubles)) == (114, 68)  # 59.6 %
    without_ties = [pair for pair in doubles if None not in pair]
    assert (len(without_ties), sum(a == b for a, b in without_ties)) == (60, 44)  # 73.3 %


def test_tulu_events_are_all_accounted_for(tulu, rule):
    admission = admit([event for imported in tulu.values() for event in imported.items], RUBRIC)
    assert (len(admission.accepted), admission.reasons) == (959, {"same response": 30})
    counts = build_pairs(admission.accepted, RUBRIC, rule, 0, []).counts
    assert counts["events"] == 959 == counts["events used"] + counts["events set aside"]
    # Responses of two models can be the same text, so that one annotator met the same pair twice;
    # the newest judgment counts.
    met = Counter(
        (event.annotator, event.prompt, frozenset(response.text for response in event.responses))
        for event in admission.accepted
    )
    assert sum(met.values()) - len(met) == 11
    reasons = {name: count for name, count in counts.items() if name.startswith("set aside")}
    assert reasons == {
        "set aside: contradiction": 32,
        "set aside: judged again": 11,
        "set aside: tie": 298,
    }
    assert counts["pairs"] == 574
    assert Counter(human_ceiling(admission.accepted)) == {True: 88, False: 32}


def test_hh_defects_are_found_and_counted(hh):
    assert (hh.report.rows_in, hh.report.accepted) == (1500, 1492)
    assert hh.report.examples == {
        "empty response": (87, 517, 926, 1104),
        "malformed transcript": (668, 764, 1320),
        "prompt mismatch": (1255,),
    }


def test_hh_floors_and_no_ceiling(hh, rule):
    data = build_pairs(hh.items, RUBRIC, rule, 0, [])
    pairs = sorted(
        (pair for pairs in data.splits.values() for pair in pairs), key=lambda pair: pair.id
    )
    assert Counter(length_outcomes(pairs)) == {True: 660, False: 823, None: 9}  # 44.5 % of the 1483
    assert human_ceiling(hh.items) is None
    folds = [[pair for index, pair in enumerate(pairs) if index % 5 == fold] for fold in range(5)]
    accuracies = []
    for fold in range(5):
        outcomes = bag_of_words_outcomes(
            [pair for other in range(5) if other != fold for pair in folds[other]], folds[fold]
        )
        known = [outcome for outcome in outcomes if outcome is not None]
        accuracies.append(sum(known) / len(known))
    assert sum(accuracies) / 5 == pytest.approx(0.600, abs=0.032)


def test_held_out_prompts_and_demonstrations(data_folder):
    vault = import_held_out(
        data_folder, SourceFile(format="xstest", path="xstest/xstest_prompts.csv")
    )
    assert Counter((prompt.context.slice, prompt.expected) for prompt in vault.items) == {
        ("safe", "comply"): 250,
        ("unsafe", "refuse"): 200,
    }
    demonstrations = import_demonstrations(
        data_folder,
        SourceFile(format="alpaca", path="preference-demos/alpaca_en_demo_600.json"),
        ATTRIBUTION,
    )
    assert (demonstrations.report.accepted, demonstrations.report.rejected) == (
        595,
        {"repeats an earlier row": 5},
    )


def test_real_data_meets_the_suites(data_folder, tulu, hh, rule):
    from plumbline.schema.suites import load_suite
    from resources.expectations import validate

    vault = import_held_out(
        data_folder, SourceFile(format="xstest", path="xstest/xstest_prompts.csv")
    ).items
    admission = admit(
        [event for imported in (*tulu.values(), hh) for event in imported.items], RUBRIC
    )
    data = build_pairs(admission.accepted, RUBRIC, rule, 0, vault)
    demonstrations = import_demonstrations(
        data_folder,
        SourceFile(format="alpaca", path="preference-demos/alpaca_en_demo_600.json"),
        ATTRIBUTION,
    ).items
    for name, frame in (
        ("preferences", preference_frame(data.splits, vault, RUBRIC)),
        ("demonstrations", demonstration_frame(demonstrations, vault, RUBRIC)),
    ):
        results = validate(frame, load_suite(Path(CONFIGS) / "suites" / f"{name}.yaml"))
        assert [result.message for result in results if result.status != "pass"] == []
