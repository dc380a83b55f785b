"""How far every judge of a profile agrees with people, as the files of one tree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.data.formats.reading import import_judged_pairs
from plumbline.data.formats.rewardbench import JudgedPair
from plumbline.errors import ConfigError
from plumbline.evaluation.judges.llm_judge import JudgeReply, ask_all
from plumbline.evaluation.judges.outcomes import questions_about
from plumbline.evaluation.judges.reliability import (
    FILE,
    REPLIES,
    JudgeReliability,
    Reliabilities,
    judged_pairs_of,
    reliability_check,
    reliability_of_detector,
    reliability_of_replies,
    reliability_of_rewards,
    sample_pairs,
)
from plumbline.evaluation.refusals.report import REPORT, DetectorReport
from plumbline.evaluation.reward_models.accuracy import read_rewards
from plumbline.profile.evaluation import JudgesConfig
from plumbline.profile.sources import SourceFile
from plumbline.schema.checks import CHECKS_FILE, CheckReport, CheckVerdict
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.kinds import VALIDATION_FILE
from plumbline.schema.preferences import PreferencePair
from plumbline.storage.jsonl import read_records, write_records


@dataclass(frozen=True)
class Judge:
    """A judge that is an artifact: its digest, and the folder of its files."""

    digest: str
    folder: Path


@dataclass(frozen=True)
class JudgesInputs:
    """What the judges are measured with; every folder was verified by digest before."""

    reward_model: Judge
    detector: Judge | None
    preference_data: Path
    """The data behind the reward model."""
    events: Sequence[FeedbackEvent]
    """The judgments of people behind those data."""
    more_pairs: Sequence[JudgedPair]
    """Pairs for the language model, beside those of the data."""
    replies: Mapping[str, JudgeReply]
    """Replies of the time before, by request; the same request is not paid for twice."""
    level: float
    seed: int


@dataclass(frozen=True)
class MeasuredJudges:
    """What was found about every judge."""

    judges: Sequence[JudgeReliability]
    replies: Sequence[JudgeReply]
    verdicts: Sequence[CheckVerdict]

    def write(self, folder: Path) -> None:
        """Write the files of the tree."""
        (folder / FILE).write_bytes(Reliabilities(judges=tuple(self.judges)).to_json())
        (folder / CHECKS_FILE).write_bytes(CheckReport(checks=tuple(self.verdicts)).to_json())
        write_records(folder / REPLIES, self.replies)

    def facts(self) -> dict[str, Any]:
        """As the manifest of the judges says it."""
        return {
            "judges": {judge.judge: judge.identity for judge in self.judges},
            "verdicts": {check.name: check.verdict for check in self.verdicts},
        }


def measure_judges(inputs: JudgesInputs, rule: JudgesConfig) -> MeasuredJudges:
    """Hold the reward model, the refusal detector and a language model against people."""
    level, model = inputs.level, inputs.reward_model
    pairs = judged_pairs_of(read_records(inputs.preference_data / VALIDATION_FILE, PreferencePair))
    rewards = read_rewards(model.folder / VALIDATION_FILE)
    judges = [reliability_of_rewards(model.digest, pairs, rewards, list(inputs.events), level)]
    if inputs.detector is not None:
        report = DetectorReport.from_json((inputs.detector.folder / REPORT).read_bytes())
        judges.append(reliability_of_detector(inputs.detector.digest, report))
    replies: list[JudgeReply] = []
    if rule.llm is not None:
        shown = sample_pairs([*pairs, *inputs.more_pairs], rule.pairs, inputs.seed)
        questions = questions_about(shown, rule.courtesies)
        replies = ask_all(questions, rule.llm, dict(inputs.replies))
        name = f"{rule.llm.model} at {rule.llm.base_url}"
        judges.append(reliability_of_replies(name, shown, replies, list(inputs.events), level))
    verdicts = [reliability_check(judge, rule) for judge in judges]
    return MeasuredJudges(judges, replies, verdicts)


def read_judged_pairs(folder: Path, path: str) -> list[JudgedPair]:
    """The pairs of a file that a profile names.

    Raises:
        ConfigError: If a row cannot be read: without it the agreement would be bent.
    """
    imported = import_judged_pairs(folder, SourceFile(format="rewardbench", path=path))
    if imported.rejections:
        first = imported.rejections[0]
        raise ConfigError(
            f"{path}: {len(imported.rejections)} rows are no judged pairs, first row"
            f" {first.row}: {first.reason}; correct the file"
        )
    return list(imported.items)
