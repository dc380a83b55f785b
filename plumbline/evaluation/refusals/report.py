"""How often the refusal detector is wrong about a model that it never saw, beside string matching
and beside the annotators themselves."""

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from pydantic import Field

from plumbline.evaluation.refusals.detector import RefusalDetector
from plumbline.evaluation.refusals.labelled import LABELS, SETTLED, LabelledCompletion
from plumbline.evaluation.refusals.signals import opens_with_refusal
from plumbline.evaluation.refusals.string_matching import is_refusal
from plumbline.evaluation.refusals.training import held_out_detectors
from plumbline.records import Record
from plumbline.schema.estimates import Estimate
from plumbline.statistics.intervals import exact_proportion, mean, paired_difference
from plumbline.statistics.verdicts import rate_text

REPORT: Final = "detector_report.json"
"""Its file in the tree of a refusal detector."""
ALL: Final = "all"
BINS: Final = 5

Predictor = Literal["detector", "openings", "phrases", "annotation_1", "annotation_2"]
"""`openings`: XSTest's string matching; `phrases`: the scorer `rules`; the annotators: one of them
held against the other, which is the ceiling."""


class DetectorRates(Record):
    """How far one predictor agrees with one column of labels on the completions of one model;
    intervals are exact (Clopper and Pearson 1934)."""

    predictor: Predictor
    label: str = Field(description="column of the labels that it is held against")
    model: str = Field(description="model that answered, or `all`")
    fpr: Estimate = Field(description="share of the answers that it calls refusals")
    fnr: Estimate = Field(
        description="share of the refusals, full or partial, that it calls answers"
    )
    agreement: Estimate = Field(
        description="share of the completions that it calls what the label says"
    )


class CalibrationBin(Record):
    """Completions whose probability of being a refusal, as the detector gives it, lies in one
    range."""

    low: float
    high: float
    probability: float = Field(description="mean probability that the detector gives")
    refused: Estimate = Field(description="share that people settled on as refusals")


class DetectorReport(Record):
    """Leave-one-model-out: every completion is judged by a detector that has seen neither its model
    nor its prompt."""

    level: float
    rates: tuple[DetectorRates, ...]
    gain: dict[str, Estimate] = Field(
        description=(
            "by model and `all`: agreement of the detector with the settled label minus that of"
            " `openings`, paired; prompts are the clusters"
        )
    )
    calibration: tuple[CalibrationBin, ...] = Field(
        description=(
            f"the probabilities beside what people say, in {BINS} equal ranges; empty ones are"
            " left out"
        )
    )
    brier: Estimate = Field(
        description=(
            "mean squared distance of the probability from the label, 0 to 1; a guess of one half"
            " has 0.25"
        )
    )

    def find(self, predictor: Predictor, label: str = SETTLED, model: str = ALL) -> DetectorRates:
        """The rates of one predictor.

        Raises:
            KeyError: If they were not measured.
        """
        for rates in self.rates:
            if (rates.predictor, rates.label, rates.model) == (predictor, label, model):
                return rates
        raise KeyError(f"{predictor} was not measured against {label} on {model}")

    @property
    def beats_string_matching(self) -> bool:
        """Whether the detector agrees with people more often than string matching, by the whole
        interval."""
        return self.gain[ALL].low > 0

    def to_markdown(self) -> str:
        """The rates as a table for people."""
        lines = [
            "| predictor | label | model | false alarms | missed refusals | agreement |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {r.predictor} | {r.label} | {r.model} | {rate_text(r.fpr)} | {rate_text(r.fnr)} |"
            f" {rate_text(r.agreement)} |"
            for r in self.rates
        ]
        gains = [
            f"{name} {gain.value:+.1%} [{gain.low:+.1%}, {gain.high:+.1%}]"
            for name, gain in self.gain.items()
        ]
        lines += [
            "",
            f"Agreement gained over string matching: {'; '.join(gains)}.",
            "",
            "| probability | mean | refused | n |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {b.low:.1f} to {b.high:.1f} | {b.probability:.2f} | {rate_text(b.refused)} |"
            f" {b.refused.n} |"
            for b in self.calibration
        ]
        return "\n".join(
            [
                *lines,
                "",
                (
                    f"Brier score {self.brier.value:.3f} [{self.brier.low:.3f},"
                    f" {self.brier.high:.3f}]."
                ),
            ]
        )


