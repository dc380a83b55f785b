"""The release decision and the released policy."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.evals import held_out_evals
from assets.materialization import CODE_VERSION, OWNERS, publish, upstream
from assets.partitions import recipes
from assets.presentation import gates_table
from plumbline.audit.consistency import require_triple
from plumbline.audit.production import read_productions
from plumbline.evaluation.report import EvalReport
from plumbline.records import canonical_json
from plumbline.release.decision import Decision, decide
from resources.home import Home
from resources.tracking import ExperimentTracker


@dg.asset(group_name="release", kinds={"json"}, owners=OWNERS, code_version=CODE_VERSION, deps=[held_out_evals], partitions_def=recipes)
def release_decision(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """Release, hold or reject: a pure function of the recorded evidence and the gates of the profile."""
    profile = home.profile()
    recipe = context.partition_key
    evals = upstream(context, home, "held_out_evals", recipe)
    policy = upstream(context, home, "aligned_policy", recipe)
    if evals.artifact.parents["aligned_policy"] != policy.digest:
        raise dg.Failure(
            f"the evals judged policy {evals.artifact.parents['aligned_policy']}, but the newest is {policy.digest}; materialize held_out_evals first",
            allow_retries=False,
        )
    require_triple(
        home.store(), {"held_out_evals": evals.digest, "aligned_policy": policy.digest, "rubric": upstream(context, home, "rubric").digest}, "release_decision"
    )
    verified = _verify_ancestors(home, evals.digest)
    report = EvalReport.from_json((evals.folder / "report.json").read_bytes())
    decision = decide(profile.gates, report, recipe=recipe, profile=profile.digest(), inputs={"held_out_evals": evals.digest, "aligned_policy": policy.digest})
    with home.store().staging() as folder:
        (folder / "decision.json").write_bytes(decision.to_json())
        return publish(
            context,
            home,
            folder,
            parents={"held_out_evals": evals, "aligned_policy": policy},
            facts={"verdict": decision.verdict, "recipe": recipe, "thresholds": {g.id: g.threshold for g in profile.gates}, "verified": verified},
            metadata={
                "verdict": decision.verdict,
                "summary": dg.MetadataValue.md(decision.summary),
                "gates": gates_table(decision),
                "ancestors verified": verified,
            },
        )


def _verify_ancestors(home: Home, digest: str) -> int:
    """Re-hash every ancestor; returns how many. A changed byte raises, so no decision is made on it."""
    seen: set[str] = set()
    queue = [digest]
    while queue:
        current = queue.pop()
        if current not in seen:
            seen.add(current)
            queue += home.store().open(current)[1].parents.values()
    return len(seen)


@dg.asset_check(asset=release_decision, description="The decision is `release`: every gate passes on its interval bound.")
def decision_is_release(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Show the verdict; the lock sits in `released_policy`, which reads the decision itself."""
    found = upstream(context, home, "release_decision", context.partition_key)
    decision = Decision.from_json((found.folder / "decision.json").read_bytes())
    counts = {verdict: sum(g.verdict == verdict for g in decision.gates) for verdict in ("pass", "fail", "inconclusive", "error")}
    return dg.AssetCheckResult(
        passed=decision.verdict == "release",
        severity=dg.AssetCheckSeverity.WARN if decision.verdict == "hold" else dg.AssetCheckSeverity.ERROR,
        metadata={"verdict": decision.verdict, "summary": dg.MetadataValue.md(decision.summary), **counts},
    )


@dg.asset(
    group_name="release",
    kinds={"mlflow"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    deps=[release_decision],
    partitions_def=recipes,
    output_required=False,
)
def released_policy(context: dg.AssetExecutionContext, home: Home, tracker: ExperimentTracker) -> Iterator[dg.MaterializeResult[Any]]:
    """The promoted policy: registered in MLflow with its digest, alias `champion`. Nothing materializes without a `release`."""
    recipe = context.partition_key
    found = upstream(context, home, "release_decision", recipe)
    decision = Decision.from_json((found.folder / "decision.json").read_bytes())
    if decision.verdict != "release":
        if any(p.dagster_run == context.run.run_id for p in read_productions(home.layout.store, found.digest)):
            # A run that came to its own hold or reject did its work; it must not look broken.
            context.log.warning("Not released: the decision for %s is %s. %s", recipe, decision.verdict, decision.summary)
            return
        raise dg.Failure(f"the decision for {recipe} is {decision.verdict}, so there is nothing to release: {decision.summary}", allow_retries=False)
    policy = upstream(context, home, "aligned_policy", recipe)
    if decision.inputs["aligned_policy"] != policy.digest:
        raise dg.Failure(
            f"the decision released {decision.inputs['aligned_policy']}, but the newest policy is {policy.digest}; decide again", allow_retries=False
        )
    require_triple(
        home.store(), {"aligned_policy": policy.digest, "release_decision": found.digest, "rubric": upstream(context, home, "rubric").digest}, "released_policy"
    )
    name = f"plumbline-{home.profile().name}"
    tags = {"plumbline.tree": policy.artifact.tree, "plumbline.decision": found.digest, "plumbline.recipe": recipe}
    version = tracker.register_release(name, digest=policy.digest, policy_folder=policy.folder / "model", tags=tags)
    with home.store().staging() as folder:
        (folder / "release.json").write_bytes(canonical_json({"policy": policy.digest, "decision": found.digest, "recipe": recipe, "registered_model": name}))
        yield publish(
            context,
            home,
            folder,
            parents={"aligned_policy": policy, "release_decision": found},
            facts={"recipe": recipe, "registered_model": name},
            metadata={
                "registered model": name,
                "version": version,
                "alias": "champion",
                "policy": policy.digest,
                "MLflow": dg.MetadataValue.url(tracker.release_url(name, version)),
            },
        )
