"""The released policy: promoted by a decision and by people, and by nothing else."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.lineage.materialization import CODE_VERSION, OWNERS, Upstream, publish, upstream
from assets.lineage.partitions import recipes
from assets.release import release_decision
from assets.report import release_report
from plumbline.lineage.materializations import read_materializations
from plumbline.release.candidate import Candidate, decision_in, own_ancestors
from plumbline.release.promotion import current_champion
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    DEMONSTRATIONS,
    EVAL_VAULT,
    PREFERENCE_DATA,
    REFERENCE_POLICY,
    RELEASE_DECISION,
    RELEASE_REPORT,
    REWARD_MODEL,
)
from plumbline.storage.artifacts import Artifact
from resources.home import Home
from resources.registry import DECISION_TAG, RECIPE_TAG, RELEASED_BY_TAG, ModelRegistry, model_name

if TYPE_CHECKING:
    from plumbline.release.release import Release, ReleaseInputs
    from plumbline.release.signing.signoff import Signoff


UNPARTITIONED = (
    "rubric",
    DEMONSTRATIONS,
    PREFERENCE_DATA,
    EVAL_VAULT,
    REFERENCE_POLICY,
    REWARD_MODEL,
    "guardrail",
)
"""Assets of which a candidate must rest on the newest materialization; the models and evals of its
recipe as well."""


@dg.asset(
    group_name="release",
    kinds={"mlflow"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    deps=[release_decision, release_report],
    partitions_def=recipes,
    output_required=False,
)
def released_policy(
    context: dg.AssetExecutionContext, home: Home, registry: ModelRegistry
) -> Iterator[dg.MaterializeResult[Any]]:
    """The champion: recorded in the ledger, then registered in MLflow. Without a `release` and its
    signatures nothing materializes."""
    from plumbline.release.release import ReleaseInputs, release_candidate

    profile, recipe = home.profile(), context.partition_key
    decision = upstream(context, home, RELEASE_DECISION, recipe)
    candidate, signed = _signoff(home, decision.digest)
    if not signed.complete or signed.released_by is None:
        _wait(context, home, decision.digest, signed)
        return
    policy = _newest(context, home, candidate, recipe)
    inputs = ReleaseInputs(
        profile=profile.name,
        recipe=recipe,
        policy=policy.digest,
        decision=decision.digest,
        rubric=upstream(context, home, "rubric").digest,
        signoff=signed,
        released_by=signed.released_by,
    )
    release = release_candidate(home.store(), home.ledger(), inputs)
    version = registry.register(profile.name, policy.digest, _tags(inputs, policy))
    report = upstream(context, home, RELEASE_REPORT, recipe)
    parents = {ALIGNED_POLICY: policy, RELEASE_DECISION: decision, RELEASE_REPORT: report}
    yield _published(context, home, registry, parents, release, version)


def _signoff(home: Home, decision: str) -> "tuple[Candidate, Signoff]":
    from plumbline.release.signing.signoff import signoff_of
    from plumbline.release.signing.trust import load_trust

    trust, rule = load_trust(home.layout.trust), home.profile().signoff
    return signoff_of(home.store(), home.ledger(), trust, decision, rule, datetime.now(UTC))


def _wait(context: dg.AssetExecutionContext, home: Home, decision: str, signed: "Signoff") -> None:
    """Say what is still missing.

    Raises:
        dg.Failure: If an earlier run made the decision, so that this one had nothing else to do.
    """
    waits = f"{context.partition_key} is not released: " + " ".join(signed.missing)
    if any(
        record.dagster_run == context.run.run_id
        for record in read_materializations(home.layout.store, decision)
    ):
        # A run that came to its own decision did its work; that people have not signed yet must
        # not look broken.
        context.log.warning(waits)
        return
    refused = [signature.model_dump(mode="json") for signature in signed.refused]
    raise dg.Failure(
        waits, metadata={"refused": dg.MetadataValue.json(refused)}, allow_retries=False
    )


def _tags(inputs: "ReleaseInputs", policy: Upstream) -> dict[str, str]:
    return {
        DECISION_TAG: inputs.decision,
        RECIPE_TAG: inputs.recipe,
        RELEASED_BY_TAG: inputs.released_by,
        "plumbline.tree": policy.artifact.tree,
    }


def _published(
    context: dg.AssetExecutionContext,
    home: Home,
    registry: ModelRegistry,
    parents: dict[str, Upstream],
    release: "Release",
    version: str,
) -> dg.MaterializeResult[Any]:
    name = home.profile().name
    overridden = release.overridden()
    with home.store().staging() as folder:
        release.write(folder, model_name(name))
        return publish(
            context,
            home,
            folder,
            parents=parents,
            facts=release.facts(model_name(name)),
            metadata={
                "registered model": model_name(name),
                "version": version,
                "alias": "champion",
                "policy": release.inputs.policy,
                "released by": release.inputs.released_by,
                "signed by": ", ".join(release.people),
                "promotion": release.promotion.number,
                "champion before": "none" if release.before is None else release.before.policy,
                **(
                    {"OVERRIDE": dg.MetadataValue.json(overridden["override"])}
                    if overridden
                    else {}
                ),
                "MLflow": dg.MetadataValue.url(registry.url(name, version)),
            },
        )


def _newest(
    context: dg.AssetExecutionContext, home: Home, candidate: Candidate, recipe: str
) -> Upstream:
    """The policy of the candidate, which must rest on what is newest: signatures die when anything
    upstream of them changes.

    Raises:
        dg.Failure: If something that the candidate was made from was materialized anew with other
            content.
    """
    manifests: dict[str, list[Artifact]] = {}
    for digest, kind in own_ancestors(home.store(), candidate.decision).items():
        manifests.setdefault(kind, []).append(home.store().manifest(digest))
    changed = []
    if candidate.profile != home.profile().digest():
        changed.append(f"the profile is now {home.profile().digest()[:19]}")
    if (
        tuple(judged.gate for judged in decision_in(home.store(), candidate.decision).gates)
        != home.profile().gates
    ):
        # a forged decision can name the right profile and judge by other thresholds
        changed.append("the decision judged by other gates than those of the profile")
    for asset in UNPARTITIONED:
        used = {one.tree for one in manifests.get(asset, [])}
        if used and (newest := upstream(context, home, asset)).artifact.tree not in used:
            changed.append(f"{asset} is now {newest.artifact.tree[:19]}")
    policy = upstream(context, home, ALIGNED_POLICY, recipe)
    if policy.digest != candidate.policy:
        changed.append(f"aligned_policy[{recipe}] is now {policy.digest[:19]}")
    if changed:
        raise dg.Failure(
            f"what the decision for {recipe} rests on was changed after it: {'; '.join(changed)}."
            " Its signatures no longer count: materialize the assets downstream of that, decide"
            " again, and have the new candidate reviewed",
            allow_retries=False,
        )
    return policy


@dg.asset_check(
    asset=released_policy,
    description=(
        "MLflow's alias `champion` points at the policy that the ledger names, the ledger holds"
        " together, and no override behind it has ended."
    ),
)
def champion_is_the_recorded_one(
    context: dg.AssetCheckExecutionContext, home: Home, registry: ModelRegistry
) -> dg.AssetCheckResult:
    """Show a registry or a ledger that somebody changed; the sensor `keep_champion` sets the
    registry back."""
    from plumbline.release.release import override_ended

    champion = current_champion(home.ledger(), home.profile().name)
    expected, pointed = (
        None if champion is None else champion.policy,
        registry.champion(home.profile().name),
    )
    broken = [finding.what for finding in home.ledger().verify()]
    ended = None if champion is None else override_ended(home.ledger(), champion, datetime.now(UTC))
    return dg.AssetCheckResult(
        passed=expected == pointed and not broken and ended is None,
        description=ended,
        metadata={
            "ledger": expected or "nothing released",
            "registry": pointed or "no champion",
            "ledger findings": dg.MetadataValue.json(broken),
        },
    )
