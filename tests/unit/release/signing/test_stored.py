"""Signatures that were removed, edited, copied in or signed on another ledger are found, before a
release and after it."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from plumbline.audit.signatures import signature_findings
from plumbline.errors import LedgerError, SignatureRefused
from plumbline.lineage.ledger import Ledger
from plumbline.release.signing.envelopes import sign
from plumbline.release.signing.sign import sign_rollback
from plumbline.release.signing.signoff import signing_policy_at
from plumbline.release.signing.statements import Approval
from plumbline.release.signing.stored import find_signatures, record_signature
from plumbline.release.signing.trust import save_trust
from tests.unit.release.signing.signing_world import NOW, RULE, World, build


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Reviewed and approved."""
    world = build(tmp_path / "home")
    world.review("Rita")
    world.approve("Ana")
    return world


def file(world: World, envelope: str) -> Path:
    return world.signatures / f"{envelope.removeprefix('sha256:')}.json"


def cut(world: World, entries: int) -> None:
    """Take the last entries off the ledger, as somebody with an SQLite shell does, and leave no
    trace in the file."""
    with closing(sqlite3.connect(world.layout.ledger, isolation_level=None)) as connection:
        (sql,) = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE name = 'ledger_no_delete'"
        ).fetchone()
        connection.execute("DROP TRIGGER ledger_no_delete")
        connection.execute(
            "DELETE FROM ledger WHERE sequence > (SELECT MAX(sequence) FROM ledger) - ?", (entries,)
        )
        connection.execute(sql)


def approval(world: World, **changes: object) -> Approval:
    signing_policy = signing_policy_at(world.store, world.trust, world.decision, RULE, NOW)
    fields = {
        "candidate": signing_policy.candidate.digest(),
        "decision": world.decision,
        "policy": signing_policy.candidate.policy,
        "by": "Abe",
        "reason": "fine",
        "at": NOW,
    }
    return Approval(
        **{**fields, "ledger": world.ledger.head(), "trust": world.trust.digest(), **changes}
    )


def test_a_removed_rejection_does_not_open_the_way(world: World) -> None:
    envelope = world.review("Rob", verdict="reject")
    file(world, envelope).unlink()
    found = world.signed()
    assert not found.complete
    entry = world.ledger.find("review", envelope)
    assert entry is not None
    assert found.missing == (
        (
            f"the file of the review of Rob, signature {envelope[7:19]} is missing or was changed,"
            f" but the ledger knows it as entry {entry.sequence}: restore the store's folder"
            " `signatures` from a copy"
        ),
    )


def test_an_edited_rejection_does_not_open_the_way(world: World) -> None:
    envelope = world.review("Rob", verdict="reject")
    file(world, envelope).write_bytes(file(world, envelope).read_bytes().replace(b"a", b"b"))
    assert "is missing or was changed" in world.signed().missing[0]


def test_a_rejection_that_was_cut_out_of_both_shows_in_what_was_signed_after(world: World) -> None:
    """The approval names a ledger that contains the rejection, so that taking the rejection out of
    store and ledger leaves a gap."""
    rejection = world.review("Rob", verdict="reject")
    later = world.approve("Abe")
    kept = world.ledger.entries()[-1]
    cut(world, 2)
    file(world, rejection).unlink()
    world.ledger.append(kept.kind, kept.key, kept.body)
    assert world.ledger.verify() == ()
    found = world.signed()
    assert not found.complete
    assert [later[7:19] in what and "entries were cut off" in what for what in found.missing] == [
        True
    ]


