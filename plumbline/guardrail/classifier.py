"""The violation classifier: word n-grams of prompt and response, and a logistic regression whose
weights are plain JSON.

A response alone rarely says whether it breaks a rule, nor does a prompt: both are read, in spaces
of their own, and their evidence adds up. A feature is present or absent, so that padding with
neutral words does not dilute the rest. scikit-learn fits the weights; scoring needs nothing but
them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import Field

from plumbline.errors import InsufficientEvidence
from plumbline.guardrail.labels import GuardrailRow
from plumbline.schema.conversations import Message
from plumbline.text.linear_classifier import LinearClassifier, logistic
from plumbline.text.ngrams import words

LONGEST: Final = 2
"""Words of the longest n-gram."""
LEAST_ROWS: Final = 2
"""Rows in which an n-gram must stand to be a feature: what stands in one row names the row."""
PENALTY: Final = 1.0
"""Inverse strength of the L2 penalty. Over 13 sandbox worlds of 2,000 or 3,600 verdicts the check
`guardrail` then failed in none and was undecided in one; with 0.1, whose scores lie closer
together, it failed in two, because look-alikes came out above the threshold.
"""
MOST_WORDS: Final = 4096
"""Words of a text that are read, from its start."""
DIGITS: Final = 9
"""Digits of a score: enough to order rows, few enough to be equal on all platforms."""


class ViolationClassifier(LinearClassifier):
    """Weights of a logistic regression by feature: `p how to` is an n-gram of the prompt, `r follow
    plan` one of the response."""

    rows: int = Field(gt=0, description="rows that it was fitted on")
    violations: int = Field(gt=0, description="how many of them were violations")

    def score(self, prompt: Sequence[Message], response: str) -> float:
        """Estimated probability of a violation, 0 to 1. It is not calibrated: the threshold is what
        was fitted and measured."""
        return round(logistic(self.sum_weights(features_of(prompt, response))), DIGITS)


def features_of(prompt: Sequence[Message], response: str) -> frozenset[str]:
    """The n-grams of a conversation and of the response to it; case, punctuation and look-alikes of
    NFKC make no difference."""
    asked = [word for message in prompt for word in words(message.content)]
    return frozenset([*_ngrams("p", asked), *_ngrams("r", words(response))])


def fit_classifier(rows: Sequence[GuardrailRow]) -> ViolationClassifier:
    """Fit the classifier; the same rows give the same weights.

    Raises:
        InsufficientEvidence: If the rows show no violation, or nothing else.
    """
    # here, not above: who serves a guardrail does not fit one, and needs no scikit-learn
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    violations = sum(row.violation for row in rows)
    if not 0 < violations < len(rows):
        raise InsufficientEvidence(
            f"the violation classifier has {len(rows)} responses to learn from, {violations} of"
            " them violations; it needs both kinds: collect more verdicts"
        )
    rows_features = [features_of(row.prompt, row.response) for row in rows]
    counts = Counter(feature for features in rows_features for feature in features)
    common = {feature for feature, count in counts.items() if count >= LEAST_ROWS}
    vectorizer = DictVectorizer()
    table = vectorizer.fit_transform(
        [dict.fromkeys(sorted(features & common), 1.0) for features in rows_features]
    )
    fitted = LogisticRegression(C=PENALTY, max_iter=5000, tol=1e-6).fit(
        table, [row.violation for row in rows]
    )
    weights: Mapping[str, float] = dict(
        zip(vectorizer.get_feature_names_out().tolist(), fitted.coef_[0].tolist(), strict=True)
    )
    return ViolationClassifier(
        intercept=round(float(fitted.intercept_[0]), DIGITS),
        weights={
            feature: rounded
            for feature, weight in weights.items()
            if (rounded := round(weight, DIGITS))
        },
        rows=len(rows),
        violations=violations,
    )


def _ngrams(side: str, text: Sequence[str]) -> list[str]:
    read = text[:MOST_WORDS]
    return [
        f"{side} {' '.join(read[start : start + size])}"
        for size in range(1, LONGEST + 1)
        for start in range(len(read) - size + 1)
    ]