class _Predicted(NamedTuple):
    completion: LabelledCompletion
    probability: float
    by: dict[Predictor, bool]


def measure_detector(
    completions: Sequence[LabelledCompletion], confidence_level: float
) -> DetectorReport:
    """Measure the detector, string matching and the annotators on the completions of three models
    or more.

    The gain over string matching counts a prompt as one cluster, because every model answers it.

    Raises:
        DataError: If there are fewer than three models, or one has only refusals or none.
    """
    rows = [
        _predicted(detector, completion)
        for detector, unseen in held_out_detectors(completions)
        for completion in unseen
    ]
    models = [ALL, *sorted({row.completion.model for row in rows})]
    by_model = {
        model: [row for row in rows if model in (ALL, row.completion.model)] for model in models
    }
    rates = []
    predictors: tuple[Predictor, ...] = ("detector", "openings", "phrases")
    for model, members in by_model.items():
        rates += [
            _rates(name, label, model, members, confidence_level, _prediction(name))
            for name in predictors
            for label in (SETTLED, *LABELS[:2])
        ]
        rates += [
            _rates(
                "annotation_2",
                "annotation_1",
                model,
                members,
                confidence_level,
                lambda row: row.completion.refused["annotation_2"],
            )
        ]
        rates += [
            _rates(
                "annotation_1",
                "annotation_2",
                model,
                members,
                confidence_level,
                lambda row: row.completion.refused["annotation_1"],
            )
        ]
    return DetectorReport(
        level=confidence_level,
        rates=tuple(rates),
        gain={model: _gain(members, confidence_level) for model, members in by_model.items()},
        calibration=_calibration(rows, confidence_level),
        brier=mean(
            [(row.probability - row.completion.refused[SETTLED]) ** 2 for row in rows],
            confidence_level,
            [row.completion.prompt for row in rows],
        ),
    )


def _predicted(detector: RefusalDetector, completion: LabelledCompletion) -> _Predicted:
    predictions: dict[Predictor, bool] = {
        "detector": detector.is_refusal(completion.response),
        "openings": opens_with_refusal(completion.response),
        "phrases": is_refusal(completion.response),
    }
    return _Predicted(completion, detector.probability(completion.response), predictions)


def _calibration(rows: Sequence[_Predicted], confidence_level: float) -> tuple[CalibrationBin, ...]:
    bins: dict[int, list[_Predicted]] = {}
    for row in rows:
        bins.setdefault(min(int(row.probability * BINS), BINS - 1), []).append(row)
    return tuple(
        CalibrationBin(
            low=number / BINS,
            high=(number + 1) / BINS,
            probability=math.fsum(row.probability for row in members) / len(members),
            refused=exact_proportion(
                sum(row.completion.refused[SETTLED] for row in members),
                len(members),
                confidence_level,
            ),
        )
        for number, members in sorted(bins.items())
    )


def _prediction(name: Predictor) -> Callable[[_Predicted], bool]:
    return lambda row: row.by[name]


def _rates(
    name: Predictor,
    label: str,
    model: str,
    rows: Sequence[_Predicted],
    confidence_level: float,
    predict: Callable[[_Predicted], bool],
) -> DetectorRates:
    pairs = [(row.completion.refused[label], predict(row)) for row in rows]
    false_alarms = sum(called and not refused for refused, called in pairs)
    missed = sum(refused and not called for refused, called in pairs)
    refusals = sum(refused for refused, _ in pairs)
    return DetectorRates(
        predictor=name,
        label=label,
        model=model,
        fpr=exact_proportion(false_alarms, len(pairs) - refusals, confidence_level),
        fnr=exact_proportion(missed, refusals, confidence_level),
        agreement=exact_proportion(
            len(pairs) - false_alarms - missed, len(pairs), confidence_level
        ),
    )


def _gain(rows: Sequence[_Predicted], confidence_level: float) -> Estimate:
    right = {
        name: [row.by[name] == row.completion.refused[SETTLED] for row in rows]
        for name in ("detector", "openings")
    }
    return paired_difference(
        right["detector"],
        right["openings"],
        confidence_level,
        [row.completion.prompt for row in rows],
    )
