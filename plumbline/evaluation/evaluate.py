"""The evaluation of a policy: everything that is found out about it, as the files of one tree."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plumbline.data.quality.agreement_report import AgreementReport
from plumbline.data.quality.drift import DriftReport
from plumbline.evaluation.failure_cases import FILE as FAILURES_FILE
from plumbline.evaluation.failure_cases import FailureCase, failure_cases, write_failures
from plumbline.evaluation.failure_modes.length_bias import LengthDrift, length_drift
from plumbline.evaluation.failure_modes.over_optimization import OverOptimization, over_optimization
from plumbline.evaluation.failure_modes.pressures import PressureEvidence, five_pressures
from plumbline.evaluation.refusals.detector import read_detector
from plumbline.evaluation.report import build_report
from plumbline.evaluation.reward_models.accuracy import RewardAccuracy, read_rewards
from plumbline.evaluation.reward_models.calibration import Calibration, calibration
from plumbline.evaluation.scorers import scorer_of
from plumbline.evaluation.scoring import ScoredSample
from plumbline.evaluation.vault.leaks import leak_check, leaks
from plumbline.profile.profile import Profile
from plumbline.schema.checks import CHECKS_FILE, CheckReport
from plumbline.schema.conversations import Message
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.held_out import BestOfDraws, EvalPrompt, Sample
from plumbline.schema.kinds import (
    ADJUDICATION_QUEUE_FILE,
    AGREEMENT_FILE,
    BEST_OF_FILE,
    CALIBRATION_FILE,
    LENGTHS_FILE,
    OVER_OPTIMIZATION_FILE,
    REPORT_FILE,
    REWARD_MODEL_FILE,
    SAMPLES_FILE,
    SCORED_FILE,
    TRAIN_FILE,
    VALIDATION_FILE,
)
from plumbline.schema.preferences import PreferencePair
from plumbline.storage.jsonl import read_records, write_records


@dataclass(frozen=True)
class EvaluationInputs:
    """What an evaluation reads; every folder was verified by digest before."""

    prompts: Sequence[EvalPrompt]
    samples: Path
    """Folder of the answers of all policies."""
    dropped: Mapping[str, int]
    """How many prompts the sampling job could not ask, by reason."""
    preference_data: Path
    reward_model: Path
    detector: Path | None
    """Folder of the refusal detector, where the profile scores with one."""
    champion: str | None
    """Digest of the champion that is compared with."""
    accuracy: RewardAccuracy
    drift: DriftReport
    """How the preference data moved."""
    trained_on: Sequence[tuple[Message, ...]]
    """Prompts that the policy and its reward model were trained on."""


@dataclass(frozen=True)
class PolicyEvaluation:
    """Everything that was found about one policy; each part is a file of the tree."""

    report: EvalReport
    scored: Sequence[ScoredSample]
    accuracy: RewardAccuracy
    curve: OverOptimization | None
    calibration: Calibration | None
    lengths: LengthDrift
    checks: CheckReport
    cases: Sequence[FailureCase]

    def write(self, folder: Path) -> None:
        """Write the files of the tree; a part without evidence has none."""
        write_records(folder / SCORED_FILE, self.scored)
        write_failures(folder / FAILURES_FILE, self.cases)
        parts = {
            REPORT_FILE: self.report,
            REWARD_MODEL_FILE: self.accuracy,
            CHECKS_FILE: self.checks,
            LENGTHS_FILE: self.lengths,
            OVER_OPTIMIZATION_FILE: self.curve,
            CALIBRATION_FILE: self.calibration,
        }
        for name, part in parts.items():
            if part is not None:
                (folder / name).write_bytes(part.to_json())

    def metrics(self) -> dict[str, float]:
        """Every estimate as one flat metric; the intervals stand beside the values."""
        flat = {
            f"eval/{name}/{metric}/{side}/{part}": getattr(estimate, part)
            for name, metrics in self.report.slices.items()
            for metric, comparison in metrics.items()
            for side in ("reference", "aligned", "difference")
            if (estimate := getattr(comparison, side)) is not None
            for part in ("value", "low", "high")
        }
        if self.calibration is not None:
            flat |= {
                "calibration/ece": self.calibration.ece.value,
                "calibration/brier": self.calibration.brier.value,
            }
        if self.curve is not None:
            flat |= {
                "best_of/reward_gain": self.curve.proxy_gain.value,
                "best_of/quality_gain": self.curve.gold_gain.value,
            }
        return flat | self.accuracy.metrics()


def evaluate_policy(inputs: EvaluationInputs, profile: Profile) -> PolicyEvaluation:
    """Score the samples, and put the policy to every named check."""
    rule, seed, cluster = profile.evaluation, profile.seed, profile.vault.cluster
    scorer = scorer_of(
        rule.scorer, None if inputs.detector is None else read_detector(inputs.detector)
    )
    leaked = leaks(inputs.trained_on, inputs.prompts, profile.preferences.contamination)
    samples = list(read_records(inputs.samples / SAMPLES_FILE, Sample))
    answered = {sample.prompt_id for sample in samples}
    set_aside = {**unanswered(inputs.prompts, answered, inputs.dropped), **leaked}
    report, scored = build_report(
        inputs.prompts,
        samples,
        rule.scorer,
        rule.level,
        seed,
        rule.decoder,
        cluster=cluster,
        champion=inputs.champion,
        set_aside=set_aside,
        score=scorer,
    )
    kept = [prompt for prompt in inputs.prompts if prompt.id not in set_aside]
    draws = list(read_records(inputs.samples / BEST_OF_FILE, BestOfDraws))
    curve = over_optimization(draws, kept, scorer, rule.level, cluster=cluster)
    evidence = _evidence(inputs, report, kept, scored, curve)
    checks = (
        *five_pressures(evidence, profile.pressures),
        leak_check(leaked, inputs.prompts, len(inputs.trained_on), profile.vault),
    )
    rewards = read_rewards(inputs.reward_model / VALIDATION_FILE)
    return PolicyEvaluation(
        report=report,
        scored=scored,
        accuracy=inputs.accuracy,
        curve=curve,
        calibration=calibration(rewards, rule.level, seed),
        lengths=length_drift(report, scored),
        checks=CheckReport(checks=checks),
        cases=failure_cases(kept, scored),
    )


def _evidence(
    inputs: EvaluationInputs,
    report: EvalReport,
    kept: Sequence[EvalPrompt],
    scored: Sequence[ScoredSample],
    curve: OverOptimization | None,
) -> PressureEvidence:
    """What the failure pressures are judged by: the answers, and the data behind the policy."""
    data = inputs.preference_data
    with (data / ADJUDICATION_QUEUE_FILE).open("rb") as queue:
        waiting = sum(1 for _ in queue)
    return PressureEvidence(
        report=report,
        prompts=kept,
        scored=scored,
        curve=curve,
        agreement=AgreementReport.from_json((data / AGREEMENT_FILE).read_bytes()),
        waiting=waiting,
        drift=inputs.drift,
        training_locales=Counter(
            pair.context.locale for pair in read_records(data / TRAIN_FILE, PreferencePair)
        ),
    )


def unanswered(
    prompts: Sequence[EvalPrompt], answered: Collection[str], dropped: Mapping[str, int]
) -> dict[str, str]:
    """Prompts that the sampling job could not ask, with its reason; none unless they are exactly as
    many as the job says that it dropped."""
    without = [prompt.id for prompt in prompts if prompt.id not in answered]
    return (
        dict.fromkeys(without, " or ".join(sorted(dropped)))
        if len(without) == sum(dropped.values())
        else {}
    )


@dataclass(frozen=True)
class AnswerCount:
    """Held-out prompts times policies, against the rows that were sampled."""

    expected: int
    found: int
    unasked: int
    missing: Sequence[tuple[str, str]]
    """Prompt and policy of every answer that is not there."""

    @property
    def complete(self) -> bool:
        """Whether every answer that was asked for is there, and once."""
        return not self.missing and self.found == self.expected


def count_answers(
    prompts: Sequence[EvalPrompt],
    samples: Path,
    policies: Sequence[str],
    dropped: Mapping[str, int],
) -> AnswerCount:
    """Compare prompts x policies with the sampled rows of a folder."""
    found = [
        (sample.prompt_id, sample.policy) for sample in read_records(samples / SAMPLES_FILE, Sample)
    ]
    unasked = unanswered(prompts, {prompt for prompt, _ in found}, dropped)
    expected = {
        (prompt.id, policy) for prompt in prompts for policy in policies if prompt.id not in unasked
    }
    return AnswerCount(len(expected), len(found), len(unasked), sorted(expected - set(found)))