def test_an_edited_ledger_blocks(world: World) -> None:
    with closing(sqlite3.connect(world.layout.ledger, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER ledger_no_update")
        connection.execute("UPDATE ledger SET recorded_at = recorded_at || 'x' WHERE sequence = 2")
    with pytest.raises(LedgerError, match=r"entry 2 .* was changed after it was written"):
        world.signed()
    with pytest.raises(LedgerError):
        world.approve("Abe")


def test_a_ledger_without_its_protection_blocks(world: World) -> None:
    with closing(sqlite3.connect(world.layout.ledger, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER ledger_no_update")
    assert ["the ledger does not verify" in what for what in world.signed().missing] == [True]
    with pytest.raises(LedgerError, match="nothing is signed on a ledger that does not verify"):
        world.approve("Abe")


def test_a_lost_ledger_blocks(world: World) -> None:
    """The signatures are still in the store, and none of them counts."""
    for path in world.layout.root.glob("ledger.db*"):
        path.unlink()
    found = world.signed()
    assert (found.complete, found.people) == (False, ())
    assert {one.reason.split(":")[0] for one in found.refused} == {"the ledger does not know it"}
    kinds = {one.action for one in found.refused}
    assert kinds == {"review", "approval"}


@pytest.mark.threat("G3")
def test_a_file_that_was_put_there_does_not_count(world: World) -> None:
    envelope = sign(approval(world), world.key("Abe"))
    (world.signatures / ("0" * 64 + ".json")).write_bytes(envelope)
    (world.signatures / "note.json").write_text("{}")
    reasons = [one.reason for one in world.signed().refused]
    assert len(reasons) == 2
    assert all("is missing or was changed" in reason for reason in reasons)
    assert world.signed().complete  # what others put there neither helps nor blocks


@pytest.mark.threat("G3")
def test_a_stranger_does_not_count_even_when_the_ledger_knows(world: World) -> None:
    record_signature(world.store.root, world.ledger, approval(world), world.key("Eve"))
    found = world.signed()
    assert [one.by for one in found.approvals] == ["Ana"]
    assert ["which the trust file does not name" in one.reason for one in found.refused] == [True]


@pytest.mark.threat("G3")
def test_a_wrong_role_does_not_count_even_when_the_ledger_knows(world: World) -> None:
    record_signature(world.store.root, world.ledger, approval(world, by="Rob"), world.key("Rob"))
    assert [one.reason for one in world.signed().refused] == [
        "Rob is no approver (roles: reviewer)"
    ]


@pytest.mark.threat("G3")
def test_an_approval_is_no_review(world: World) -> None:
    """The ledger calls an approval a review; the type is part of what was signed."""
    content = sign(approval(world), world.key("Abe"))
    envelope = record_signature(
        world.store.root,
        Ledger(world.layout.root / "elsewhere.db"),
        approval(world),
        world.key("Abe"),
    )
    assert (
        file(world, envelope).read_bytes() == content
    )  # Ed25519 is deterministic: signing again gives the same envelope
    world.ledger.append("review", envelope, {"decision": world.decision, "by": "Abe"})
    assert [one.reason for one in world.signed().refused] == [
        "the ledger has it as review, but it is signed as approval"
    ]


@pytest.mark.threat("G3")
def test_who_is_no_longer_trusted_does_not_count(world: World) -> None:
    before = world.trust
    save_trust(world.layout.trust, before.without("Ana"), before, world.ledger, "remove Ana")
    found = world.signed()
    assert (found.complete, found.approvals) == (False, ())
    assert found.trust == world.trust.digest() != before.digest()


def test_a_retry_makes_no_second_signature(world: World) -> None:
    statement = approval(world)
    first = record_signature(world.store.root, world.ledger, statement, world.key("Abe"))
    count = len(world.ledger.entries())
    assert record_signature(world.store.root, world.ledger, statement, world.key("Abe")) == first
    assert len(world.ledger.entries()) == count


def test_a_rollback_needs_a_role_and_leaves_the_signoff_alone(world: World) -> None:
    """The trainer may roll back, for the release that it returns to was signed by others; a
    reviewer may not."""
    leaves, reason, now = "sha256:" + 64 * "7", "the new one rambles", NOW + timedelta(days=300)
    with pytest.raises(SignatureRefused, match="Rita is no approver or owner"):
        sign_rollback(world.request("Rita", reason, now), leaves=leaves)
    opened, envelope = sign_rollback(world.request("Tom", reason, now), leaves=leaves)
    entry = world.ledger.find("rollback", envelope)
    assert entry is not None
    assert (opened.person, entry.body["leaves"]) == ("Tom", leaves)
    assert world.signed().complete
    assert signature_findings(
        world.store, world.ledger, world.trust, world.decision, [envelope]
    ) == ((), ())


@pytest.fixture
def envelopes(world: World) -> list[str]:
    return [
        found.envelope
        for found in find_signatures(world.store.root, world.ledger.entries(), world.decision)
    ]


def after(world: World, envelopes: list[str]) -> tuple[list[str], tuple[str, ...]]:
    findings, notes = signature_findings(
        world.store, world.ledger, world.trust, world.decision, envelopes
    )
    assert all(finding.artifact == world.decision for finding in findings)
    return [finding.what for finding in findings], notes


def test_the_signatures_of_a_release_are_checked_after_it(
    world: World, envelopes: list[str]
) -> None:
    assert after(world, envelopes) == ([], ())
    path = file(world, envelopes[1])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"a", b"b"))
    assert after(world, envelopes)[0] == [
        f"signature {envelopes[1][7:19]}: its envelope is missing from the store, or was changed"
    ]
    path.write_bytes(content)
    assert [what.split(": ")[1] for what in after(world, ["sha256:" + 64 * "0"])[0]] == [
        "its envelope is missing from the store, or was changed"
    ]


def test_signatures_that_the_ledger_lost_are_found_after_a_release(
    world: World, envelopes: list[str]
) -> None:
    cut(world, 1)
    assert after(world, envelopes)[0] == [
        f"signature {envelopes[1][7:19]}: the ledger does not know it"
    ]


def test_a_key_that_is_no_longer_trusted_is_a_note(world: World, envelopes: list[str]) -> None:
    """Age, roles and people who left change nothing about a release that was made."""
    before = world.trust
    save_trust(world.layout.trust, before.without("Ana"), before, world.ledger, "remove Ana")
    findings, notes = after(world, envelopes)
    assert findings == []
    assert ["which the trust file no longer names" in note for note in notes] == [True]


def test_a_signature_that_was_forged_for_a_release_is_found(world: World) -> None:
    """Eve signs in Ana's name with a key of her own, and enters it: the key is not Ana's, which is
    all that can be said without a trust file."""
    envelope = record_signature(
        world.store.root, world.ledger, approval(world, by="Ana"), world.key("Eve")
    )
    findings, notes = after(world, [envelope])
    assert (findings, len(notes)) == ([], 1)
    other = record_signature(
        world.store.root,
        world.ledger,
        approval(world, decision="sha256:" + 64 * "9"),
        world.key("Abe"),
    )
    assert after(world, [other])[0] == [
        f"signature {other[7:19]}: its envelope is missing from the store, or was changed"
    ]
