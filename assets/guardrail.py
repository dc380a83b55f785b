"""The runtime guardrail: fitted, frozen, measured, and checked again on what people judged
since."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.data import preference_data
from assets.lineage.materialization import CODE_VERSION, OWNERS, Upstream, publish, upstream
from assets.red_team import campaigns_of, red_team
from plumbline.errors import ArtifactError
from plumbline.lineage.ledger import Ledger
from plumbline.schema.kinds import PREFERENCE_DATA
from plumbline.storage.jsonl import read_records
from resources.home import Home

if TYPE_CHECKING:
    from plumbline.guardrail.labels import GuardrailRow
    from plumbline.guardrail.measurement import Measurement
    from plumbline.guardrail.recheck import Recheck
    from plumbline.guardrail.ship import ShippedGuardrail


LOOKED_BACK = 20
"""Materializations in which the guardrail before this one is looked for."""


@dg.asset(
    group_name="release",
    kinds={"sklearn", "json"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    deps=[preference_data, red_team],
    output_required=False,
)
def guardrail(context: dg.AssetExecutionContext, home: Home) -> Iterator[dg.MaterializeResult[Any]]:
    """The violation classifier with its threshold and its measured error rates; a profile without
    `guardrail` has none."""
    from plumbline.guardrail.ship import GuardrailInputs, ship_guardrail

    profile = home.profile()
    if profile.guardrail is None:
        context.log.info("Profile %s ships without a runtime guardrail.", profile.name)
        return
    data = upstream(context, home, PREFERENCE_DATA)
    routed, campaigns = _routed(context, home)
    label, tree = data.artifact.facts["rubric"], data.artifact.tree
    inputs = GuardrailInputs(profile.name, label, data.folder, tree, routed, profile.seed)
    with home.store().staging() as folder:
        shipped = ship_guardrail(inputs, profile.guardrail, folder)
        yield publish(
            context,
            home,
            folder,
            parents={PREFERENCE_DATA: data} | campaigns,
            facts=shipped.facts(),
            metadata=_metadata(shipped, len(routed)),
        )


def _metadata(shipped: "ShippedGuardrail", routed: int) -> dict[str, Any]:
    model, measurement, verdict = shipped.built.model, shipped.built.measurement, shipped.verdict
    threshold = model.threshold.value
    return {
        "version": model.version,
        "threshold": "none" if threshold is None else threshold,
        "verdict": f"{verdict.verdict}: {verdict.explanation}",
        "rates": dg.MetadataValue.md(measurement.to_markdown()),
        "rows": dg.MetadataValue.json(measurement.counts),
        "left out": dg.MetadataValue.json(measurement.left_out),
        "red-team successes routed here": routed,
    }


@dg.asset_check(
    asset=guardrail,
    description=(
        "False positives and false negatives were measured on unseen responses and lie within the"
        " limits of the profile."
    ),
)
def guardrail_rates(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Show the check that the release decision reads."""
    from plumbline.guardrail.checks import guardrail_check

    rule = home.profile().guardrail
    if rule is None:
        return dg.AssetCheckResult(
            passed=True, description="the profile ships without a runtime guardrail"
        )
    verdict = guardrail_check(measurement_of(upstream(context, home, "guardrail").folder), rule)
    return dg.AssetCheckResult(
        passed=verdict.verdict == "pass",
        severity=(
            dg.AssetCheckSeverity.ERROR if verdict.verdict == "fail" else dg.AssetCheckSeverity.WARN
        ),
        description=" ".join([verdict.explanation, verdict.remedy]).strip(),
        metadata={"verdict": verdict.verdict},
    )


