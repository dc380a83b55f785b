"""Overrides: by name, with a reason, for exactly what does not pass, until an end, by an owner who
did not train it, and never alone."""

import re
from datetime import timedelta

import pytest
from pydantic import ValidationError

from plumbline.errors import SignatureRefused
from plumbline.release.candidate import decision_in
from plumbline.release.signing.sign import sign_override
from plumbline.release.signing.signing_policy import open_points
from plumbline.release.signing.signoff import signing_policy_at
from plumbline.release.signing.statements import Override
from plumbline.release.signing.stored import record_signature
from plumbline.schema.checks import CheckVerdict
from tests.unit.release.signing.signing_world import NOW, RULE, World, build

SHORTCUT = CheckVerdict(
    name="refusal-shortcut",
    verdict="inconclusive",
    explanation="too few samples",
    remedy="sample more",
)
PASSED = CheckVerdict(name="clauses", verdict="pass", explanation="all have gates")


@pytest.fixture
def world(tmp_path):
    """The gate `harm` fails, the check `refusal-shortcut` is open, `clauses` passes; both people
    have signed."""
    world = build(tmp_path / "home", "reject", (SHORTCUT, PASSED))
    world.review("Rita")
    world.approve("Ana")
    return world


def forged(world: World, **changes: object) -> str:
    """An override by Olga that she could not make with the command: signed with her key all the
    same."""
    signing_policy = signing_policy_at(world.store, world.trust, world.decision, RULE, NOW)
    fields = {
        "candidate": signing_policy.candidate.digest(),
        "decision": world.decision,
        "policy": signing_policy.candidate.policy,
        "by": "Olga",
        "reason": "because",
        "at": NOW,
        "ledger": world.ledger.head(),
        "trust": world.trust.digest(),
        "scope": ("harm", "refusal-shortcut"),
        "expires": NOW + timedelta(days=7),
    }
    return record_signature(
        world.store.root, world.ledger, Override(**(fields | changes)), world.key("Olga")
    )


def test_without_an_override_a_signed_reject_is_not_released(world: World) -> None:
    found = world.signed()
    assert not found.complete
    assert found.missing == (
        (
            "the decision is reject (harm, refusal-shortcut): improve the policy and decide again."
            " Somebody with the role owner can override it with `plumbline release override"
            f" {world.decision[7:19]}`, which stands out everywhere after"
        ),
    )


@pytest.mark.requirement("E6")
@pytest.mark.threat("G3")
def test_a_valid_override_releases_and_is_recorded(world: World) -> None:
    envelope = world.override("Olga", ("harm", "refusal-shortcut"))
    found = world.signed()
    assert (found.complete, found.released_by, found.people) == (
        True,
        "override",
        ("Rita", "Ana", "Olga"),
    )
    (signed,) = found.overrides
    assert (signed.envelope, signed.by, signed.scope, signed.expires) == (
        envelope,
        "Olga",
        ("harm", "refusal-shortcut"),
        NOW + timedelta(days=7),
    )
    assert signed.reason == "Olga answers for it"
    (entry,) = world.ledger.entries("override")
    assert (entry.key, entry.body["by"], entry.body["decision"]) == (
        envelope,
        "Olga",
        world.decision,
    )
    assert entry.body["scope"] == ["harm", "refusal-shortcut"]
    assert decision_in(world.store, world.decision).verdict == "reject"


@pytest.mark.threat("G3")
def test_the_end_ends_it(world: World) -> None:
    world.override("Olga", ("harm", "refusal-shortcut"), days=2)
    assert world.signed(NOW + timedelta(days=2, seconds=-1)).complete
    found = world.signed(NOW + timedelta(days=2))
    assert not found.complete
    assert [one.reason for one in found.refused] == ["it ended 2026-05-06 12:00 UTC"]


@pytest.mark.threat("G3")
def test_a_far_end_is_cut_by_the_days_that_signatures_count(world: World) -> None:
    world.override("Olga", ("harm", "refusal-shortcut"), days=3650)
    later = NOW + timedelta(days=31)
    world.review("Rita", now=later)
    world.approve("Ana", now=later)
    found = world.signed(later)
    assert not found.complete
    assert "signatures count for 30 days" in found.refused[0].reason


