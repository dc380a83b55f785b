"""The sign-off: what people signed counts for exactly one candidate, for a time, by the rule, and
for nobody's own model."""

import shutil
from datetime import timedelta

import pytest

from plumbline.errors import ArtifactNotFound, DigestMismatch, SignatureRefused
from plumbline.lineage.materializations import read_materializations, write_materialization
from plumbline.profile.release import SignoffConfig
from plumbline.release.candidate import candidate_of, decision_in, trained_by
from plumbline.release.signing.trust import save_trust
from tests.unit.release.signing.signing_world import (
    CASES,
    NOW,
    World,
    build,
    evidence,
    failure_case,
)


@pytest.fixture
def world(tmp_path):
    return build(tmp_path / "home")


def test_nothing_signed_says_what_is_missing(world: World) -> None:
    found = world.signed()
    assert (found.complete, found.released_by, found.people, found.refused) == (False, None, (), ())
    assert [what.split(":")[0] for what in found.missing] == [
        "1 more accepting review",
        "1 more approval",
    ]
    assert "read the 2 worst of 3 failure cases" in found.missing[0]
    assert world.decision[7:19] in found.missing[0]


@pytest.mark.requirement("E6")
def test_a_review_and_an_approval_release(world: World) -> None:
    review = world.review("Rita")
    assert [what.split(":")[0] for what in world.signed().missing] == ["1 more approval"]
    approval = world.approve("Ana")
    found = world.signed()
    assert (found.complete, found.released_by, found.missing, found.refused) == (
        True,
        "gates",
        (),
        (),
    )
    assert [(one.envelope, one.by, one.verdict, one.cases) for one in found.reviews] == [
        (review, "Rita", "accept", CASES)
    ]
    assert [(one.envelope, one.by, one.reason) for one in found.approvals] == [
        (approval, "Ana", "Ana agrees")
    ]
    assert found.people == ("Rita", "Ana")
    assert (found.trust, found.ledger_head) == (world.trust.digest(), world.ledger.head())


def test_one_person_counts_once_however_often_that_person_signs(world: World) -> None:
    """Two reviews and two approvals are asked for: the same two people signing twice do not make
    four."""
    two = SignoffConfig(reviews=2, samples=2, approvals=2, valid_days=30.0)
    for minute in range(2):
        world.review("Rita", now=NOW + timedelta(minutes=minute))
        world.approve("Ana", now=NOW + timedelta(minutes=minute))
    found = world.signed(rule=two)
    assert [what.split(":")[0] for what in found.missing] == [
        "1 more accepting review",
        "1 more approval",
    ]
    world.review("Rob")
    world.approve("Abe")
    assert world.signed(rule=two).complete


@pytest.mark.requirement("E6")
def test_a_rejecting_review_blocks_until_the_same_person_accepts(world: World) -> None:
    """Neither more accepting reviews nor old age lift a rejection: waiting must not release
    anything."""
    world.review("Rita", verdict="reject", cases=CASES[:1])
    world.review("Rob")
    world.approve("Ana")
    assert [what.split(":")[0] for what in world.signed().missing] == [
        "Rita reviewed and rejected it"
    ]
    later = NOW + timedelta(days=31)
    world.review("Rob", now=later)
    world.approve("Ana", now=later)
    assert [what.split(":")[0] for what in world.signed(later).missing] == [
        "Rita reviewed and rejected it"
    ]
    world.review("Rita", now=later)
    assert world.signed(later).complete


def test_a_review_covers_the_worst_cases(world: World) -> None:
    with pytest.raises(
        SignatureRefused,
        match="1 of the 2 failure cases that must be read were not, the worst is case-a",
    ):
        world.review("Rita", cases=("case-b", "case-c"))
    with pytest.raises(
        SignatureRefused, match="names failure cases that this candidate does not have: case-x"
    ):
        world.review("Rita", cases=("case-a", "case-b", "case-x"))
    assert world.ledger.entries("review") == ()
    world.review("Rita", cases=("case-a", "case-b"))
    assert len(world.signed().reviews) == 1


def test_a_stricter_rule_asks_for_more_cases_afterwards(world: World) -> None:
    world.review("Rita", cases=CASES[:2])
    world.approve("Ana")
    found = world.signed(rule=SignoffConfig(reviews=1, samples=50, approvals=1, valid_days=30.0))
    assert not found.complete
    assert (
        "1 of the 3 failure cases that must be read were not, the worst is case-c"
        in found.refused[0].reason
    )


def test_without_failure_cases_an_empty_review_is_enough(tmp_path) -> None:
    world = build(tmp_path / "home", cases=[])
    world.review("Rita", cases=())
    world.approve("Ana")
    assert world.signed().complete


