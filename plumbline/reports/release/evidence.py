"""What the release page is made of, read from the store by the digests of its parents, so that a
page can be made again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from plumbline.evaluation.failure_cases import FILE, FailureCase, read_failures
from plumbline.evaluation.failure_modes.length_bias import LengthDrift
from plumbline.evaluation.failure_modes.over_optimization import OverOptimization
from plumbline.evaluation.frontier import Frontier, read_frontier
from plumbline.evaluation.red_team.attempts import CampaignReport
from plumbline.evaluation.reward_models.accuracy import RewardAccuracy
from plumbline.evaluation.reward_models.calibration import Calibration
from plumbline.guardrail.measurement import Measurement
from plumbline.profile.release import SignoffConfig
from plumbline.records import Record
from plumbline.release.decision import Decision
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.kinds import (
    CALIBRATION_FILE,
    CAMPAIGN_FILE,
    DECISION_FILE,
    HELD_OUT_EVALS,
    LENGTHS_FILE,
    MEASUREMENT_FILE,
    OVER_OPTIMIZATION_FILE,
    RED_TEAM_CAMPAIGN,
    RELEASE_DECISION,
    REPORT_FILE,
    REWARD_MODEL_FILE,
)
from plumbline.storage.artifacts import Artifact, ArtifactStore
from plumbline.storage.code_identity import CodeIdentity

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class ReleaseEvidence:
    """Everything that the page shows; what is absent is said to be absent."""

    profile: str
    decision: Decision
    decision_digest: str
    report: EvalReport
    signoff: SignoffConfig | None = None
    cases: tuple[FailureCase, ...] = ()
    accuracy: RewardAccuracy | None = None
    calibration: Calibration | None = None
    curve: OverOptimization | None = None
    lengths: LengthDrift | None = None
    frontier: Frontier | None = None
    guardrail: Measurement | None = None
    campaigns: tuple[CampaignReport, ...] = ()
    ancestors: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Digest of every artifact behind the decision to its kind and its tree."""
    code: CodeIdentity | None = None


def read_evidence(
    store: ArtifactStore, decision: str, *, profile: str, signoff: SignoffConfig | None
) -> ReleaseEvidence:
    """The evidence behind a release decision: its ancestors, with every byte verified.

    Args:
        store: The artifact store.
        decision: Digest of a `release_decision` artifact.
        profile: Name of the profile, for the reader.
        signoff: Who has to sign, for the reader; null: nobody.

    Raises:
        ArtifactError: If an artifact is missing or was changed.
        DataError: If the failure cases cannot be read.
    """
    folder, artifact = store.open(decision, kind=RELEASE_DECISION)
    evals, ancestors = artifact.parents[HELD_OUT_EVALS], _ancestors(store, decision)
    tree = store.open(evals, kind=HELD_OUT_EVALS)[0]
    campaigns = sorted(
        digest for digest, ancestor in ancestors.items() if ancestor.kind == RED_TEAM_CAMPAIGN
    )
    return ReleaseEvidence(
        profile=profile,
        decision=Decision.from_json((folder / DECISION_FILE).read_bytes()),
        decision_digest=decision,
        report=EvalReport.from_json((tree / REPORT_FILE).read_bytes()),
        signoff=signoff,
        cases=read_failures(tree / FILE) if (tree / FILE).exists() else (),
        accuracy=_read(tree / REWARD_MODEL_FILE, RewardAccuracy),
        calibration=_read(tree / CALIBRATION_FILE, Calibration),
        curve=_read(tree / OVER_OPTIMIZATION_FILE, OverOptimization),
        lengths=_read(tree / LENGTHS_FILE, LengthDrift),
        frontier=read_frontier(store, evals),
        guardrail=(
            _read(store.open(artifact.parents["guardrail"])[0] / MEASUREMENT_FILE, Measurement)
            if "guardrail" in artifact.parents
            else None
        ),
        campaigns=tuple(
            CampaignReport.from_json((store.open(digest)[0] / CAMPAIGN_FILE).read_bytes())
            for digest in campaigns
        ),
        ancestors={
            digest: (ancestor.kind, ancestor.tree)
            for digest, ancestor in sorted(
                ancestors.items(), key=lambda item: (item[1].kind, item[0])
            )
        },
        code=artifact.code,
    )


def _ancestors(store: ArtifactStore, digest: str) -> dict[str, Artifact]:
    """The artifact and everything that it was made from, by digest."""
    manifests: dict[str, Artifact] = {}
    queue = [digest]
    for queued in queue:  # grows while it is read
        if queued not in manifests:
            manifests[queued] = store.manifest(queued)
            queue += manifests[queued].parents.values()
    return manifests


def _read(path: Path, model: type[R]) -> R | None:
    """The record in a file, or None where the evals could not make it."""
    return model.from_json(path.read_bytes()) if path.exists() else None
