"""All exercises, by name."""

from plumbline.errors import DataError
from plumbline.exercises.exercise import Exercise
from plumbline.exercises.formulas import FORMULAS
from plumbline.exercises.judgments import JUDGMENTS

EXERCISES: dict[str, Exercise] = {exercise.name: exercise for exercise in (*FORMULAS, *JUDGMENTS)}


def exercise(name: str) -> Exercise:
    """The exercise with this name.

    Raises:
        DataError: If there is none; names those that there are.
    """
    if name not in EXERCISES:
        raise DataError(f"there is no exercise '{name}'; there are {', '.join(EXERCISES)}")
    return EXERCISES[name]