def test_signatures_grow_old(world: World) -> None:
    world.review("Rita")
    world.approve("Ana")
    assert world.signed(NOW + timedelta(days=30)).complete
    found = world.signed(NOW + timedelta(days=30, seconds=1))
    assert not found.complete
    assert {one.reason for one in found.refused} == {
        "it is from 2026-05-04, and signatures count for 30 days"
    }


def test_a_signature_from_the_future_does_not_count(world: World) -> None:
    """A date ahead of the clock would make a signature last longer than the rule allows."""
    world.approve("Ana", now=NOW + timedelta(days=300))
    found = world.signed()
    assert found.approvals == ()
    assert "which has not come yet" in found.refused[0].reason


@pytest.mark.requirement("E6")
@pytest.mark.threat("G3")
@pytest.mark.parametrize("act", [World.review, World.approve])
def test_who_trained_it_does_not_sign(world: World, act) -> None:
    with pytest.raises(SignatureRefused, match="Tom trained this policy or a model behind it"):
        act(world, "Tom")
    assert world.signed().people == ()


@pytest.mark.threat("G3")
def test_the_trainer_is_known_by_the_accounts_too(world: World) -> None:
    """Ruth launched the reference policy; Rita launches runs as `ruth`, whatever the case of the
    letters."""
    world.review("Rita")
    before = world.trust
    after = before.with_key(
        "Rita", (world.keys / "rita.pub").read_text(), ("reviewer",), accounts=("RUTH",)
    )
    save_trust(world.layout.profile_folder / "trust.json", after, before, world.ledger, "account")
    assert "Rita trained this policy or a model behind it" in world.signed().refused[0].reason


def test_a_trainer_can_reject(world: World) -> None:
    world.review("Tom", verdict="reject")
    world.review("Rita")
    world.approve("Ana")
    assert [what.split(":")[0] for what in world.signed().missing] == [
        "Tom reviewed and rejected it"
    ]


def test_an_unknown_trainer_blocks(tmp_path) -> None:
    world = World(build(tmp_path / "home").layout)
    for kind in ("rubric", "eval_vault", "preference_data", "reference_policy"):
        world.publish(kind, {"content": kind.encode()}, person="Ruth")
    world.publish("aligned_policy", {"weights": b"other"}, ("preference_data", "reference_policy"))
    evidence(world, "release")
    with pytest.raises(
        SignatureRefused, match=r"who trained aligned_policy sha256:[0-9a-f]{64} is not recorded"
    ):
        world.approve("Ana")


def test_who_reused_a_model_did_not_train_it(world: World) -> None:
    """Rita's run found the policy in the cache; Tom's trained it. Where no run that trained names
    anybody, those that reused it have to do."""
    digest = world.parts["aligned_policy"]
    (made,) = read_materializations(world.store.root, digest)
    write_materialization(
        world.store.root,
        made.model_copy(update={"dagster_run": "run-again", "cached": True, "person": "Rita"}),
    )
    candidate = candidate_of(world.store, world.decision)
    assert trained_by(world.store, candidate) == {"Tom", "Ruth"}
    write_materialization(world.store.root, made.model_copy(update={"person": None}))
    assert trained_by(world.store, candidate) == {"Rita", "Ruth"}


def test_the_trainers_of_the_champion_do_not_count(world: World) -> None:
    champion = world.parts["aligned_policy"]
    assert trained_by(world.store, candidate_of(world.store, world.decision)) == {"Tom", "Ruth"}
    world.publish(
        "aligned_policy",
        {"weights": b"challenger"},
        ("preference_data", "reference_policy"),
        person="Tina",
    )
    world.parts["champion_policy"] = champion
    evidence(world, "release")
    assert trained_by(world.store, candidate_of(world.store, world.decision)) == {"Tina", "Ruth"}


@pytest.mark.threat("C3")
def test_erased_data_of_the_champion_do_not_stop_its_successor(world: World) -> None:
    """The champion's data were erased; the challenger was made from other data, and was compared
    with the champion's bytes, which are there."""
    champion, erased = world.parts["aligned_policy"], world.parts["preference_data"]
    world.publish("preference_data", {"train.jsonl": b"{}\n{}\n{}\n"}, ("rubric", "eval_vault"))
    world.publish(
        "aligned_policy",
        {"weights": b"challenger"},
        ("preference_data", "reference_policy"),
        person="Tina",
    )
    world.parts["champion_policy"] = champion
    evidence(world, "release")
    shutil.rmtree(
        world.store.root / "trees" / world.store.manifest(erased).tree.removeprefix("sha256:")
    )
    candidate = candidate_of(world.store, world.decision)
    assert champion in candidate.ancestors
    assert erased not in candidate.ancestors
    assert world.parts["preference_data"] in candidate.ancestors
    weights = (
        world.store.root
        / "trees"
        / world.store.manifest(champion).tree.removeprefix("sha256:")
        / "weights"
    )
    weights.write_bytes(b"another champion")
    with pytest.raises(DigestMismatch):
        candidate_of(world.store, world.decision)


