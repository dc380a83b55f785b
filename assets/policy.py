"""The written policy."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from assets.lineage.materialization import CODE_VERSION, OWNERS, publish
from plumbline.lineage.consistency import require_new_version
from plumbline.profile.profile import CONFIGS
from plumbline.schema.kinds import RUBRIC_FILE
from plumbline.schema.rubric import Rubric, load_rubric
from resources.home import Home


@dg.asset(group_name="policy", kinds={"yaml"}, owners=OWNERS, code_version=CODE_VERSION)
def rubric(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """The written policy: optimized behaviour, forbidden behaviour, evidence, margins, owner and
    approval."""
    policy = load_rubric(CONFIGS / home.profile().rubric)
    require_new_version(home.store(), policy)
    with home.store().staging() as folder:
        (folder / RUBRIC_FILE).write_bytes(policy.to_json())
        return publish(
            context,
            home,
            folder,
            parents={},
            facts={
                "label": policy.label,
                "owner": policy.owner,
                "approved_by": policy.approval.approved_by,
                "margins": policy.margins.model_dump(),
            },
            metadata=_metadata(policy),
        )


def _metadata(policy: Rubric) -> dict[str, Any]:
    approval = policy.approval
    return {
        "rubric": policy.label,
        "owner": policy.owner,
        "approved by": f"{approval.approved_by}, {approval.date}: {approval.reason}",
        "optimized": _bullets(policy.optimized),
        "forbidden": _bullets(policy.forbidden),
        "evidence": _bullets(policy.evidence),
        "clauses": _clauses_table(policy),
        "margins": dg.MetadataValue.json(policy.margins.model_dump()),
    }


def _bullets(lines: Iterable[str]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))


def _clauses_table(policy: Rubric) -> dg.TableMetadataValue:
    """The clauses in the order of their priority."""
    texts = ("clause", "variable", "enforced by", "regression metric")
    columns = [dg.TableColumn("priority", "int"), *(dg.TableColumn(name) for name in texts)]
    by_id = {clause.id: clause for clause in policy.clauses}
    ranked = [by_id[identifier] for identifier in policy.priorities]
    records = [
        dg.TableRecord(
            {
                "priority": priority,
                "clause": clause.name,
                "variable": clause.variable,
                "enforced by": clause.enforced_by,
                "regression metric": clause.regression_metric,
            }
        )
        for priority, clause in enumerate(ranked, start=1)
    ]
    return dg.TableMetadataValue(records=records, schema=dg.TableSchema(columns=columns))
