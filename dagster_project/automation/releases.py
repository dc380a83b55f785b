"""Releases after the decision: a signed candidate is promoted once, and the registry is kept at
what the ledger says."""

from datetime import UTC, datetime

import dagster as dg

from dagster_project.automation.retraining import newest_digest
from dagster_project.automation.run_requests import active_run, claim_run
from dagster_project.jobs import promote
from plumbline.release.promotion import current_champion, promotions
from plumbline.release.registry import reconcile
from plumbline.schema.kinds import RELEASE_DECISION, RELEASED_POLICY
from resources.home import Home
from resources.registry import ModelRegistry

DECISION_TAG = "plumbline/decision"
"""Tag of a promoting run: the decision, with the ledger's head, the trust and the profile under
which its signatures were complete."""


@dg.sensor(job=promote, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def promote_when_signed(
    context: dg.SensorEvaluationContext, home: Home
) -> dg.RunRequest | dg.SkipReason:
    """Request the promotion of the candidate's newest decision once, as soon as its signatures are
    complete; says what is missing until then."""
    from plumbline.release.signing.signoff import signoff_of
    from plumbline.release.signing.trust import load_trust

    profile, ledger = home.profile(), home.ledger()
    decision = newest_digest(context.instance, RELEASE_DECISION, profile.candidate)
    if decision is None:
        return dg.SkipReason(f"no decision about {profile.candidate} was made yet")
    made = next(
        (
            promotion
            for promotion in promotions(ledger, profile.name)
            if promotion.decision == decision
        ),
        None,
    )
    if made is not None:
        return dg.SkipReason(f"the newest decision {decision[:19]} was promoted as #{made.number}")
    trust = load_trust(home.layout.trust)
    state = "@".join((decision, ledger.head(), trust.digest(), profile.digest()))
    if context.cursor and context.cursor.startswith(f"{state}|"):
        # every byte of the candidate is hashed to say this, so it is said again only when somebody
        # signed or decided
        return dg.SkipReason(context.cursor.removeprefix(f"{state}|"))
    now = datetime.now(UTC)
    _, signed = signoff_of(home.store(), ledger, trust, decision, profile.signoff, now)
    if not signed.complete:
        reason = f"decision {decision[:19]}: {' '.join(signed.missing)}"
        context.update_cursor(f"{state}|{reason}")
        return dg.SkipReason(reason)
    running = active_run(context.instance, promote.name)
    if running:
        return dg.SkipReason(f"run {running} is promoting")
    if not claim_run(context.instance, home.feedback(), state, DECISION_TAG, now):
        return dg.SkipReason(
            f"the promotion of decision {decision[:19]} was requested before; its run says what"
            " became of it"
        )
    return dg.RunRequest(
        run_key=f"promote:{state}", partition_key=profile.candidate, tags={DECISION_TAG: state}
    )


@dg.sensor(minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def keep_champion(home: Home, registry: ModelRegistry) -> dg.SensorResult | dg.SkipReason:
    """Set the registry back to the ledger when somebody moved its alias or a promotion was
    interrupted, and show that it happened."""
    profile = home.profile().name
    if current_champion(home.ledger(), profile) is None and not home.layout.mlflow_db.exists():
        return dg.SkipReason("nothing was released yet")
    reconciliation = reconcile(home.ledger(), registry, profile)
    if not reconciliation.drifted:
        return dg.SkipReason(reconciliation.sentence())
    metadata = {
        "what": reconciliation.sentence(),
        "expected": reconciliation.expected or "none",
        "found": reconciliation.found or "none",
    }
    return dg.SensorResult(
        skip_reason=reconciliation.sentence(),
        asset_events=[dg.AssetObservation(RELEASED_POLICY, metadata=metadata)],
    )
