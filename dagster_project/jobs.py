"""The jobs: admit one feedback batch, run the chain from the pairs to the decision and its report,
and promote what people signed."""

import dagster as dg

from plumbline.schema.kinds import RELEASED_POLICY

INGEST = dg.AssetSelection.assets("feedback")
RED_TEAM = dg.AssetSelection.assets("red_team")

ingest_feedback = dg.define_asset_job(
    "ingest_feedback",
    selection=INGEST,
    description="Admit or quarantine the events of one closed feedback batch.",
)

align = dg.define_asset_job(
    "align",
    selection=dg.AssetSelection.all() - INGEST - RED_TEAM,
    description=(
        "Rubric, pairs, reference, reward model, aligned policy, held-out evals, release decision"
        " and report for one recipe."
    ),
)

promote = dg.define_asset_job(
    "promote",
    selection=dg.AssetSelection.assets(RELEASED_POLICY),
    description=(
        "Make the policy of the newest decision the champion, if its signatures are complete."
    ),
)
