from datetime import UTC, datetime, timedelta

import pytest

from plumbline.data.consent.withdrawals import Withdrawals, digest, withdrawn
from plumbline.data.store.events import FeedbackStore
from plumbline.errors import DataError
from plumbline.schema.feedback import Consent, FeedbackEvent
from tests.unit.in_memory import add_events

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def store(feedback_url):
    store = FeedbackStore(feedback_url)
    yield store
    store.close()


@pytest.fixture
def withdrawals(store):
    return Withdrawals(store.database)


def test_a_repeated_withdrawal_is_the_first(withdrawals):
    first = withdrawals.withdraw("person", "rater-01", "Ada", "asked by mail", NOW)
    again = withdrawals.withdraw(
        "person", " rater-01 ", "Bob", "asked again", NOW + timedelta(days=1)
    )
    other = withdrawals.withdraw(
        "consent", "rater-01", "Ada", "a consent text of the same name", NOW
    )
    assert again == first
    assert withdrawals.all() == (first, other)
    assert (first.id, other.id) == (1, 2)
    assert withdrawals.get(2) == other
    with pytest.raises(DataError, match=r"withdrawal 3: is not in .*; it has 1, 2"):
        withdrawals.get(3)


@pytest.mark.parametrize(
    ("subject", "by", "reason"),
    [("", "Ada", "r"), ("rater-01", "  ", "r"), ("rater-01", "Ada", " "), ("x" * 257, "Ada", "r")],
)
def test_a_withdrawal_says_whose_it_is_by_whom_and_why(withdrawals, subject, by, reason):
    with pytest.raises(DataError, match="needs a kind, a subject, a name and a reason"):
        withdrawals.withdraw("person", subject, by, reason, NOW)
    assert withdrawals.all() == ()


@pytest.mark.requirement("D9")
@pytest.mark.threat("C1")
def test_a_withdrawal_concerns_exactly_the_events_of_its_subject(store, withdrawals, make_event):
    judged = make_event("a", annotator="rater-01")
    plain = make_event("b", annotator="rater-02")
    fields = {name: getattr(plain, name) for name in FeedbackEvent.model_fields if name != "id"}
    given = FeedbackEvent.create(
        **fields | {"consent": Consent(scope="training", version="c-2", given_by="rater-01")}
    )
    mentioned = make_event("rater-01 says hello", annotator="rater-03")
    redacted = make_event("a", annotator="rater-04", redacted_from=judged.id)
    add_events(store, [judged, given, mentioned, redacted], NOW)
    person = withdrawals.withdraw("person", "rater-01", "Ada", "r", NOW)
    event = withdrawals.withdraw("event", judged.id, "Ada", "r", NOW)
    consent = withdrawals.withdraw("consent", "c-2", "Ada", "r", NOW)
    assert withdrawals.events(person) == {judged.id, given.id}
    assert withdrawals.events(event) == {judged.id, redacted.id}
    assert withdrawals.events(consent) == {given.id}
    assert withdrawn(judged, (person, event)) == "withdrawn: the person rater-01"
    assert withdrawn(redacted, withdrawals.all()) == f"withdrawn: the event {judged.id}"
    assert withdrawn(mentioned, withdrawals.all()) is None


def test_the_digest_names_what_is_withdrawn_and_nothing_else(withdrawals):
    one = withdrawals.withdraw("person", "rater-01", "Ada", "r", NOW)
    two = withdrawals.withdraw("consent", "c-1", "Ada", "r", NOW)
    assert digest([one, two]) == digest([two, one.model_copy(update={"by": "Bob", "id": 7})])
    assert len({digest([]), digest([one]), digest([two]), digest([one, two])}) == 4
