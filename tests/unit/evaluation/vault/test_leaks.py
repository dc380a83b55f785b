"""Leaks: held-out prompts in the training data of the judged policy, and prompts that stand in two
suites."""

import csv

import pytest

from plumbline.data.formats.reading import import_held_out
from plumbline.evaluation.vault.leaks import leak_check, leaks, suite_overlaps, training_prompts
from plumbline.profile.data import ContaminationConfig
from plumbline.profile.evaluation import VaultConfig
from plumbline.profile.sources import SourceFile
from plumbline.records import sha256
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Consent, Context, Provenance
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.preferences import Demonstration, PreferencePair
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import code_identity
from plumbline.storage.jsonl import write_records

RULE = ContaminationConfig(ngram=8, threshold=0.5)
SECRET = "Which of the seven bridges of the old town was closed in the winter of the great flood?"
CONTEXT = Context(locale="en", domain="d", slice="towns")


def asked(text):
    return (Message(role="user", content=text),)


def prompt(name, text, suite="towns", **facts):
    return EvalPrompt(
        id=name, suite=suite, prompt=asked(text), expected="comply", context=CONTEXT, facts=facts
    )


def vault_rule(max_leaked=0.0):
    return VaultConfig.model_validate(
        {"suites": {"towns": {"budget": 1}}, "max_leaked": max_leaked}
    )


@pytest.mark.requirement("E2")
@pytest.mark.parametrize(
    ("trained", "reason"),
    [
        (SECRET, "exact"),
        (SECRET.upper() + "!!", "normalized"),
        (f"Please answer for my homework: {SECRET} Keep it short.", "containment"),
        ("was closed in the winter of the great flood?", "containment"),
        ("Which bridge did they close that winter?", None),
    ],
)
def test_a_held_out_prompt_in_the_training_data_is_found_in_the_usual_disguises(trained, reason):
    vault = [
        prompt("secret", SECRET),
        prompt("other", "How many windows does the new town hall have on its eastern side?"),
    ]
    found = leaks([asked("What is the capital of France?"), asked(trained)], vault, RULE)
    assert found == ({} if reason is None else {"secret": reason})


@pytest.mark.requirement("E2")
def test_every_held_out_prompt_that_one_training_prompt_resembles_is_named():
    """One training prompt that quotes two held-out ones leaks both, although it resembles one of
    them most."""
    vault = [
        prompt("secret", SECRET),
        prompt("again", SECRET + " Say why."),
        prompt("apart", "Who painted the ceiling of the small chapel by the river?"),
    ]
    assert set(leaks([asked(SECRET)], vault, RULE)) == {"secret", "again"}


@pytest.mark.requirement("E2")
def test_the_check_fails_on_any_leak_says_how_many_and_can_be_given_a_tolerance():
    vault = [prompt(f"p{number}", f"Question {number}") for number in range(10)]
    clean, leaked = (
        leak_check({}, vault, 50, vault_rule()),
        leak_check({"p1": "exact"}, vault, 50, vault_rule()),
    )
    assert (clean.name, clean.verdict, leaked.verdict) == ("vault-leak", "pass", "fail")
    assert "1 of 10 in towns (1 exact); they are set aside" in leaked.explanation
    assert "renew the suite" in leaked.remedy
    assert leak_check({"p1": "exact"}, vault, 50, vault_rule(0.1)).verdict == "pass"
    assert leak_check({"p1": "exact", "p2": "exact"}, vault, 50, vault_rule(0.1)).verdict == "fail"


@pytest.mark.requirement("E2")
@pytest.mark.parametrize(
    ("size", "share", "tolerated"), [(10, 0.05, 0), (10, 0.19, 1), (100, 0.026, 2), (50, 0.04, 2)]
)
def test_a_tolerance_between_two_counts_tolerates_the_lower_one(size, share, tolerated):
    vault = [prompt(f"p{number}", f"Question {number}") for number in range(size)]
    for count, verdict in ((tolerated, "pass"), (tolerated + 1, "fail")):
        leaked = {f"p{number}": "exact" for number in range(count)}
        assert leak_check(leaked, vault, 50, vault_rule(share)).verdict == verdict


