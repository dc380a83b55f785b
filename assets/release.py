"""The release decision: gates and named checks, applied to recorded evidence."""

from typing import Any

import dagster as dg

from assets.evals import CHECKS, held_out_evals
from assets.lineage.materialization import CODE_VERSION, OWNERS, Upstream, publish, upstream
from assets.lineage.partitions import recipes
from assets.shown.presentation import checks_table, gates_table
from plumbline.lineage.consistency import CHAMPION_ROLE, require_triple
from plumbline.profile.profile import Profile
from plumbline.release.candidate import own_ancestors
from plumbline.release.clauses import uncovered_clauses
from plumbline.release.decision import Decision, decide
from plumbline.schema.checks import CHECKS_FILE, CheckReport, CheckVerdict
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.rubric import Rubric
from resources.home import Home

PROFILE = Home.from_environment().profile()


def evidence_beside_the_evals(profile: Profile) -> tuple[str, ...]:
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
    deps=[held_out_evals, *(dg.AssetKey(name) for name in evidence_beside_the_evals(PROFILE))],
    partitions_def=recipes,
)
def release_decision(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """Release, hold or reject: a pure function of the recorded evidence and the gates of the
    profile."""
    profile, recipe = home.profile(), context.partition_key
    parents = {
        "held_out_evals": upstream(context, home, "held_out_evals", recipe),
        "aligned_policy": upstream(context, home, "aligned_policy", recipe),
        **{name: upstream(context, home, name) for name in evidence_beside_the_evals(profile)},
    }
    evals, policy = parents["held_out_evals"], parents["aligned_policy"]
    if evals.artifact.parents["aligned_policy"] != policy.digest:
        raise dg.Failure(
            f"the evals judged policy {evals.artifact.parents['aligned_policy']}, but the newest is"
            f" {policy.digest}; materialize held_out_evals first",
            allow_retries=False,
        )
    rubric = upstream(context, home, "rubric")
    require_triple(
        home.store(),
        {role: one.digest for role, one in parents.items()} | {"rubric": rubric.digest},
        "release_decision",
    )
    verified = _verify_ancestors(home, [one.digest for one in parents.values()])
    report = EvalReport.from_json((evals.folder / "report.json").read_bytes())
    checks = [
        *_named_checks(parents, profile),
        uncovered_clauses(
            Rubric.from_json((rubric.folder / "rubric.json").read_bytes()), profile.gates
        ),
    ]
    inputs = {role: one.digest for role, one in parents.items()}
    decision = decide(
        profile.gates,
        report,
        checks,
        recipe=recipe,
        profile=profile.digest(),
        inputs=inputs,
        required=required_checks(profile),
    )
    with home.store().staging() as folder:
        (folder / "decision.json").write_bytes(decision.to_json())
        return publish(
            context,
            home,
            folder,
            parents=parents,
            facts={
                "verdict": decision.verdict,
                "recipe": recipe,
                "thresholds": {g.id: g.threshold for g in profile.gates},
                "checks": {check.name: check.verdict for check in decision.checks},
                "verified": verified,
            },
            metadata={
                "verdict": decision.verdict,
                "summary": dg.MetadataValue.md(decision.summary),
                "gates": gates_table(decision),
                "checks": checks_table(decision.checks),
                "ancestors verified": verified,
                "next": next_step(decision),
            },
        )


def required_checks(profile: Profile) -> frozenset[str]:
    """Names of the checks that a decision under a profile cannot do without."""
    from plumbline.evaluation.judges.reliability import required_judges

    return frozenset(
        {
            *CHECKS,
            "clauses",
            *(["guardrail"] if profile.guardrail else []),
            *(required_judges(profile.judges) if profile.judges else []),
        }
    )


def next_step(decision: Decision) -> str:
    """What a person does with a decision."""
    if decision.verdict == "release":
        return (
            "read release_report, then `plumbline review` and `plumbline approve`; released_policy"
            " waits for the signatures"
        )
    if decision.verdict == "hold":
        return "the evidence is not enough: each gate says how much more it needs"
    return "each failed gate says why; nothing of this candidate is released"


def _named_checks(parents: dict[str, Upstream], profile: Profile) -> list[CheckVerdict]:
    """The verdicts of the pressures, of the guardrail and of the judges, as they were recorded
    beside their evidence."""
    roles = ("held_out_evals", *evidence_beside_the_evals(profile))
    return [
        check
        for role in roles
        for check in CheckReport.from_json((parents[role].folder / CHECKS_FILE).read_bytes()).checks
    ]


def _verify_ancestors(home: Home, digests: list[str]) -> int:
    """Re-hash every ancestor, and the champion that the candidate is compared with; returns how
    many. A changed byte raises: no decision is made on it."""
    store = home.store()
    seen = {digest for parent in digests for digest in own_ancestors(store, parent)}
    # What the champion was made from may have been erased since, which is no reason against its
    # successor.
    champions = {store.open(digest)[1].parents.get(CHAMPION_ROLE) for digest in sorted(seen)} - {
        None
    }
    for champion in sorted(filter(None, champions)):
        store.open(champion)
    return len(seen) + len(champions)


@dg.asset_check(
    asset=release_decision,
    description=(
        "The decision is `release`: every gate passes on its interval bound, and so does every"
        " named check."
    ),
)
def decision_is_release(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Show the verdict; the lock sits in `released_policy`, which reads the decision itself."""
    found = upstream(context, home, "release_decision", context.partition_key)
    decision = Decision.from_json((found.folder / "decision.json").read_bytes())
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
