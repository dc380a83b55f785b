"""A logistic regression on features that are there or not, as plain JSON: scoring needs nothing but
its weights."""

import math
from collections.abc import Iterable

from pydantic import Field

from plumbline.records import Record


class LinearClassifier(Record):
    """An intercept and the weights of the features, all log odds."""

    weights: dict[str, float] = Field(description="by feature, log odds")
    intercept: float = Field(description="log odds without any feature")

    def sum_weights(self, features: Iterable[str]) -> float:
        """Intercept and weights of these features, in any order; a feature that was not trained on
        counts nothing."""
        return self.intercept + math.fsum(self.weights.get(name, 0.0) for name in features)


def logistic(log_odds: float) -> float:
    """The probability, 0 to 1, of log odds."""
    # exp overflows beyond 709, where the probability is 0 to 300 digits
    return 1 / (1 + math.exp(min(-log_odds, 700.0)))
