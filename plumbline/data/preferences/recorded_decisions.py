"""What people decided about feedback, and what a new version of the preference data therefore
leaves out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from plumbline.data.adjudication.decisions import Adjudication, Adjudications, adjudications_digest
from plumbline.data.batch_index.frames import read_index
from plumbline.data.consent.exclusions import exclusions
from plumbline.data.consent.withdrawals import Withdrawals
from plumbline.data.consent.withdrawals import digest as withdrawals_digest
from plumbline.data.screening.annotator_quality import (
    VOTE_COLUMNS,
    AnnotatorReport,
    check_annotators,
    votes_of_index,
)
from plumbline.data.screening.flags import Flags, findings, holds, raise_new
from plumbline.data.screening.flags import digest as flags_digest
from plumbline.data.store.events import FeedbackStore
from plumbline.profile.data import AnnotatorConfig
from plumbline.schema.rubric import Rubric


@dataclass(frozen=True)
class RecordedDecisions:
    """Decisions at one moment."""

    excluded: Mapping[str, str]
    """Reason by event: consent withdrawn or ended, or held by a flag."""
    adjudications: Mapping[str, Adjudication]
    """The decision on each item, under the rubric."""
    annotators: AnnotatorReport
    """The annotators of all batches together."""
    raised: Sequence[str]
    """Flags that this look at all batches raised, in words."""
    digests: Mapping[str, str]
    """Digests of `withdrawals`, `flags` and `adjudications`: what the data were built under."""


def decisions(
    store: FeedbackStore,
    batches: Sequence[Path],
    rubric: Rubric,
    rule: AnnotatorConfig,
    now: datetime,
) -> RecordedDecisions:
    """Check the annotators over all batches, flag what was found, and read what was decided.

    Args:
        store: The feedback store with the decisions.
        batches: Folders of the admitted batches.
        rubric: The rubric that decisions are made under.
        rule: What is flagged about annotators.
        now: Consents that expire at this time or before have ended.
    """
    annotators = check_annotators(votes_of_index(read_index(batches, VOTE_COLUMNS)), rule)
    raised = raise_new(store.database, findings("all batches", annotators), now)
    withdrawals, flags = Withdrawals(store.database).all(), Flags(store.database).all()
    adjudications = Adjudications(store.database).current(rubric.label)
    return RecordedDecisions(
        excluded=exclusions(batches, withdrawals, holds(flags), now),
        adjudications=adjudications,
        annotators=annotators,
        raised=raised,
        digests={
            "withdrawals": withdrawals_digest(withdrawals),
            "flags": flags_digest(flags),
            "adjudications": adjudications_digest(adjudications),
        },
    )
