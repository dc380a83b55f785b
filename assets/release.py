"""The release decision: gates and named checks, applied to recorded evidence."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.evals import held_out_evals
from assets.lineage.materialization import CODE_VERSION, OWNERS, Upstream, publish, upstream
from assets.lineage.partitions import recipes
from assets.shown.presentation import checks_table, gates_table
from plumbline.lineage.consistency import require_triple
from plumbline.profile.profile import Profile
from plumbline.release.decision import Decision
from plumbline.schema.kinds import ALIGNED_POLICY, DECISION_FILE, HELD_OUT_EVALS, RELEASE_DECISION
from resources.home import Home

if TYPE_CHECKING:
    from plumbline.release.evidence import Evidence

PROFILE = Home.from_environment().profile()


def evidence_beside(profile: Profile) -> tuple[str, ...]:
    """Assets whose checks belong to a decision too: the guardrail and the judges, where the profile
    has them."""
    return (
        *(("guardrail",) if profile.guardrail else ()),
        *(("judges",) if profile.judges else ()),
    )


@dg.asset(
    group_name="release",
    kinds={"json"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    deps=[held_out_evals, *(dg.AssetKey(name) for name in evidence_beside(PROFILE))],
    partitions_def=recipes,
)
def release_decision(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """Release, hold or reject: a pure function of the recorded evidence and the gates of the
    profile."""
    from plumbline.release.evidence import decide_candidate, verify_ancestors

    profile, store = home.profile(), home.store()
    parents, rubric = _parents(context, home), upstream(context, home, "rubric")
    evidence = _evidence(context.partition_key, parents, rubric)
    require_triple(store, {**evidence.inputs, "rubric": rubric.digest}, RELEASE_DECISION)
    verified = verify_ancestors(store, evidence.inputs.values())
    with store.staging() as folder:
        decision = decide_candidate(evidence, profile, folder)
        return publish(
            context,
            home,
            folder,
            parents=parents,
            facts=_facts(decision, profile) | {"verified": verified},
            metadata=_metadata(decision, verified),
        )


def _parents(context: dg.AssetExecutionContext, home: Home) -> dict[str, Upstream]:
    """Everything that is decided on, the evals of the newest policy first.

    Raises:
        dg.Failure: If the evals are those of an older policy.
    """
    recipe = context.partition_key
    evals = upstream(context, home, HELD_OUT_EVALS, recipe)
    policy = upstream(context, home, ALIGNED_POLICY, recipe)
    beside = {name: upstream(context, home, name) for name in evidence_beside(home.profile())}
    if evals.artifact.parents[ALIGNED_POLICY] != policy.digest:
        raise dg.Failure(
            f"the evals judged policy {evals.artifact.parents['aligned_policy']}, but the newest is"
            f" {policy.digest}; materialize held_out_evals first",
            allow_retries=False,
        )
    return {HELD_OUT_EVALS: evals, ALIGNED_POLICY: policy, **beside}


def _evidence(recipe: str, parents: dict[str, Upstream], rubric: Upstream) -> "Evidence":
    from plumbline.release.evidence import Evidence

    return Evidence(
        recipe=recipe,
        evals=parents[HELD_OUT_EVALS].folder,
        beside=[parents[name].folder for name in ("guardrail", "judges") if name in parents],
        rubric=rubric.folder,
        inputs={role: parent.digest for role, parent in parents.items()},
    )


def _facts(decision: Decision, profile: Profile) -> dict[str, Any]:
    return {
        "verdict": decision.verdict,
        "recipe": decision.recipe,
        "thresholds": {gate.id: gate.threshold for gate in profile.gates},
        "checks": {check.name: check.verdict for check in decision.checks},
    }


def _metadata(decision: Decision, verified: int) -> dict[str, Any]:
    return {
        "verdict": decision.verdict,
        "summary": dg.MetadataValue.md(decision.summary),
        "gates": gates_table(decision),
        "checks": checks_table(decision.checks),
        "ancestors verified": verified,
        "next": next_step(decision),
    }


def next_step(decision: Decision) -> str:
    """What a person does with a decision."""
    if decision.verdict == "release":
        return (
            "read release_report, then `plumbline release review` and `plumbline release approve`;"
            " released_policy"
            " waits for the signatures"
        )
    if decision.verdict == "hold":
        return "the evidence is not enough: each gate says how much more it needs"
    return "each failed gate says why; nothing of this candidate is released"


@dg.asset_check(
    asset=release_decision,
    description=(
        "The decision is `release`: every gate passes on its interval bound, and so does every"
        " named check."
    ),
)
def decision_is_release(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Show the verdict; the lock sits in `released_policy`, which reads the decision itself."""
    found = upstream(context, home, RELEASE_DECISION, context.partition_key)
    decision = Decision.from_json((found.folder / DECISION_FILE).read_bytes())
    judged = [
        *(gate.verdict for gate in decision.gates),
        *(check.verdict for check in decision.checks),
    ]
    counts = {
        verdict: judged.count(verdict) for verdict in ("pass", "fail", "inconclusive", "error")
    }
    return dg.AssetCheckResult(
        passed=decision.verdict == "release",
        severity=(
            dg.AssetCheckSeverity.WARN
            if decision.verdict == "hold"
            else dg.AssetCheckSeverity.ERROR
        ),
        metadata={
            "verdict": decision.verdict,
            "summary": dg.MetadataValue.md(decision.summary),
            **counts,
        },
    )
