"""The candidate: what a person signs for, named by a digest that changes when anything behind it
changes.

A signature holds the digest of the candidate, which holds the digest of the decision and of every
artifact that the decision descends from: policy, evals, data, rubric, vault. Other bytes anywhere
have other digests, so a new upstream version is a new candidate without signatures.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from plumbline.data.quality.uncertified import TRAINED
from plumbline.errors import ArtifactNotFound, SignatureRefused
from plumbline.lineage.consistency import CHAMPION_ROLE
from plumbline.lineage.materializations import read_materializations
from plumbline.records import Record
from plumbline.release.decision import Decision, recompute
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.identifiers import Digest
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    DECISION_FILE,
    HELD_OUT_EVALS,
    RELEASE_DECISION,
    REPORT_FILE,
)
from plumbline.storage.artifacts import ArtifactStore

if TYPE_CHECKING:
    from plumbline.evaluation.failure_cases import FailureCase


KIND = RELEASE_DECISION


class Candidate(Record):
    """A decision with everything that it descends from; its digest is what reviews, approvals and
    overrides name."""

    decision: Digest
    policy: Digest
    recipe: str
    verdict: Literal["release", "hold", "reject"]
    profile: Digest = Field(description="digest of the profile whose gates were applied")
    ancestors: dict[Digest, str] = Field(
        description=(
            "artifact digest to kind of everything that the decision was made from; of the champion"
            " that it was compared with, the policy alone"
        )
    )


def candidate_of(store: ArtifactStore, decision: str) -> Candidate:
    """The candidate of a decision; every byte of the decision and of all its ancestors is hashed
    again.

    Raises:
        ArtifactNotFound: If a manifest or a file is missing.
        DigestMismatch: If a byte differs, or the artifact is no decision.
        SignatureRefused: If the decision speaks about other artifacts than it descends from.
    """
    made = decision_in(store, decision)
    manifest = store.manifest(decision)
    own = own_ancestors(store, decision)
    # the champion was sampled, so its bytes count; what it was made from may have been erased
    # since, and is nothing of this candidate
    champions = {
        parent
        for digest in own
        for role, parent in store.manifest(digest).parents.items()
        if role == CHAMPION_ROLE
    }
    ancestors = {
        digest: store.open(digest)[1].kind
        for digest in sorted((own.keys() | champions) - {decision})
    }
    differing = sorted(
        role for role, digest in made.inputs.items() if manifest.parents.get(role) != digest
    )
    if (
        differing
        or made.profile != manifest.config
        or made.inputs.get(ALIGNED_POLICY, "") not in ancestors
    ):
        what = ", ".join(differing) or (
            "the profile" if made.profile != manifest.config else "the aligned policy"
        )
        raise SignatureRefused(
            f"decision {decision} speaks about {what} otherwise than its manifest; nobody can sign"
            " for it, decide again"
        )
    return Candidate(
        decision=decision,
        policy=made.inputs[ALIGNED_POLICY],
        recipe=made.recipe,
        verdict=made.verdict,
        profile=made.profile,
        ancestors=ancestors,
    )


def decision_in(store: ArtifactStore, decision: str) -> Decision:
    """The decision that an artifact holds, its bytes verified.

    Raises:
        ArtifactNotFound: If the artifact is missing.
        DigestMismatch: If a byte differs, or it is no decision.
        SignatureRefused: If its file is no decision of this version.
    """
    folder, _ = store.open(decision, kind=KIND)
    path = folder / DECISION_FILE
    try:
        return Decision.from_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise SignatureRefused(
            f"{path}: is not a decision of this version; materialize release_decision again:"
            f" {error}"
        ) from error


def require_evidence(store: ArtifactStore, decision: str) -> Decision:
    """The decision of an artifact, judged again on the eval report that it cites and with the gates
    that it records.

    Words may differ, since a later version explains better; verdicts and estimates may not. Whether
    the gates are those of a profile is asked by whoever knows the profile.

    Raises:
        ArtifactError: If the decision or its evals are missing or were changed.
        SignatureRefused: If the recorded verdicts do not follow from the report.
    """
    made = decision_in(store, decision)
    folder, _ = store.open(
        store.manifest(decision).parents.get(HELD_OUT_EVALS, ""), kind=HELD_OUT_EVALS
    )
    path = folder / REPORT_FILE
    try:
        report = EvalReport.from_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise SignatureRefused(
            f"{path}: is not an eval report of this version; materialize held_out_evals again, then"
            f" decide again: {error}"
        ) from error
    again = recompute(made, report, [judged.gate for judged in made.gates])
    recorded, recomputed = (
        [(judged.gate.id, judged.verdict, judged.estimate) for judged in judgment.gates]
        for judgment in (made, again)
    )
    if made.report != report.digest() or made.verdict != again.verdict or recorded != recomputed:
        differing = [
            mine[0] for mine, other in zip(recorded, recomputed, strict=True) if mine != other
        ]
        what = f"gates {', '.join(differing)}" if differing else "the digest of the report"
        raise SignatureRefused(
            f"decision {decision} does not follow from the evals that it cites ({what}); nobody can"
            " sign for it, decide again"
        )
    return made


def own_ancestors(store: ArtifactStore, digest: str) -> dict[str, str]:
    """Artifact digest to kind of an artifact and of what it was made from, without the champion
    that it was only compared with.

    Raises:
        ArtifactError: If a manifest is missing or was changed.
    """
    ancestors: dict[str, str] = {}
    queue = [digest]
    for current in queue:  # grows while it is read
        if current not in ancestors:
            artifact = store.manifest(current)
            ancestors[current] = artifact.kind
            queue += [parent for role, parent in artifact.parents.items() if role != CHAMPION_ROLE]
    return ancestors


def trained_by(store: ArtifactStore, candidate: Candidate) -> frozenset[str]:
    """Who launched the training of the policy and of every model that it was made from; the
    champion that it is compared with does not count.

    A materialization that reused a model trained nothing: it tells only where the one that trained
    does not say who it was.

    Raises:
        LineageError: If a materialization record cannot be read.
        SignatureRefused: If nobody is recorded for a model, so that the rule against signing for
            one's own model cannot be kept.
    """
    people: set[str] = set()
    for digest, kind in own_ancestors(store, candidate.policy).items():
        if kind not in TRAINED:
            continue
        made = read_materializations(store.root, digest)
        trained = {record.person for record in made if record.person and not record.cached} or {
            record.person for record in made if record.person
        }
        if not trained:
            raise SignatureRefused(
                f"who trained {kind} {digest} is not recorded, so nobody can be kept from signing"
                " for an own model; materialize it again with PLUMBLINE_PERSON set, then evaluate"
                " and decide again"
            )
        people |= trained
    return frozenset(people)


def failure_cases_of(store: ArtifactStore, decision: str) -> "tuple[FailureCase, ...]":
    """The failure cases of the evals behind a decision, the worst first; the bytes of the evals are
    hashed again.

    Raises:
        SignatureRefused: If the evals hold none in a readable form.
    """
    from plumbline.evaluation.failure_cases import FILE, read_failures

    evals = store.manifest(decision).parents.get(HELD_OUT_EVALS, "")
    folder, _ = store.open(evals, kind=HELD_OUT_EVALS)
    path: Path = folder / FILE
    if not path.is_file():
        raise SignatureRefused(
            f"{path}: the evals name no failure cases, so nobody can review them; materialize"
            " held_out_evals again, then decide again"
        )
    return read_failures(path)


def find_decision(store: ArtifactStore, given: str) -> str:
    """The digest of the decision that a digest or a unique start of its hex digits names.

    Raises:
        ArtifactNotFound: If it names no decision, or several.
    """
    prefix = given.lower().removeprefix("sha256:")
    known = {digest: store.manifest(digest) for digest in store.manifests()}
    decisions = [digest for digest, artifact in known.items() if artifact.kind == KIND]
    named = [
        digest
        for digest in decisions
        if len(prefix) >= 6 and digest.removeprefix("sha256:").startswith(prefix)
    ]
    if len(named) == 1:
        return named[0]
    what = f"names {len(named)} decisions" if len(prefix) >= 6 else "is too short"
    listed = (
        "".join(
            f"\n  {digest[7:19]}  {known[digest].facts.get('recipe')} "
            f" {known[digest].facts.get('verdict')}"
            for digest in decisions
        )
        or " none"
    )
    raise ArtifactNotFound(f"'{given}' {what}; give at least 6 hex digits of one of these:{listed}")
