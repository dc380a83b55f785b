"""The two jobs: admit one feedback batch, and run the chain from the pairs to the release."""

import dagster as dg

INGEST = dg.AssetSelection.assets("feedback")

ingest_feedback = dg.define_asset_job(
    "ingest_feedback",
    selection=INGEST,
    description="Admit or quarantine the events of one closed feedback batch.",
)

align = dg.define_asset_job(
    "align",
    selection=dg.AssetSelection.all() - INGEST,
    description="Rubric, pairs, reference, reward model, aligned policy, held-out evals and release decision for one recipe.",
)
