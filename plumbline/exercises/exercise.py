"""What an exercise is: a question whose numbers are drawn from a seed, an answer that the project's
own functions give, and what to say to it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple

from plumbline.errors import DataError

TOLERANCE = 0.01
"""Relative error that an answer may have: rounding is no mistake."""


@dataclass(frozen=True)
class ExerciseQuestion:
    """One drawing of an exercise."""

    text: str
    answer: float | str
    """A number, or one of the choices."""
    solution: str
    """The way to the answer, shown after it was given."""
    choices: tuple[str, ...] = ()
    """Empty for a number."""
    mistakes: Mapping[str, float] = field(default_factory=dict)
    """What was probably done by whoever gives this number, to the number."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Choice to the reason why it is wrong."""


@dataclass(frozen=True)
class Exercise:
    """A question that can be drawn again and again with other numbers."""

    name: str
    kind: Literal["formula", "judgment"]
    title: str
    draw: Callable[[Random], ExerciseQuestion]

    def question(self, seed: int) -> ExerciseQuestion:
        """The question that belongs to a seed."""
        return self.draw(Random(f"{self.name}/{seed}"))


class Grade(NamedTuple):
    """What was made of an answer."""

    right: bool
    message: str


def grade(question: ExerciseQuestion, given: str) -> Grade:
    """Compare an answer with the right one, and explain.

    Args:
        question: What was asked.
        given: A choice, or a number, which may end in a percent sign.

    Raises:
        DataError: If the answer is neither; says what is expected.
    """
    if question.choices:
        return _grade_choice(question, given.strip().lower())
    value, answer = _number(given), float(question.answer)
    if _near(value, answer):
        return Grade(True, f"Right. {question.solution}")
    mistake = next(
        (reason for reason, number in question.mistakes.items() if _near(value, number)), None
    )
    hint = f" This is what you get when you {mistake}." if mistake else ""
    return Grade(False, f"Not {value:g}: it is {answer:.4g}.{hint} {question.solution}")


def _grade_choice(question: ExerciseQuestion, given: str) -> Grade:
    if given not in question.choices:
        raise DataError(
            f"'{given}' is no choice here; answer with one of {', '.join(question.choices)}"
        )
    if given == question.answer:
        return Grade(True, f"Right. {question.solution}")
    reason = f" {question.reasons[given]}" if given in question.reasons else ""
    return Grade(False, f"Not {given}: it is {question.answer}.{reason} {question.solution}")


def _number(given: str) -> float:
    text = given.strip().replace("\N{MINUS SIGN}", "-")
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise DataError(f"'{given}' is no number; answer for example 0.25 or 25%") from None
    if not math.isfinite(value):
        raise DataError(f"'{given}' is no finite number")
    return value


def _near(value: float, answer: float) -> bool:
    return abs(value - answer) <= max(TOLERANCE * abs(answer), 5e-4)
