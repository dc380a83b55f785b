"""Whether consent was withdrawn for events that an artifact descends from."""

from collections.abc import Iterator

from pydantic import Field

from plumbline.errors import DataError
from plumbline.lineage.descendants import Action, descendants_of
from plumbline.records import Record
from plumbline.schema.feedback import Withdrawal
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout


class WithdrawnSince(Record):
    """A withdrawal of events that an artifact descends from."""

    profile: str = Field(description="profile whose feedback store records it")
    withdrawal: Withdrawal
    events: int = Field(gt=0, description="events in the feedback store that it concerns")
    action: Action = Field(description="what has to happen to the artifact")


def withdrawn_since(
    store: ArtifactStore, layout: HomeLayout, digest: str
) -> Iterator[WithdrawnSince]:
    """Every withdrawal, in the feedback store of any profile, of events behind an artifact.

    Args:
        store: The artifact store of the home.
        layout: Names the home.
        digest: Digest of the artifact.

    Raises:
        DataError: If a feedback store cannot be read.
    """
    for folder in sorted((layout.root / "profiles").glob("*")):
        profile = HomeLayout(layout.root, folder.name)
        if profile.has_feedback:
            yield from _withdrawn(store, profile, digest)


def _withdrawn(store: ArtifactStore, profile: HomeLayout, digest: str) -> Iterator[WithdrawnSince]:
    from sqlalchemy.exc import SQLAlchemyError

    from plumbline.data.consent.withdrawals import Withdrawals
    from plumbline.data.store.events import FeedbackStore

    feedback = FeedbackStore(profile.feedback_url)
    try:
        withdrawals = Withdrawals(feedback.database)
        for withdrawal in withdrawals.all():
            events = withdrawals.events(withdrawal)
            for descendant in descendants_of(store, events).tainted if events else ():
                if descendant.artifact == digest:
                    yield WithdrawnSince(
                        profile=profile.profile,
                        withdrawal=withdrawal,
                        events=len(events),
                        action=descendant.action,
                    )
    except SQLAlchemyError as error:
        raise DataError(
            f"feedback store of profile {profile.profile}: cannot be read:"
            f" {str(error).splitlines()[0]}; `--offline` leaves it out"
        ) from error
    finally:
        feedback.close()
