"""Admission: which feedback events may enter training, and why the others may not."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from plumbline.data.control_tokens import has_control_token
from plumbline.data.schema import FeedbackEvent
from plumbline.rubric import Rubric


@dataclass(frozen=True)
class Admission:
    """Every event of a batch, either accepted or quarantined."""

    accepted: list[FeedbackEvent]
    quarantined: list[tuple[FeedbackEvent, tuple[str, ...]]]

    @property
    def reasons(self) -> dict[str, int]:
        """Quarantined events by reason; an event with two reasons counts under both."""
        return dict(sorted(Counter(reason for _, reasons in self.quarantined for reason in reasons).items()))


def admit(events: Iterable[FeedbackEvent], rubric: Rubric) -> Admission:
    """Judge each event by itself under the rubric; the order of the events is kept."""
    accepted: list[FeedbackEvent] = []
    quarantined: list[tuple[FeedbackEvent, tuple[str, ...]]] = []
    for event in events:
        reasons = reasons_against(event, rubric)
        if reasons:
            quarantined.append((event, reasons))
        else:
            accepted.append(event)
    return Admission(accepted, quarantined)


def reasons_against(event: FeedbackEvent, rubric: Rubric) -> tuple[str, ...]:
    """Every reason why an event may not enter training; empty when it may."""
    texts = [response.text for response in event.responses]
    stripped = [text.strip() for text in texts]
    findings = {
        "consent scope": event.consent.scope != "training",
        "consent version": event.consent.version not in rubric.consent,
        "other rubric": event.rubric != rubric.label,
        "empty prompt": any(not message.content.strip() for message in event.prompt),
        "prompt does not end with the user": event.prompt[-1].role != "user",
        "empty response": not all(stripped),
        "same response": len(set(stripped)) < len(stripped),
        "control token": has_control_token(event.prompt, *texts),
    }
    return tuple(reason for reason, found in findings.items() if found)
