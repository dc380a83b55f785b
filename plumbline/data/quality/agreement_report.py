"""What is said about how far annotators agree, question by question."""

from typing import Literal

from pydantic import Field

from plumbline.records import Record
from plumbline.schema.estimates import Estimate
from plumbline.statistics.agreement import Scale

_COLUMNS = ("alpha", "kappa", "raw", "discounted", "untied")


class QuestionAgreement(Record):
    """Agreement on one question."""

    question: str = Field(
        description=(
            "`preference`, a dimension, `acceptable`, `desirable`, `clause`, or `preference where"
            " <clause> was named`"
        )
    )
    scale: Scale
    items: int = Field(ge=0, description="items that at least two annotators judged")
    once: int = Field(
        ge=0, description="items that one annotator judged; they say nothing about agreement"
    )
    judgments: int = Field(
        ge=0, description="judgments of the items that at least two annotators judged"
    )
    annotators: int = Field(ge=0, description="annotators of those items")
    status: Literal["measured", "underpowered"]
    why: str = Field(description="what is missing, when underpowered")
    alpha: Estimate | None = Field(
        description=(
            "Krippendorff's alpha; null where no disagreement is to be expected, or underpowered"
        )
    )
    kappa: Estimate | None = Field(
        description="Cohen's or Fleiss' kappa; null where it is not defined"
    )
    kappa_kind: Literal["cohen", "fleiss"] | None
    raw: Estimate | None = Field(description="probability that two annotators of one item agree")
    discounted: Estimate | None = Field(
        description="the same, where 1/2 counts when exactly one of the two says tie"
    )
    untied: Estimate | None = Field(description="the same among judgments that are no tie")


class AgreementReport(Record):
    """Agreement of a set of events on every question that they answer."""

    events: int = Field(
        ge=0, description="events; comparisons, where they were counted without their texts"
    )
    judgments: int = Field(ge=0, description="answers in all, over all questions")
    repeated: int = Field(
        ge=0,
        description=(
            "answers that the same annotator gave again later: the newest counts, the older are"
            " left out"
        ),
    )
    questions: tuple[QuestionAgreement, ...]

    def question(self, name: str) -> QuestionAgreement | None:
        """The agreement on one question; None when nobody answered it."""
        return next((question for question in self.questions if question.question == name), None)

    def metrics(self) -> dict[str, float]:
        """Every estimate as flat numbers, for an experiment tracker."""
        estimates = {
            (question.question, name): getattr(question, name)
            for question in self.questions
            for name in _COLUMNS
        }
        known = {
            f"agreement/{question}/{name}".replace(" ", "-"): estimate
            for (question, name), estimate in estimates.items()
            if estimate is not None
        }
        return {
            f"{key}/{part}": getattr(estimate, part)
            for key, estimate in known.items()
            for part in ("value", "low", "high")
        }

    def to_markdown(self) -> str:
        """A table for people."""
        head = ["question", "items judged twice", "judged once", *_COLUMNS]
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for question in self.questions:
            cells = [_shown(getattr(question, name)) for name in _COLUMNS]
            if question.kappa is not None:
                cells[1] += f" ({question.kappa_kind})"
            cells = (
                cells
                if question.status == "measured"
                else [f"underpowered: {question.why}", *[""] * (len(_COLUMNS) - 1)]
            )
            lines.append(
                "| "
                + " | ".join([question.question, str(question.items), str(question.once), *cells])
                + " |"
            )
        return "\n".join(lines)


def _shown(estimate: Estimate | None) -> str:
    return (
        ""
        if estimate is None
        else f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
    )
