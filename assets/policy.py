"""The written policy."""

from typing import Any

import dagster as dg

from assets.lineage.materialization import CODE_VERSION, OWNERS, publish
from plumbline.lineage.consistency import require_new_version
from plumbline.profile.profile import CONFIGS
from plumbline.schema.rubric import load_rubric
from resources.home import Home


@dg.asset(group_name="policy", kinds={"yaml"}, owners=OWNERS, code_version=CODE_VERSION)
def rubric(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """The written policy: optimized behaviour, forbidden behaviour, evidence, margins, owner and
    approval."""
    policy = load_rubric(CONFIGS / home.profile().rubric)
    require_new_version(home.store(), policy)
    clauses = dg.TableMetadataValue(
        records=[
            dg.TableRecord(
                {
                    "priority": policy.priorities.index(c.id) + 1,
                    "clause": c.name,
                    "variable": c.variable,
                    "enforced by": c.enforced_by,
                    "regression metric": c.regression_metric,
                }
            )
            for c in sorted(policy.clauses, key=lambda c: policy.priorities.index(c.id))
        ],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("priority", "int"),
                *(
                    dg.TableColumn(n)
                    for n in ("clause", "variable", "enforced by", "regression metric")
                ),
            ]
        ),
    )
    with home.store().staging() as folder:
        (folder / "rubric.json").write_bytes(policy.to_json())
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
            metadata={
                "rubric": policy.label,
                "owner": policy.owner,
                "approved by": (
                    f"{policy.approval.approved_by}, {policy.approval.date}:"
                    f" {policy.approval.reason}"
                ),
                "optimized": dg.MetadataValue.md(
                    "\n".join(f"- {line}" for line in policy.optimized)
                ),
                "forbidden": dg.MetadataValue.md(
                    "\n".join(f"- {line}" for line in policy.forbidden)
                ),
                "evidence": dg.MetadataValue.md("\n".join(f"- {line}" for line in policy.evidence)),
                "clauses": clauses,
                "margins": dg.MetadataValue.json(policy.margins.model_dump()),
            },
        )
