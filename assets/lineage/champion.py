"""The champion beside the policy that wants its place: whether the two can be compared, and how far
the feedback moved between them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from assets.lineage.materialization import Upstream
from assets.lineage.versions import pairs_in
from plumbline.errors import ArtifactError
from plumbline.release.promotion import promotions
from plumbline.schema.kinds import ALIGNED_POLICY, CHAMPION_POLICY, PREFERENCE_DATA
from resources.home import Home

if TYPE_CHECKING:
    from plumbline.data.quality.drift import DriftReport


SHARED = ("tokenizer", "chat_template")
"""Facts of a policy that must be those of the reference, so that one set of ids means the same to
both."""


@dataclass(frozen=True)
class Champion:
    """The released policy that a new one is held against."""

    digest: str
    upstream: Upstream | None
    """Its files; None when it cannot answer the held-out prompts."""
    why_not: str = ""

    def as_parent(self) -> dict[str, Upstream]:
        """Its files by their role; nothing when it cannot answer."""
        return {} if self.upstream is None else {CHAMPION_POLICY: self.upstream}


def champion_beside(
    context: dg.AssetExecutionContext, home: Home, policy: Upstream, reference: Upstream
) -> Champion | None:
    """The policy whose place this one wants: the champion of the profile, or, for a policy that was
    promoted before, the champion at that time.

    So evals of a policy that are made again after its promotion find what they found before, and
    the signatures on its decision live on. None when nothing was released before it. A champion
    whose files are gone, or that reads other tokens than the reference, is named and cannot answer:
    whatever compares with it has no evidence then, which holds the release.

    Args:
        context: Of the asset that evaluates.
        home: Has the ledger and the store.
        policy: The policy that is evaluated.
        reference: The reference policy that it started from.
    """
    made = promotions(home.ledger(), home.profile().name)
    own = next((promotion.number for promotion in made if promotion.policy == policy.digest), None)
    promoted = next(
        (promotion for promotion in reversed(made) if own is None or promotion.number < own), None
    )
    if promoted is None:
        return None
    try:
        folder, artifact = home.store().open(promoted.policy, kind=ALIGNED_POLICY)
    except ArtifactError as error:
        context.log.warning("The champion cannot be compared with: %s", error)
        return Champion(promoted.policy, None, str(error))
    other = [
        fact for fact in SHARED if artifact.facts.get(fact) != reference.artifact.facts.get(fact)
    ]
    if other:
        why = (
            f"the champion {promoted.policy} has another {' and '.join(other).replace('_', ' ')}"
            " than the reference"
        )
        context.log.warning("The champion gets no prompts: %s", why)
        return Champion(promoted.policy, None, why)
    return Champion(
        promoted.policy,
        Upstream(
            digest=promoted.policy, artifact=artifact, folder=folder, partition=promoted.recipe
        ),
    )


def feedback_moved(
    context: dg.AssetExecutionContext, home: Home, data: Upstream, champion: Champion | None
) -> "DriftReport":
    """How the preference data moved: against those of the champion, or, where that is not possible,
    against the version before."""
    from plumbline.data.quality.drift import DriftReport, drift, pair_frame

    recorded = DriftReport.model_validate(data.artifact.facts["drift"], strict=False)
    if champion is None or champion.upstream is None:
        return recorded
    try:
        folder, before = home.store().open(
            champion.upstream.artifact.parents[PREFERENCE_DATA], kind=PREFERENCE_DATA
        )
    except ArtifactError as error:
        context.log.warning("The champion's preference data cannot be compared with: %s", error)
        return recorded
    same_rubric = before.facts.get("rubric") == data.artifact.facts.get("rubric")
    return drift(
        pair_frame(pairs_in(folder)),
        pair_frame(pairs_in(data.folder)),
        home.profile().drift,
        same_rubric,
    )
