"""Floors and ceiling beside which the accuracy of a reward model is read: length, bag of words, and
how far people agree.

Each outcome is True (right), False (wrong) or None (the predictor cannot tell); intervals are made
from outcomes elsewhere.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from plumbline.data.splits import judged_pair
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.preferences import PreferencePair


def length_outcomes(pairs: Iterable[PreferencePair]) -> list[bool | None]:
    """Whether the longer response, in characters, is the chosen one; None when both are equally
    long."""
    lengths = ((len(pair.chosen), len(pair.rejected)) for pair in pairs)
    return [None if chosen == rejected else chosen > rejected for chosen, rejected in lengths]


def bag_of_words_outcomes(
    train: Sequence[PreferencePair], test: Sequence[PreferencePair]
) -> list[bool | None]:
    """Whether a Bradley-Terry model on word counts, fitted on `train`, prefers the chosen response
    of each pair of `test`.

    The reward is linear in log(1 + count) of each word that occurs in at least five training
    responses; the likelihood of the pairs is then a logistic regression without intercept on the
    difference of the two responses, with an L2 penalty. Nothing in it is random.

    Returns:
        One outcome per test pair; None when both responses have the same reward, and for all when
        there is too little to train on.
    """
    if len(train) < 2 or not test:
        return [None] * len(test)
    vectorizer = CountVectorizer(min_df=5 if len(train) >= 50 else 1, token_pattern=r"\w+|[^\w\s]")  # noqa: S106 - words and marks, not a password
    vectorizer.fit([text for pair in train for text in (pair.chosen, pair.rejected)])

    def differences(pairs: Sequence[PreferencePair]):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a scipy sparse matrix, untyped
        return (
            vectorizer.transform([p.chosen for p in pairs]).log1p()
            - vectorizer.transform([p.rejected for p in pairs]).log1p()
        )

    signs = np.where(
        np.arange(len(train)) % 2 == 0, 1, -1
    )  # (d, won) and (-d, lost) are the same observation; the solver wants both labels
    model = LogisticRegression(C=0.05, fit_intercept=False, max_iter=1000)
    model.fit(differences(train).multiply(signs[:, None]).tocsr(), signs > 0)
    rewards = model.decision_function(differences(test))
    return [None if reward == 0 else bool(reward > 0) for reward in rewards]


def human_ceiling(events: Iterable[FeedbackEvent]) -> list[bool | None] | None:
    """Whether each judgment agrees with the majority of the other annotators of the same pair: what
    a reward model can hope for.

    Ties are left out. None for a judgment when the others are split; judgments without another
    annotator do not count at all, so events that do not tell their annotators apart give no
    ceiling.

    Returns:
        One outcome per judgment that has company; None, and never a made-up number, when there is
        no such judgment.
    """
    groups: defaultdict[str, list[FeedbackEvent]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.id):
        if event.winner is not None:
            groups[
                judged_pair(event.prompt, [response.text for response in event.responses])
            ].append(event)
    outcomes: list[bool | None] = []
    for group in groups.values():
        votes = [(event.annotator, event.winner) for event in group]
        for annotator, text in votes:
            others = [other == text for who, other in votes if who != annotator]
            if others:
                agreeing = 2 * sum(others)
                outcomes.append(None if agreeing == len(others) else agreeing > len(others))
    return outcomes or None