@pytest.mark.threat("G1")
def test_the_check_does_not_pass_when_nothing_was_compared():
    assert leak_check({}, [prompt("a", "x")], 0, vault_rule()).verdict == "error"
    assert leak_check({}, [], 10, vault_rule()).verdict == "error"


@pytest.mark.requirement("E2")
def test_training_prompts_are_those_of_the_data_behind_a_policy_and_each_stands_once(tmp_path):
    """A policy was trained on the pairs of its preference data, in every split, and on the
    demonstrations of the policy that it started from."""
    store = ArtifactStore(tmp_path)

    def publish(kind, rows, parents):
        with store.staging() as folder:
            for name, records in rows.items():
                write_records(folder / name, records)
            (folder / "kind").write_text(kind)
            return store.publish(
                folder,
                kind=kind,
                config=sha256(b""),
                code=code_identity(),
                parents=parents,
                facts={},
            )[0]

    def pair(text):
        return PreferencePair(
            id="p",
            prompt=asked(text),
            chosen="a",
            rejected="b",
            margin=0.0,
            votes=1,
            agreement=1.0,
            event_ids=("e",),
            rubric="r@1",
            context=CONTEXT,
            synthetic=True,
        )

    shown = Demonstration(
        id="d",
        prompt=asked("demonstrated"),
        response="r",
        author_role="expert",
        provenance=Provenance(written_by="w", filtered_by="f", approved_by="a"),
        consent=Consent(scope="training", version="v"),
        context=CONTEXT,
    )
    demonstrations = publish("demonstrations", {"demonstrations.jsonl": [shown, shown]}, {})
    vault = publish("eval_vault", {"prompts.jsonl": [prompt("secret", SECRET)]}, {})
    splits = {
        f"{split}.jsonl": [pair(split), pair("demonstrated")]
        for split in ("train", "validation", "calibration")
    }
    data = publish("preference_data", splits, {"eval_vault": vault})
    reference = publish("reference_policy", {}, {"demonstrations": demonstrations})
    policy = publish("aligned_policy", {}, {"reference_policy": reference, "preference_data": data})
    found = training_prompts(store, [policy])
    assert sorted(one[-1].content for one in found) == [
        "calibration",
        "demonstrated",
        "train",
        "validation",
    ]
    assert training_prompts(store, [reference]) == [asked("demonstrated")]


@pytest.mark.requirement("E10")
def test_prompts_that_public_suites_share_are_named(data_folder):
    """All 39 prompts of refusal-direction's validation list are HarmBench behaviours, and
    StrongREJECT names MaliciousInstruct as the source of 12."""
    names = (
        "harmbench_behaviors_text_val.csv",
        "malicious_instruct.txt",
        "refusal_direction__harmful_val.json",
        "strongreject_dataset.csv",
    )
    prompts = [
        one
        for name in names
        for one in import_held_out(
            data_folder, SourceFile(format="redteam", path=f"redteam-prompts/{name}")
        ).items
    ]
    with (data_folder / "redteam-prompts" / "strongreject_dataset.csv").open(newline="") as stream:
        from_malicious_instruct = sum(
            row["source"] == "MaliciousInstruct" for row in csv.DictReader(stream)
        )
    assert {
        (one.first, one.second): (one.prompts, one.of, one.kinds)
        for one in suite_overlaps(prompts, RULE)
    } == {
        ("harmbench_behaviors_text_val", "refusal_direction__harmful_val"): (39, 39, {"exact": 39}),
        ("malicious_instruct", "strongreject_dataset"): (
            from_malicious_instruct,
            313,
            {"exact": from_malicious_instruct},
        ),
    }


@pytest.mark.requirement("E3")
def test_suites_that_share_nothing_have_no_overlap_and_variants_do_not_count():
    same = [prompt("a", SECRET), prompt("b", SECRET, suite="villages", variant_of="x")]
    assert suite_overlaps(same, RULE) == []
    (shared,) = suite_overlaps([same[0], same[1].model_copy(update={"facts": {}})], RULE)
    assert (shared.first, shared.second, shared.prompts, shared.of, shared.kinds) == (
        "towns",
        "villages",
        1,
        1,
        {"exact": 1},
    )
