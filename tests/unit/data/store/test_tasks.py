import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from plumbline.data.formats.import_report import ImportedRow
from plumbline.data.store.deliveries import Deliveries
from plumbline.data.store.events import FeedbackStore
from plumbline.data.store.tasks import Task, Tasks, Turn, read_tasks, source_of
from plumbline.errors import DataError
from plumbline.records import canonical_json
from plumbline.schema.conversations import Message, Response, ResponseSource
from plumbline.schema.feedback import Context, Provenance

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SOURCE = ResponseSource(policy="p", chat_template="t", role_format="conversation", decoder=None)


def task(number=0):
    return Task.create(
        prompt=(Message(role="user", content=f"Question {number}?"),),
        responses=(Response(text="A", source=SOURCE), Response(text="B", source=SOURCE)),
        context=Context(locale="en", domain="test", slice="unsliced"),
        provenance=Provenance(written_by="a", filtered_by="b", approved_by="c"),
    )


@pytest.fixture
def store(feedback_url):
    store = FeedbackStore(feedback_url)
    yield store
    store.close()


@pytest.fixture
def tasks(store):
    return Tasks(store.database)


@pytest.fixture
def judge(store, make_event):
    def judge(judged, annotator):
        event = make_event(prompt=judged.prompt[0].content, annotator=annotator)
        body = event.to_json()
        Deliveries(store).deliver(
            source_of(judged.id, annotator),
            "page",
            [ImportedRow(1, 0, len(body), event)],
            event.digest(),
            NOW,
        )

    return judge


def test_tasks_are_added_once(tasks):
    assert tasks.add([task(1), task(2), task(1)], NOW) == 2
    assert tasks.add([task(2), task(3)], NOW) == 1
    assert tasks.get(task(3).id) == task(3)
    assert tasks.get("nothing") is None


def test_every_task_is_judged_once_by_each_annotator_and_covered_before_it_is_judged_twice(
    tasks, judge
):
    """Six tasks, three annotators who take turns: after six judgments every task has one, after
    eighteen every annotator has judged all."""
    tasks.add([task(number) for number in range(6)], NOW)
    for turn in range(18):
        annotator = f"rater-{turn % 3}"
        given = tasks.next_for(annotator)
        assert not tasks.is_judged(given.id, annotator)
        judge(given, annotator)
        assert tasks.is_judged(given.id, annotator)
        if turn == 5:
            assert tasks.counts() == {1: 6}
    assert tasks.counts() == {3: 6}
    assert [tasks.next_for(f"rater-{number}") for number in range(3)] == [None] * 3
    assert tasks.turn_of("rater-0") == Turn(None, judged=6, open=0)
    assert tasks.turn_of("rater-9") == Turn(tasks.next_for("rater-9"), judged=0, open=6)


def test_annotators_see_the_tasks_in_different_orders(tasks):
    """Among 40 annotators and 8 unjudged tasks, the first task is not the same one; one that came
    first for all would have 40."""
    tasks.add([task(number) for number in range(8)], NOW)
    first = Counter(tasks.next_for(f"rater-{number}").id for number in range(40))
    assert len(first) >= 5
    assert tasks.next_for("rater-1") == tasks.next_for("rater-1")


def test_what_was_skipped_comes_last_in_the_order_of_skipping(tasks):
    tasks.add([task(number) for number in range(3)], NOW)
    skipped, seen = [], []
    for _ in range(5):
        seen.append(tasks.next_for("rater-1", skipped).id)
        skipped = [one for one in skipped if one != seen[-1]] + [seen[-1]]
    assert len(set(seen[:3])) == 3
    assert seen[3:] == seen[:2]


def test_events_from_elsewhere_are_no_judgments_of_tasks(tasks, store, make_event):
    tasks.add([task()], NOW)
    event = make_event()
    Deliveries(store).deliver(
        source_of(task().id, "rater-1"), "http", [ImportedRow(1, 0, 1, event)], event.digest(), NOW
    )
    assert tasks.judgments() == {task().id: frozenset()}


def rows(path, *values):
    path.write_bytes(
        b"".join(value if isinstance(value, bytes) else canonical_json(value) for value in values)
    )
    return path


def test_a_file_gives_tasks_with_or_without_ids(tmp_path):
    whole = json.loads(task(1).to_json())
    without = {name: value for name, value in whole.items() if name not in ("id", "attack")}
    assert read_tasks(rows(tmp_path / "t.jsonl", whole, without)) == [task(1), task(1)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": "0" * 40}, "is not the digest of the content"),
        ({"responses": [{"text": "A", "source": json.loads(SOURCE.to_json())}]}, "responses"),
        (
            {"responses": [{"text": "A", "source": json.loads(SOURCE.to_json())}] * 2},
            "the same text",
        ),
        ({"prompt": [{"role": "assistant", "content": "x"}]}, "must end with a turn of the user"),
        ({"prompt": [{"role": "user\n<|im_start|>", "content": "x"}]}, "prompt.0.role"),
        ({"provenance": None}, "provenance"),
        ({"tools": []}, "tools"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_taken(tmp_path, changed, message):
    good = {name: value for name, value in json.loads(task().to_json()).items() if name != "id"}
    with pytest.raises(DataError, match="row 2") as caught:
        read_tasks(rows(tmp_path / "t.jsonl", good, good | changed))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no task"),
        (b"{", "not JSON"),
        (b"[]\n", "not a JSON object"),
        (b'{"a":1,"a":2}\n', "stands twice"),
    ],
)
def test_files_that_hold_no_tasks_are_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_tasks(rows(tmp_path / "t.jsonl", content))


def test_samples_of_held_out_evals_do_not_become_tasks(tmp_path):
    sample = {
        "prompt_id": "p-1",
        "slice": "harmful-en",
        "policy": "aligned",
        "response": "No.",
        "tokens": 2,
        "truncated": False,
        "logp": None,
        "seed": 0,
    }
    with pytest.raises(DataError, match=r"is a sample of held_out_evals\. Its prompt is held out"):
        read_tasks(rows(tmp_path / "samples.jsonl", sample))


def test_times_do_not_matter_to_the_identity_of_a_task(tasks):
    tasks.add([task()], NOW)
    assert tasks.add([task()], NOW + timedelta(days=1)) == 0
