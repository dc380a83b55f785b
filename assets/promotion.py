"""The released policy: promoted by a decision and by people, and by nothing else."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.lineage.materialization import CODE_VERSION, OWNERS, Upstream, publish, upstream
from assets.lineage.partitions import recipes
from assets.release import release_decision
from assets.report import release_report
from plumbline.lineage.consistency import require_triple
from plumbline.lineage.materializations import read_materializations
from plumbline.records import canonical_json
from plumbline.release.candidate import Candidate, decision_in, own_ancestors
from plumbline.release.promotion import Promotion, current_champion, promote
from plumbline.storage.artifacts import Artifact
from resources.home import Home
from resources.registry import DECISION_TAG, RECIPE_TAG, RELEASED_BY_TAG, ModelRegistry, model_name

if TYPE_CHECKING:
    from plumbline.release.signing.signoff import Signoff


UNPARTITIONED = (
    "rubric",
    "demonstrations",
    "preference_data",
    "eval_vault",
    "reference_policy",
    "reward_model",
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
    from plumbline.release.signing.signoff import signoff_of
    from plumbline.release.signing.trust import load_trust

    profile, recipe = home.profile(), context.partition_key
    found = upstream(context, home, "release_decision", recipe)
    candidate, signed = signoff_of(
        home.store(),
        home.ledger(),
        load_trust(home.layout.trust),
        found.digest,
        profile.signoff,
        datetime.now(UTC),
    )
    if not signed.complete or signed.released_by is None:
        waits = f"{recipe} is not released: " + " ".join(signed.missing)
        if any(
            p.dagster_run == context.run.run_id
            for p in read_materializations(home.layout.store, found.digest)
        ):
            # A run that came to its own decision did its work; that people have not signed yet must
            # not look broken.
            context.log.warning(waits)
            return
        raise dg.Failure(
            waits,
            metadata={
                "refused": dg.MetadataValue.json(
                    [one.model_dump(mode="json") for one in signed.refused]
                )
            },
            allow_retries=False,
        )
    policy = _newest(context, home, candidate, recipe)
    triple = {
        "aligned_policy": policy.digest,
        "release_decision": found.digest,
        "rubric": upstream(context, home, "rubric").digest,
    }
    require_triple(home.store(), triple, "released_policy")
    before = current_champion(home.ledger(), profile.name)
    people = sorted({one.by for one in (*signed.reviews, *signed.approvals, *signed.overrides)})
    promotion = promote(
        home.ledger(),
        profile.name,
        policy=policy.digest,
        decision=found.digest,
        recipe=recipe,
        released_by=signed.released_by,
        by=tuple(people),
        reason="; ".join(one.reason for one in (*signed.approvals, *signed.overrides)),
    )
    tags = {
        DECISION_TAG: found.digest,
        RECIPE_TAG: recipe,
        RELEASED_BY_TAG: signed.released_by,
        "plumbline.tree": policy.artifact.tree,
    }
    version = registry.register(profile.name, policy.digest, tags)
    release = {
        "policy": policy.digest,
        "decision": found.digest,
        "recipe": recipe,
        "registered_model": model_name(profile.name),
        "promotion": promotion.model_dump(mode="json"),
        "signatures": [
            one.model_dump(mode="json")
            for one in (*signed.reviews, *signed.approvals, *signed.overrides)
        ],
        "trust": signed.trust,
    }
    with home.store().staging() as folder:
        (folder / "release.json").write_bytes(canonical_json(release))
        yield publish(
            context,
            home,
            folder,
            parents={
                "aligned_policy": policy,
                "release_decision": found,
                "release_report": upstream(context, home, "release_report", recipe),
            },
            facts={
                "recipe": recipe,
                "registered_model": model_name(profile.name),
                "released_by": signed.released_by,
                "promotion": promotion.number,
                "signed_by": people,
                **_overridden(signed),
            },
            metadata={
                "registered model": model_name(profile.name),
                "version": version,
                "alias": "champion",
                "policy": policy.digest,
                "released by": signed.released_by,
                "signed by": ", ".join(people),
                "promotion": promotion.number,
                "champion before": "none" if before is None else before.policy,
                **(
                    {"OVERRIDE": dg.MetadataValue.json(_overridden(signed)["override"])}
                    if signed.released_by == "override"
                    else {}
                ),
                "MLflow": dg.MetadataValue.url(registry.url(profile.name, version)),
            },
        )


def _overridden(signed: "Signoff") -> dict[str, Any]:
    """What was overridden, by whom, why and until when; empty where the gates passed."""
    if signed.released_by != "override":
        return {}
    return {
        "override": [
            {
                "by": one.by,
                "scope": list(one.scope),
                "reason": one.reason,
                "expires": str(one.expires),
            }
            for one in signed.overrides
        ]
    }


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
    policy = upstream(context, home, "aligned_policy", recipe)
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
    champion = current_champion(home.ledger(), home.profile().name)
    expected, pointed = (
        None if champion is None else champion.policy,
        registry.champion(home.profile().name),
    )
    broken = [finding.what for finding in home.ledger().verify()]
    ended = None if champion is None else override_ended(home, champion, datetime.now(UTC))
    return dg.AssetCheckResult(
        passed=expected == pointed and not broken and ended is None,
        description=ended,
        metadata={
            "ledger": expected or "nothing released",
            "registry": pointed or "no champion",
            "ledger findings": dg.MetadataValue.json(broken),
        },
    )


def override_ended(home: Home, champion: Promotion, now: datetime) -> str | None:
    """That the override by which the champion was released is over, in words; None where there is
    none or one still holds."""
    if champion.released_by != "override":
        return None
    signed = [
        entry.body
        for entry in home.ledger().entries("override")
        if entry.body["decision"] == champion.decision
    ]
    newest = max((datetime.fromisoformat(body["expires"]) for body in signed), default=None)
    if newest is not None and newest > now:
        return None
    over = "is not in the ledger" if newest is None else f"ended on {newest:%Y-%m-%d}"
    return (
        f"the champion was released by an override, which {over}: release a candidate that passes"
        " its gates, or roll back (`plumbline release rollback`)"
    )