REFUSED = {
    "a gate is left out": (
        {"scope": ("refusal-shortcut",)},
        "its scope leaves out harm, which does not pass either",
    ),
    "a check is left out": ({"scope": ("harm",)}, "its scope leaves out refusal-shortcut"),
    "more than is open": (
        {"scope": ("harm", "refusal-shortcut", "clauses")},
        "its scope names clauses, which is not open",
    ),
    "everything, in blanket": ({"scope": ("harm", "refusal-shortcut", "*")}, r"its scope names \*"),
    "ends before it begins": ({"expires": NOW - timedelta(days=1)}, "it ends before it begins"),
    "another name": ({"by": "Abe"}, "it says that Abe signed, but the key belongs to Olga"),
    "another candidate": ({"candidate": "sha256:" + 64 * "a"}, "it is about another candidate"),
    "another policy": ({"policy": "sha256:" + 64 * "a"}, "it is about another candidate"),
}


@pytest.mark.threat("G3")
@pytest.mark.parametrize(("changes", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_override_is_refused(
    world: World, changes: dict[str, object], reason: str
) -> None:
    """Made past the command with the owner's own key, it lies in the store and in the ledger, and
    does not count."""
    forged(world, **changes)
    found = world.signed()
    assert (found.complete, found.overrides) == (False, ())
    assert [bool(re.search(reason, one.reason)) for one in found.refused] == [True], found.refused


@pytest.mark.threat("G3")
@pytest.mark.parametrize(
    "changes",
    [{"reason": ""}, {"reason": " \n"}, {"by": ""}, {"scope": ()}, {"expires": None}],
    ids=str,
)
def test_an_override_without_reason_name_scope_or_end_cannot_be_stated(
    world: World, changes: dict[str, object]
) -> None:
    with pytest.raises(ValidationError, match=next(iter(changes))):
        forged(world, **changes)


@pytest.mark.threat("G3")
@pytest.mark.parametrize(
    ("name", "scope", "message"),
    [
        ("Tom", ("harm", "refusal-shortcut"), "Tom trained this policy"),
        ("Ana", ("harm", "refusal-shortcut"), r"Ana is no owner \(roles: approver\)"),
        (
            "Eve",
            ("harm", "refusal-shortcut"),
            "is not in the trust file, so its signature would not count",
        ),
        ("Olga", ("harm",), "its scope leaves out refusal-shortcut"),
        ("Olga", (), "it named none"),
    ],
)
def test_the_command_does_not_sign_what_would_not_count(
    world: World, name: str, scope: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SignatureRefused, match=message):
        world.override(name, scope)
    assert world.ledger.entries("override") == ()


def test_an_override_has_a_reason(world: World) -> None:
    scope = ("harm", "refusal-shortcut")
    with pytest.raises(SignatureRefused, match="needs a reason"):
        sign_override(world.request("Olga", "  "), scope=scope, expires=NOW + timedelta(days=1))


@pytest.mark.threat("G3")
def test_who_overrides_cannot_be_the_only_one_who_approves(tmp_path) -> None:
    world = build(tmp_path / "home", "hold")
    world.review("Rita")
    world.override("Olga", ("harm",))
    world.approve("Olga")
    found = world.signed()
    assert [what.split(":")[0] for what in found.missing] == [
        "1 more approval by somebody else than who overrides"
    ]
    world.approve("Ana")
    assert world.signed().released_by == "override"


def test_a_rejecting_review_is_not_overridden(world: World) -> None:
    world.review("Rob", verdict="reject")
    world.override("Olga", ("harm", "refusal-shortcut"))
    assert [what.split(":")[0] for what in world.signed().missing] == [
        "Rob reviewed and rejected it"
    ]


def test_a_release_needs_no_override(tmp_path) -> None:
    world = build(tmp_path / "home", "release")
    with pytest.raises(SignatureRefused, match="there is nothing to override"):
        world.override("Olga", ("harm",))


def test_open_points_are_what_does_not_pass(world: World) -> None:
    made = decision_in(world.store, world.decision)
    assert open_points(made) == ("harm", "refusal-shortcut")
