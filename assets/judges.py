"""Judges beside the scorer: the refusal detector, and how far every judge agrees with people."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.data import preference_data
from assets.lineage.materialization import CODE_VERSION, OWNERS, Upstream, publish, upstream
from assets.models import reward_model
from plumbline.data.formats.rewardbench import JudgedPair
from plumbline.errors import ConfigError
from plumbline.evaluation.refusals.detector import DETECTOR
from plumbline.evaluation.refusals.labelled import read_completions
from plumbline.profile.evaluation import JudgesConfig
from plumbline.profile.sources import SourceFile
from plumbline.schema.checks import CHECKS_FILE, CheckReport
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.preferences import PreferencePair
from plumbline.storage.jsonl import read_records, write_records
from resources.home import Home

if TYPE_CHECKING:
    from plumbline.evaluation.judges.llm_judge import JudgeReply
    from plumbline.evaluation.judges.reliability import JudgeReliability


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
    from plumbline.evaluation.refusals.report import ALL, REPORT, measure_detector
    from plumbline.evaluation.refusals.training import train_detector

    profile = home.profile()
    if profile.judges is None or profile.judges.refusal_labels is None:
        context.log.info(
            "Profile %s names no judges.refusal_labels, so there is nothing to train a refusal"
            " detector on.",
            profile.name,
        )
        return
    completions = read_completions(home.data_folder() / profile.judges.refusal_labels)
    report = measure_detector(completions, profile.evaluation.level)
    detector = train_detector(completions)
    overall, matching = report.find("detector"), report.find("openings")
    with home.store().staging() as folder:
        (folder / DETECTOR).write_bytes(detector.to_json())
        (folder / REPORT).write_bytes(report.to_json())
        yield publish(
            context,
            home,
            folder,
            parents={},
            facts={
                "trained_on": detector.trained_on,
                "fpr": overall.fpr.value,
                "fnr": overall.fnr.value,
                "agreement": overall.agreement.value,
                "gain": report.gain[ALL].value,
            },
            metadata={
                "completions": len(completions),
                "false alarms": overall.fpr.value,
                "missed refusals": overall.fnr.value,
                "false alarms of string matching": matching.fpr.value,
                "missed refusals of string matching": matching.fnr.value,
                "rates": dg.MetadataValue.md(report.to_markdown()),
            },
        )


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
        (upstream(context, home, "refusal_detector").folder / REPORT).read_bytes()
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
    from plumbline.evaluation.judges.llm_judge import ask_all
    from plumbline.evaluation.judges.outcomes import questions_about
    from plumbline.evaluation.judges.reliability import (
        judged_pairs_of,
        reliability_of_detector,
        reliability_of_replies,
        reliability_of_rewards,
        sample_pairs,
    )
    from plumbline.evaluation.refusals.report import REPORT, DetectorReport
    from plumbline.evaluation.reward_models.accuracy import read_rewards

    profile = home.profile()
    rule = profile.judges
    if rule is None:
        context.log.info("Profile %s names no judges beside its scorer.", profile.name)
        return
    model = upstream(context, home, "reward_model")
    parents = {"reward_model": model}
    data_folder, data = home.store().open(
        model.artifact.parents["preference_data"], kind="preference_data"
    )
    pairs = judged_pairs_of(read_records(data_folder / "validation.jsonl", PreferencePair))
    batches = [
        home.store().open(digest, kind="feedback_batch")[0]
        for role, digest in data.parents.items()
        if role.startswith("feedback:")
    ]
    events = [
        event
        for batch in batches
        for event in read_records(batch / "accepted.jsonl", FeedbackEvent)
    ]
    level = profile.evaluation.level
    found = [
        reliability_of_rewards(
            model.digest, pairs, read_rewards(model.folder / "validation.jsonl"), events, level
        )
    ]
    if rule.refusal_labels is not None:
        parents["refusal_detector"] = detector = upstream(context, home, "refusal_detector")
        found.append(
            reliability_of_detector(
                detector.digest, DetectorReport.from_json((detector.folder / REPORT).read_bytes())
            )
        )
    replies: list[JudgeReply] = []
    if rule.llm is not None:
        shown = sample_pairs([*pairs, *_more_pairs(home, rule)], rule.pairs, profile.seed)
        replies = ask_all(
            questions_about(shown, rule.courtesies), rule.llm, _replies_so_far(context, home)
        )
        found.append(
            reliability_of_replies(
                f"{rule.llm.model} at {rule.llm.base_url}", shown, replies, events, level
            )
        )
    yield _published(context, home, parents, found, replies, rule)


def _published(
    context: dg.AssetExecutionContext,
    home: Home,
    parents: dict[str, Upstream],
    found: "Sequence[JudgeReliability]",
    replies: "Sequence[JudgeReply]",
    rule: JudgesConfig,
) -> dg.MaterializeResult[Any]:
    from plumbline.evaluation.judges.reliability import (
        FILE,
        REPLIES,
        Reliabilities,
        reliability_check,
    )

    verdicts = tuple(reliability_check(one, rule) for one in found)
    with home.store().staging() as folder:
        (folder / FILE).write_bytes(Reliabilities(judges=tuple(found)).to_json())
        (folder / CHECKS_FILE).write_bytes(CheckReport(checks=verdicts).to_json())
        write_records(folder / REPLIES, replies)
        return publish(
            context,
            home,
            folder,
            parents=parents,
            facts={
                "judges": {one.judge: one.identity for one in found},
                "verdicts": {check.name: check.verdict for check in verdicts},
            },
            metadata={
                "verdict": ", ".join(f"{check.name} {check.verdict}" for check in verdicts),
                **{check.name: f"{check.verdict}: {check.explanation}" for check in verdicts},
                **{
                    f"{one.judge} against people": dg.MetadataValue.md(one.to_markdown())
                    for one in found
                },
                "replies": len(replies),
                "replies without a verdict": sum(reply.verdict is None for reply in replies),
            },
        )


def _more_pairs(home: Home, rule: JudgesConfig) -> list[JudgedPair]:
    """The pairs of the file that the profile names; rows that cannot be read are an error, because
    they would bend the agreement."""
    from plumbline.data.formats.reading import import_judged_pairs

    if rule.judged_pairs is None:
        return []
    imported = import_judged_pairs(
        home.data_folder(), SourceFile(format="rewardbench", path=rule.judged_pairs)
    )
    if imported.rejections:
        first = imported.rejections[0]
        raise ConfigError(
            f"{rule.judged_pairs}: {len(imported.rejections)} rows are no judged pairs, first row"
            f" {first.row}: {first.reason}; correct the file"
        )
    return list(imported.items)


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