@pytest.mark.requirement("E6")
@pytest.mark.threat("G3")
def test_signatures_for_one_candidate_say_nothing_about_the_next(world: World) -> None:
    """New training data make a new policy and a new decision; the envelopes are copied over as an
    attacker would."""
    for act in (world.review("Rita"), world.approve("Ana")):
        assert act
    signed, earlier = list(world.signatures.iterdir()), world.decision
    world.publish("preference_data", {"train.jsonl": b"{}\n{}\n"}, ("rubric", "eval_vault"))
    world.publish(
        "aligned_policy",
        {"weights": b"aligned again"},
        ("preference_data", "reference_policy"),
        person="Tom",
    )
    evidence(world, "release")
    assert not world.signed().complete
    world.signatures.mkdir()
    for path in signed:
        (world.signatures / path.name).write_bytes(path.read_bytes())
    found = world.signed()
    assert (found.complete, found.people, len(found.refused)) == (False, (), 2)
    for path in signed:  # entered in the ledger as well, under the new decision
        world.ledger.append("approval", f"copy of {path.name}", {"decision": world.decision})
        world.ledger.append("review", f"sha256:{path.stem}x", {"decision": world.decision})
    assert world.signed().people == ()
    assert world.signed(decision=earlier).complete


@pytest.mark.parametrize(
    "kind",
    [
        "aligned_policy",
        "preference_data",
        "eval_vault",
        "rubric",
        "held_out_evals",
        "release_decision",
    ],
)
def test_signatures_die_with_the_bytes(world: World, kind: str) -> None:
    world.review("Rita")
    world.approve("Ana")
    folder = (
        world.store.root
        / "trees"
        / world.store.manifest(world.parts[kind]).tree.removeprefix("sha256:")
    )
    file = next(path for path in sorted(folder.iterdir()))
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(DigestMismatch, match="changed after they were written"):
        world.signed()
    file.unlink()
    with pytest.raises(DigestMismatch):
        world.approve("Abe")


def test_a_decision_that_contradicts_its_manifest_is_refused(world: World) -> None:
    made = decision_in(world.store, world.decision)
    other = made.model_copy(
        update={"inputs": {**made.inputs, "aligned_policy": world.parts["reference_policy"]}}
    )
    forged = world.publish(
        "release_decision", {"decision.json": other.to_json()}, ("held_out_evals", "aligned_policy")
    )
    with pytest.raises(
        SignatureRefused, match="speaks about aligned_policy otherwise than its manifest"
    ):
        candidate_of(world.store, forged)
    with pytest.raises(DigestMismatch, match="expected a release_decision"):
        candidate_of(world.store, world.parts["aligned_policy"])
    with pytest.raises(ArtifactNotFound):
        candidate_of(world.store, "sha256:" + 64 * "0")


@pytest.mark.requirement("E15")
@pytest.mark.threat("G2")
@pytest.mark.parametrize("forge", ["estimate", "report"])
def test_a_decision_that_its_evals_do_not_give_is_refused(tmp_path, forge: str) -> None:
    """The evals say `reject`; the artifact beside them says `release`, on an estimate that nobody
    measured, or on another report."""
    world = build(tmp_path / "home", "reject")
    honest = decision_in(world.store, world.decision)
    good = decision_in((other := build(tmp_path / "other", "release")).store, other.decision)
    changes = (
        {"gates": good.gates, "verdict": "release"}
        if forge == "estimate"
        else {"report": good.report}
    )
    forged = honest.model_copy(update=changes)
    world.decision = world.publish(
        "release_decision",
        {"decision.json": forged.to_json()},
        ("held_out_evals", "aligned_policy"),
    )
    said = "gates harm" if forge == "estimate" else "the digest of the report"
    for use in (lambda: world.signed(), lambda: world.approve("Ana"), lambda: world.review("Rita")):
        with pytest.raises(
            SignatureRefused, match=rf"does not follow from the evals that it cites \({said}\)"
        ):
            use()
    assert world.ledger.entries("approval") == ()


def test_failure_cases_are_part_of_the_candidate(world: World) -> None:
    """The same answers sorted another way are other evals: what has to be read cannot be exchanged
    under a signature."""
    before = candidate_of(world.store, world.decision).digest()
    evidence(world, "release", cases=[failure_case("easy", response="Almost.")])
    assert candidate_of(world.store, world.decision).digest() != before
