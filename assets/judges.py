"""Judges beside the scorer: the refusal detector, and how far every judge agrees with people."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.data import preference_data
from assets.lineage.materialization import CODE_VERSION, OWNERS, Upstream, opened, publish, upstream
from assets.models import reward_model
from plumbline.evaluation.refusals.labelled import read_completions
from plumbline.profile.evaluation import JudgesConfig
from plumbline.schema.checks import CHECKS_FILE, CheckReport
from plumbline.schema.kinds import PREFERENCE_DATA, REFUSAL_DETECTOR, REWARD_MODEL
from plumbline.storage.jsonl import read_records
from resources.home import Home

if TYPE_CHECKING:
    from plumbline.evaluation.judges.llm_judge import JudgeReply
    from plumbline.evaluation.judges.measure import JudgesInputs, MeasuredJudges
    from plumbline.evaluation.refusals.fitted import FittedDetector


_RULE = Home.from_environment().profile().judges
LABELS = _RULE is not None and _RULE.refusal_labels is not None
"""Whether the profile trains a refusal detector."""


@dg.asset(
    group_name="evals",
    kinds={"sklearn", "json"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    output_required=False,
)
def refusal_detector(
    context: dg.AssetExecutionContext, home: Home
) -> Iterator[dg.MaterializeResult[Any]]:
    """What tells refusals from answers, trained on labels of people and measured on models that it
    never saw; optional."""
    from plumbline.evaluation.refusals.fitted import fit_detector

    profile = home.profile()
    if profile.judges is None or profile.judges.refusal_labels is None:
        context.log.info(
            "Profile %s names no judges.refusal_labels, so there is nothing to train a refusal"
            " detector on.",
            profile.name,
        )
        return
    completions = read_completions(home.data_folder() / profile.judges.refusal_labels)
    with home.store().staging() as folder:
        fitted = fit_detector(completions, profile.evaluation.level, folder)
        yield publish(
            context,
            home,
            folder,
            parents={},
            facts=fitted.facts(),
            metadata=_detector_metadata(fitted, len(completions)),
        )


def _detector_metadata(fitted: "FittedDetector", completions: int) -> dict[str, Any]:
    overall, matching = fitted.report.find("detector"), fitted.report.find("openings")
    return {
        "completions": completions,
        "false alarms": overall.fpr.value,
        "missed refusals": overall.fnr.value,
        "false alarms of string matching": matching.fpr.value,
        "missed refusals of string matching": matching.fnr.value,
        "rates": dg.MetadataValue.md(fitted.report.to_markdown()),
    }


@dg.asset_check(
    asset=refusal_detector,
    description=(
        "On models that it never saw, the detector agrees with people more often than string"
        " matching does."
    ),
)
def beats_string_matching(
    context: dg.AssetCheckExecutionContext, home: Home
) -> dg.AssetCheckResult:
    """The gain in agreement lies above zero with its whole interval."""
    from plumbline.evaluation.refusals.report import ALL, REPORT, DetectorReport

    rule = home.profile().judges
    if rule is None or rule.refusal_labels is None:
        return dg.AssetCheckResult(
            passed=True, description="the profile trains no refusal detector"
        )
    report = DetectorReport.from_json(
        (upstream(context, home, REFUSAL_DETECTOR).folder / REPORT).read_bytes()
    )
    gain = report.gain[ALL]
    return dg.AssetCheckResult(
        passed=report.beats_string_matching,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"agreement gained: {gain.value:+.1%} [{gain.low:+.1%}, {gain.high:+.1%}]",
        metadata={"rates": dg.MetadataValue.md(report.to_markdown())},
    )


@dg.asset(
    group_name="evals",
    kinds={"json"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    # An asset that yields nothing would skip this one with it.
    deps=[preference_data, reward_model, *([refusal_detector] if LABELS else [])],
    output_required=False,
)
def judges(context: dg.AssetExecutionContext, home: Home) -> Iterator[dg.MaterializeResult[Any]]:
    """How far the reward model, the refusal detector and a language model agree with people; a
    judge that does not is not heard."""
    from plumbline.evaluation.judges.measure import measure_judges

    profile = home.profile()
    if profile.judges is None:
        context.log.info("Profile %s names no judges beside its scorer.", profile.name)
        return
    parents = {REWARD_MODEL: upstream(context, home, REWARD_MODEL)}
    if profile.judges.refusal_labels is not None:
        parents[REFUSAL_DETECTOR] = upstream(context, home, REFUSAL_DETECTOR)
    inputs = _judges_inputs(context, home, parents, profile.judges)
    measured = measure_judges(inputs, profile.judges)
    with home.store().staging() as folder:
        measured.write(folder)
        facts, metadata = measured.facts(), _judges_metadata(measured)
        yield publish(context, home, folder, parents=parents, facts=facts, metadata=metadata)


def _judges_inputs(
    context: dg.AssetExecutionContext,
    home: Home,
    parents: dict[str, Upstream],
    rule: JudgesConfig,
) -> "JudgesInputs":
    """What the judges are measured with, from the manifests of their parents."""
    from plumbline.evaluation.judges.measure import Judge, JudgesInputs, read_judged_pairs
    from plumbline.evaluation.reward_models.accuracy import judged_events

    profile, model = home.profile(), parents[REWARD_MODEL]
    detector = parents.get(REFUSAL_DETECTOR)
    data = opened(home, model.artifact.parents[PREFERENCE_DATA], PREFERENCE_DATA)
    more = None if rule.llm is None else rule.judged_pairs
    return JudgesInputs(
        reward_model=Judge(model.digest, model.folder),
        detector=None if detector is None else Judge(detector.digest, detector.folder),
        preference_data=data.folder,
        events=judged_events(home.store(), data.artifact),
        more_pairs=[] if more is None else read_judged_pairs(home.data_folder(), more),
        replies=_replies_so_far(context, home) if rule.llm is not None else {},
        level=profile.evaluation.level,
        seed=profile.seed,
    )


def _judges_metadata(measured: "MeasuredJudges") -> dict[str, Any]:
    verdicts, replies = measured.verdicts, measured.replies
    return {
        "verdict": ", ".join(f"{check.name} {check.verdict}" for check in verdicts),
        **{check.name: f"{check.verdict}: {check.explanation}" for check in verdicts},
        **{
            f"{judge.judge} against people": dg.MetadataValue.md(judge.to_markdown())
            for judge in measured.judges
        },
        "replies": len(replies),
        "replies without a verdict": sum(reply.verdict is None for reply in replies),
    }


def _replies_so_far(context: dg.AssetExecutionContext, home: Home) -> "dict[str, JudgeReply]":
    """Replies of the materialization before, by request; the same request is not paid for twice."""
    from plumbline.evaluation.judges.llm_judge import JudgeReply
    from plumbline.evaluation.judges.reliability import REPLIES

    if not context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=judges.key), limit=1
    ).records:
        return {}
    return {
        reply.request: reply
        for reply in read_records(upstream(context, home, "judges").folder / REPLIES, JudgeReply)
    }


@dg.asset_check(
    asset=judges,
    description=(
        "Every judge agrees with people as often as the profile asks, whatever the order and the"
        " politeness."
    ),
)
def judges_are_reliable(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Show the checks that the release decision reads."""
    if home.profile().judges is None:
        return dg.AssetCheckResult(
            passed=True, description="the profile names no judges beside its scorer"
        )
    verdicts = CheckReport.from_json(
        (upstream(context, home, "judges").folder / CHECKS_FILE).read_bytes()
    ).checks
    bad = [one for one in verdicts if one.verdict != "pass"]
    return dg.AssetCheckResult(
        passed=not bad,
        severity=(
            dg.AssetCheckSeverity.ERROR
            if any(one.verdict in ("fail", "error") for one in bad)
            else dg.AssetCheckSeverity.WARN
        ),
        description="\n".join(f"{one.name}: {one.verdict}: {one.explanation}" for one in verdicts),
        metadata={one.name: one.verdict for one in verdicts},
    )
