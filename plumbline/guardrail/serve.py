"""Serving the guardrail: one folder in, one decision for each response out. Needs neither torch nor
scikit-learn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from plumbline.errors import DigestMismatch, GateRefused
from plumbline.guardrail.build import MEASUREMENT, MODEL, read_measurement, read_model
from plumbline.guardrail.classifier import ViolationClassifier
from plumbline.guardrail.measurement import Measurement
from plumbline.records import Record
from plumbline.schema.conversations import Message


class GuardrailAction(Record):
    """What is done with one response; neither a preference nor a label, and never trained on."""

    action: Literal["allow", "block"]
    score: float = Field(
        ge=0, le=1, description="estimated probability of a violation, not calibrated"
    )
    threshold: float = Field(ge=0, le=1, description="score from which a response is blocked")
    version: str = Field(description="the guardrail that decided")


@dataclass(frozen=True)
class Guardrail:
    """A frozen classifier with its threshold, and the rates that were measured for this very
    pair."""

    classifier: ViolationClassifier
    threshold: float
    version: str
    measurement: Measurement

    def judge(self, prompt: Sequence[Message] | str, response: str) -> GuardrailAction:
        """Block a response or let it through.

        Args:
            prompt: The conversation up to the response; a string stands for one turn of the user.
            response: What the policy wants to say.
        """
        turns = (
            (Message(role="user", content=prompt),) if isinstance(prompt, str) else tuple(prompt)
        )
        score = self.classifier.score(turns, response)
        return GuardrailAction(
            action="block" if score >= self.threshold else "allow",
            score=score,
            threshold=self.threshold,
            version=self.version,
        )


def serve(folder: Path) -> Guardrail:
    """The guardrail of a folder: the tree of a `guardrail` artifact, or a copy of it.

    Raises:
        DataError: If a file is missing or not of this version.
        DigestMismatch: If the measurement is that of another guardrail: a threshold is not served
            without its own rates.
        GateRefused: If it has no threshold, or was never measured.
    """
    model, measurement = read_model(folder), read_measurement(folder)
    if measurement.guardrail != model.digest():
        raise DigestMismatch(
            f"{folder}: {MEASUREMENT} was measured for {measurement.guardrail}, but {MODEL} is"
            f" {model.digest()}; one of them was changed: restore both"
        )
    if model.classifier is None or model.threshold.value is None or measurement.missing:
        raise GateRefused(
            f"{folder}: guardrail {model.version} has no threshold to serve:"
            f" {measurement.missing or model.threshold.why}"
        )
    return Guardrail(model.classifier, model.threshold.value, model.version, measurement)
