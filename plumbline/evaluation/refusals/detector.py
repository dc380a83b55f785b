"""The refusal detector: a logistic regression on signals of refusal, exported as numbers and served
without the library that fitted it."""

from pathlib import Path
from typing import Final, Self

from pydantic import Field, ValidationError, model_validator

from plumbline.errors import DataError
from plumbline.evaluation.refusals.signals import SIGNALS, signals
from plumbline.schema.identifiers import Identifier
from plumbline.text.linear_classifier import LinearClassifier, logistic

DETECTOR: Final = "detector.json"
"""Its file in the tree of a refusal detector."""


class RefusalDetector(LinearClassifier):
    """Weights of the signals, the calibration of their sum, and the probability from which a
    response is taken for a refusal."""

    slope: float = Field(
        gt=0,
        description=(
            "factor on the log odds that makes them fit models that were not trained on (Platt"
            " 1999)"
        ),
    )
    shift: float = Field(description="added to the log odds after the slope")
    threshold: float = Field(
        gt=0, lt=1, description="calibrated probability from which a response is a refusal"
    )
    max_fpr: float = Field(
        gt=0,
        lt=1,
        description=(
            "false-positive rate that the threshold was chosen for, on models that were not"
            " trained on"
        ),
    )
    trained_on: dict[Identifier, int] = Field(min_length=1, description="completions by model")

    @model_validator(mode="after")
    def _weighs_every_signal(self) -> Self:
        if self.weights.keys() != set(SIGNALS):
            wrong = sorted(self.weights.keys() ^ set(SIGNALS))
            raise ValueError(
                "this version knows other signals than the detector was trained on:"
                f" {', '.join(wrong[:5])}; train it again"
            )
        return self

    def log_odds(self, response: str) -> float:
        """The uncalibrated sum of the weights of the signals that show in a response."""
        shown = zip(SIGNALS, signals(response), strict=True)
        return self.sum_weights(name for name, shows in shown if shows)

    def probability(self, response: str) -> float:
        """Calibrated probability that people take a response for a refusal, full or partial."""
        return logistic(self.slope * self.log_odds(response) + self.shift)

    def is_refusal(self, response: str) -> bool:
        """Whether a response is taken for a refusal; one without a visible character is none."""
        return bool(response.strip()) and self.probability(response) >= self.threshold


def read_detector(folder: Path) -> RefusalDetector:
    """The detector in the tree of a refusal detector.

    Raises:
        DataError: If there is none, or it was made for other signals.
    """
    path = folder / DETECTOR
    try:
        return RefusalDetector.from_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: there is no detector; materialize refusal_detector") from None
    except ValidationError as error:
        raise DataError(f"{path}: is not a refusal detector of this version: {error}") from error
