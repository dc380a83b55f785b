"""The release report: everything that a person reads before signing, on one page and as
metadata."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.lineage.materialization import (
    CODE_VERSION,
    OWNERS,
    materialized,
    store_artifact,
    upstream,
)
from assets.lineage.partitions import recipes
from assets.release import release_decision
from assets.shown.presentation import checks_table, comparison_table, gates_table
from plumbline.schema.kinds import RELEASE_DECISION
from resources.home import Home

if TYPE_CHECKING:
    from plumbline.reports.release.evidence import ReleaseEvidence


@dg.asset(
    group_name="release",
    kinds={"html"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    deps=[release_decision],
    partitions_def=recipes,
)
def release_report(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """One HTML page about a release candidate: what changed, gates, checks, the worst answers side
    by side, and what the numbers leave out."""
    from plumbline.reports.release.evidence import read_evidence
    from plumbline.reports.release.page import release_page
    from plumbline.schema.kinds import REPORT_PAGE_FILE

    profile, store = home.profile(), home.store()
    decision = upstream(context, home, RELEASE_DECISION, context.partition_key)
    evidence = read_evidence(store, decision.digest, profile=profile.name, signoff=profile.signoff)
    facts = {
        "recipe": evidence.decision.recipe,
        "verdict": evidence.decision.verdict,
        "failure_cases": len(evidence.cases),
    }
    parents = {RELEASE_DECISION: decision}
    with store.staging() as folder:
        (folder / REPORT_PAGE_FILE).write_text(release_page(evidence), encoding="utf-8")
        digest, artifact = store_artifact(context, home, folder, parents=parents, facts=facts)
    metadata = _metadata(store.open(digest)[0] / REPORT_PAGE_FILE, evidence)
    return materialized(context, home, digest, artifact, metadata=metadata)


def _metadata(page: Path, evidence: "ReleaseEvidence") -> dict[str, Any]:
    from plumbline.reports.release.summary import case_rows, figure_words, page_summary

    return {
        "page": dg.MetadataValue.path(str(page)),
        "open it": dg.MetadataValue.url(page.as_uri()),
        "verdict": evidence.decision.verdict,
        "what changed": dg.MetadataValue.md(page_summary(evidence)),
        "gates": gates_table(evidence.decision),
        "checks": checks_table(evidence.decision.checks),
        "slices": comparison_table(evidence.report),
        "figures": dg.MetadataValue.json(figure_words(evidence)),
        "failure cases": dg.MetadataValue.json(case_rows(evidence)),
    }
