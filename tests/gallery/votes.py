"""Changes to the votes of a world."""

from plumbline.schema.feedback import Comparison, FeedbackEvent, ResponseLabel
from tests.gallery.worlds import changed


def turned(event: FeedbackEvent) -> FeedbackEvent:
    """The same comparison with the other response preferred; a tie stays."""
    judgment = event.judgment
    if not isinstance(judgment, Comparison) or judgment.preferred is None:
        return event
    return changed(
        event,
        judgment=Comparison(
            preferred=1 if judgment.preferred == 0 else 0, strength=judgment.strength
        ),
    )


def opposite(event: FeedbackEvent) -> FeedbackEvent:
    """The same verdict with the other box ticked, on the response as on its acceptability."""
    acceptable = tuple(None if box is None else not box for box in event.acceptable)
    return changed(
        event, judgment=ResponseLabel(desirable=not event.judgment.desirable), acceptable=acceptable
    )
