"""The frontier of divergence and reward: what each recipe paid, in nats from the reference, for
what it gained.

Reward is what the optimization aims at, and divergence what it is charged for (Gao et al. 2023,
figure 1; Rafailov et al. 2023, figure 2 left), so recipes can be compared at equal divergence only.
Points are comparable when they have the same reference, the same reward model and the same vault:
only such evals stand in one frontier.
"""

from typing import Final

from pydantic import Field

from plumbline.records import Record
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EVERYTHING, EvalReport, MetricComparison
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    EVAL_VAULT,
    REFERENCE_POLICY,
    REPORT_FILE,
    REWARD_MODEL,
)
from plumbline.storage.artifacts import Artifact, ArtifactStore

_SAME: Final = (EVAL_VAULT, REFERENCE_POLICY, REWARD_MODEL)
_GOLD: Final = ("utility", "correctness", "over_refusal", "harmful_compliance")


class FrontierPoint(Record):
    """One aligned policy."""

    recipe: str
    evals: str = Field(description="digest of the held_out_evals artifact")
    policy: str = Field(description="digest of the aligned_policy artifact")
    beta: float | None = Field(
        description="pull toward the reference; null when the policy does not say"
    )
    kl: Estimate = Field(description="nats per response, on its own samples")
    reward: Estimate = Field(description="reward, aligned minus reference")
    gold: Estimate | None = Field(
        description="judged quality, aligned minus reference; null where the reports have none"
    )
    dominated_by: str | None = Field(
        description=(
            "recipe that gains at least as much reward for at most as much divergence; null on the"
            " frontier"
        )
    )


class Frontier(Record):
    """Every comparable policy, in ascending order of divergence."""

    gold_metric: str | None = Field(
        description=(
            "metric of `gold`; higher is better except for over_refusal and harmful_compliance"
        )
    )
    points: tuple[FrontierPoint, ...]


def read_frontier(store: ArtifactStore, evals: str) -> Frontier:
    """The frontier of the evals with this digest and of all others in the store that are comparable
    with them.

    A policy that was evaluated several times is one point: the evals that are asked about, or those
    with the smallest digest.

    Raises:
        ArtifactError: If an eval report is missing or was changed.
    """
    own = store.manifest(evals)
    policies: dict[str, tuple[str, Artifact]] = {own.parents[ALIGNED_POLICY]: (evals, own)}
    for digest in sorted(store.manifests()):
        artifact = store.manifest(digest)
        if artifact.kind == own.kind and all(
            artifact.parents.get(role) == own.parents[role] for role in _SAME
        ):
            policies.setdefault(artifact.parents[ALIGNED_POLICY], (digest, artifact))
    compared = [
        (
            digest,
            artifact,
            EvalReport.from_json((store.open(digest)[0] / REPORT_FILE).read_bytes()),
        )
        for digest, artifact in policies.values()
    ]
    metric = next(
        (
            name
            for name in _GOLD
            if all(name in report.slices[EVERYTHING] for *_, report in compared)
        ),
        None,
    )
    points = [
        point
        for digest, artifact, report in compared
        if (point := _point(store, digest, artifact, report, metric)) is not None
    ]
    points.sort(key=lambda point: (point.kl.value, point.policy))
    return Frontier(
        gold_metric=metric,
        points=tuple(
            point.model_copy(update={"dominated_by": _dominator(point, points)}) for point in points
        ),
    )


def _point(
    store: ArtifactStore, digest: str, artifact: Artifact, report: EvalReport, metric: str | None
) -> FrontierPoint | None:
    overall = report.slices[EVERYTHING]
    kl, reward = overall.get("kl"), overall.get("reward")
    if kl is None or reward is None or reward.difference is None:
        return None
    policy = artifact.parents[ALIGNED_POLICY]
    gold: MetricComparison | None = None if metric is None else overall[metric]
    return FrontierPoint(
        recipe=str(artifact.facts.get("recipe")),
        evals=digest,
        policy=policy,
        beta=store.manifest(policy).facts.get("beta"),
        kl=kl.aligned,
        reward=reward.difference,
        gold=None if gold is None else gold.difference,
        dominated_by=None,
    )


def _dominator(point: FrontierPoint, points: list[FrontierPoint]) -> str | None:
    """The recipe with the most reward among those that are at least as good in both respects and
    better in one."""

    def better(other: FrontierPoint) -> bool:
        no_worse = other.kl.value <= point.kl.value and other.reward.value >= point.reward.value
        return no_worse and (other.kl.value, other.reward.value) != (
            point.kl.value,
            point.reward.value,
        )

    return (
        max(
            (other for other in points if better(other)), key=lambda other: other.reward.value
        ).recipe
        if any(map(better, points))
        else None
    )
