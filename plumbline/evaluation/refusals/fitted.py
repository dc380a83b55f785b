"""The refusal detector as it ships: measured on models that it never saw, trained on all labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.evaluation.refusals.detector import DETECTOR, RefusalDetector
from plumbline.evaluation.refusals.labelled import LabelledCompletion
from plumbline.evaluation.refusals.report import ALL, REPORT, DetectorReport, measure_detector
from plumbline.evaluation.refusals.training import train_detector


@dataclass(frozen=True)
class FittedDetector:
    """A detector and its error rates."""

    detector: RefusalDetector
    report: DetectorReport

    def facts(self) -> dict[str, Any]:
        """As the manifest of the detector says it."""
        overall = self.report.find("detector")
        return {
            "trained_on": self.detector.trained_on,
            "fpr": overall.fpr.value,
            "fnr": overall.fnr.value,
            "agreement": overall.agreement.value,
            "gain": self.report.gain[ALL].value,
        }


def fit_detector(
    completions: Sequence[LabelledCompletion], level: float, folder: Path
) -> FittedDetector:
    """Measure and train a detector on labelled completions, and write its files to a folder."""
    report = measure_detector(completions, level)
    detector = train_detector(completions)
    (folder / DETECTOR).write_bytes(detector.to_json())
    (folder / REPORT).write_bytes(report.to_json())
    return FittedDetector(detector, report)