@dg.asset_check(
    asset=guardrail,
    additional_deps=[preference_data],
    description=(
        "On judgments that came since, the guardrail does what it shipped with; too few of them do"
        " not pass."
    ),
)
def guardrail_drift(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Check the newest guardrail on newer preference data; when there is none, show how the
    guardrail before fared."""
    from plumbline.guardrail.labels import guardrail_rows
    from plumbline.guardrail.recheck import nothing_before

    if home.profile().guardrail is None:
        return dg.AssetCheckResult(
            passed=True, description="the profile ships without a runtime guardrail"
        )
    shipped, data = upstream(context, home, "guardrail"), upstream(context, home, PREFERENCE_DATA)
    checked: Path | None = shipped.folder
    if shipped.artifact.parents[PREFERENCE_DATA] == data.digest:
        checked = _before(context, home, shipped.artifact.tree)
    found = (
        nothing_before() if checked is None else _recheck(checked, guardrail_rows(data.folder).rows)
    )
    return dg.AssetCheckResult(
        passed=found.status in ("pass", "nothing new"),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{found.status}: {found.message}",
        metadata={
            "status": found.status,
            "new judgments": found.rows,
            "checked": found.guardrail or "none",
        },
    )


def measurement_of(folder: Path) -> "Measurement":
    """The rates of the guardrail in a folder; those of a copy whose threshold was exchanged are
    refused.

    Raises:
        dg.Failure: If they were measured for another guardrail.
    """
    from plumbline.guardrail.build import read_measurement, read_model

    model, measurement = read_model(folder), read_measurement(folder)
    if measurement.guardrail != model.digest():
        raise dg.Failure(
            f"{folder}: the rates are those of {measurement.guardrail}, not of guardrail"
            f" {model.digest()}",
            allow_retries=False,
        )
    return measurement


def _recheck(folder: Path, rows: "tuple[GuardrailRow, ...]") -> "Recheck":
    from plumbline.guardrail.build import new_rows, read_measurement, read_model, read_used
    from plumbline.guardrail.recheck import recheck

    return recheck(read_model(folder), read_measurement(folder), new_rows(rows, read_used(folder)))


def _routed(
    context: dg.AssetExecutionContext, home: Home
) -> "tuple[list[GuardrailRow], dict[str, Upstream]]":
    """The red-team successes that people sent to the guardrail, and the campaigns that they come
    from, by role."""
    from plumbline.evaluation.red_team.attempts import Attempt
    from plumbline.evaluation.red_team.triage import SLICE, sent_to_guardrail
    from plumbline.evaluation.vault.regression_suite import ATTEMPTS
    from plumbline.guardrail.labels import violation_row

    wanted = sent_to_guardrail(Ledger(home.layout.ledger), home.profile().name)
    rows: list[GuardrailRow] = []
    campaigns: dict[str, Upstream] = {}
    for name, campaign in (campaigns_of(context, home) if wanted else {}).items():
        found = [
            one for one in read_records(campaign.folder / ATTEMPTS, Attempt) if one.id in wanted
        ]
        rows += [
            violation_row(
                one.prompt,
                one.response,
                attempt=one.id,
                tactic=one.tactic,
                slice_=SLICE,
                locale=one.locale,
            )
            for one in found
        ]
        campaigns |= {f"red_team:{name}": campaign} if found else {}
    if missing := len(wanted) - len(rows):
        raise dg.Failure(
            f"{missing} red-team successes were sent to the guardrail from campaigns that are not"
            " materialized; materialize red_team",
            allow_retries=False,
        )
    return rows, campaigns


def _before(context: dg.AssetCheckExecutionContext, home: Home, tree: str) -> Path | None:
    """The newest guardrail that is not this one; one whose files are gone cannot be checked."""
    for record in context.instance.fetch_materializations(guardrail.key, limit=LOOKED_BACK).records:
        event = record.asset_materialization
        digest = None if event is None else event.metadata.get("artifact")
        if record.run_id and isinstance(digest, dg.TextMetadataValue) and digest.text is not None:
            try:
                folder, artifact = home.store().open(digest.text, kind="guardrail")
            except ArtifactError as error:
                context.log.warning("An earlier guardrail cannot be compared with: %s", error)
                continue
            if artifact.tree != tree:
                return folder
    return None
