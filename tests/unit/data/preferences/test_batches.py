"""The same events give the same bytes, however they are cut into batches; the index says of each
event what the event says."""

import json
import random
import shutil
from datetime import timedelta

import pytest

from plumbline.data.batch_index.frames import events_at, read_index
from plumbline.data.batch_index.index import write_batch
from plumbline.data.consent.exclusions import exclusions
from plumbline.data.preferences.build import build_preferences
from plumbline.data.splits import judged_pair, prompt_key
from plumbline.errors import DataError, InvalidFeedback
from plumbline.schema.conversations import Response
from plumbline.schema.feedback import Consent, FeedbackEvent, Ranking, ResponseLabel, Withdrawal
from plumbline.schema.preferences import PreferencePair
from plumbline.storage.jsonl import read_records, write_records


@pytest.fixture
def events(make_event):
    """131 events: 90 prompts, 11 of them judged by several people, rankings, labels, an attack, a
    tie, and ten copies of one long answer."""
    plain = [
        make_event(
            f"Question {n}?", f"good {n}", f"bad {n}", preferred=n % 2, annotator=f"r{n % 7}"
        )
        for n in range(90)
    ]
    again = [
        make_event(f"Question {n}?", f"bad {n}", f"good {n}", preferred=n % 2, annotator=f"s{k}")
        for n in range(10)
        for k in range(2)
    ]
    answer = " ".join(f"word{n}" for n in range(40))
    alike = [
        make_event(f"Tell me thing number {n}", f"{answer} {n}", "no", clause="help")
        for n in range(10)
    ]
    contrary = make_event("Question 20?", "good 20", "bad 20", preferred=1, annotator="s0")
    base = make_event("Rank", "x", "y")
    responses = tuple(
        Response(text=text, source=base.responses[0].source) for text in ("one", "two", "three")
    )
    fields = {
        name: getattr(base, name)
        for name in ("prompt", "provenance", "consent", "rubric", "context", "synthetic", "time")
    }
    rankings = [
        FeedbackEvent.create(
            **fields, responses=responses, judgment=Ranking(order=order), annotator=f"r{n}"
        )
        for n, order in enumerate([((0,), (1,), (2,)), ((1, 0), (2,)), ((2,), (0,), (1,))])
    ]
    labels = [
        FeedbackEvent.create(
            **fields,
            responses=responses[:1],
            judgment=ResponseLabel(desirable=n != 1),
            annotator=f"r{n}",
            attack="jail" if n == 3 else None,
        )
        for n in range(4)
    ]
    return [
        *plain,
        *again,
        *alike,
        *rankings,
        *labels,
        make_event("tie", preferred=None, strength=0),
        make_event("old", rubric="test@9"),
        contrary,
        base,
    ]


@pytest.fixture
def build(tmp_path, rubric, rule):
    """Builds from lists of events, a batch each; returns every file's bytes."""
    apart = rule.model_copy(
        update={"near_duplicates": rule.near_duplicates.model_copy(update={"action": "set_aside"})}
    )

    def run(*batches):
        folder = tmp_path / f"build-{len(list(tmp_path.iterdir()))}"
        folders = []
        for number, events in enumerate(batches):
            write_batch(folder / str(number), events, rule.near_duplicates)
            folders.append(folder / str(number))
        return files_of(folders, folder / "data", rubric, apart)

    return run


def files_of(folders, target, rubric, rule, **settings):
    counted = build_preferences(folders, target, rubric, rule, 0, [], **settings)
    files = {path.name: path.read_bytes() for path in target.iterdir()}
    assert (
        counted.counts["events"]
        == counted.counts["events used"]
        + counted.counts["events set aside"]
        + counted.counts["attacks"]
    )
    return files, counted


@pytest.mark.threat("D3")
def test_batches_in_any_cut_order_and_number_of_copies_give_the_same_bytes(build, events):
    whole, counted = build(events)
    assert set(whole) == {
        "train.jsonl",
        "validation.jsonl",
        "calibration.jsonl",
        "labels.jsonl",
        "guardrail.jsonl",
        "set_aside.jsonl",
        "adjudication_queue.jsonl",
        "adjudicated.jsonl",
        "near_duplicates.jsonl",
        "contamination.jsonl",
    }
    assert all(
        whole[name] for name in whole if name not in ("adjudicated.jsonl", "contamination.jsonl")
    )
    assert counted.counts["events"] == len(events) == 131
    generator = random.Random(1)
    for batches in (2, 5, 40):
        mixed = [*events, *generator.sample(events, 30)]
        generator.shuffle(mixed)
        cut = [mixed[number::batches] for number in range(batches)]
        assert build(*cut)[0] == whole
        assert build(*reversed(cut))[0] == whole


@pytest.mark.threat("D9")
def test_the_search_for_held_out_prompts_is_remembered_by_batch_and_vault(
    tmp_path, make_event, make_held_out, rubric, rule
):
    text = "tell me in ten plain words what the weather does to old stone walls"
    parts = [
        [make_event(text + "!"), make_event("free")],
        [make_event(text), make_event("Question: " + text + " please")],
        [make_event("also free")],
    ]
    batches = [tmp_path / str(number) for number in range(3)]
    for batch, events in zip(batches, parts, strict=True):
        write_batch(batch, events, rule.near_duplicates)

    def built(name, vault, batches=batches, **settings):
        build_preferences(batches, tmp_path / name, rubric, rule, 0, vault, **settings)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    vault, remembered = make_held_out(text), tmp_path / "remembered"
    expected = built("plain", vault)
    assert len(expected["contamination.jsonl"].splitlines()) == 3
    assert built("first two", vault, batches[:2], remembered=remembered)
    made = {path: path.stat().st_mtime_ns for path in remembered.iterdir()}
    assert built("all", vault, remembered=remembered) == expected
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert len(list(remembered.iterdir())) == 3
    assert built("all again", vault, batches[::-1], remembered=remembered) == expected
    assert built("other vault", make_held_out("free"), remembered=remembered) == built(
        "other plain", make_held_out("free")
    )
    next(iter(made)).write_bytes(b"{")
    with pytest.raises(DataError, match=r"is no list of held-out prompts.*remove it"):
        built("broken", vault, remembered=remembered)


def test_a_late_batch_adds_and_changes_nothing_else(build, events):
    """Pairs whose votes stay the same keep every byte when other events come later."""
    before, after = build(events[:60])[0], build(events[:60], events[60:90])[0]
    for name in ("train.jsonl", "validation.jsonl", "calibration.jsonl"):
        assert set(before[name].splitlines()) <= set(after[name].splitlines())


def test_nothing_in_is_nothing_out(build, make_event, rubric, rule):
    for batches in ([[]], [], [[make_event("tie", preferred=None, strength=0)]]):
        files, counted = build(*batches)
        assert (
            files["train.jsonl"] == files["validation.jsonl"] == files["calibration.jsonl"] == b""
        )
        assert counted.counts["pairs"] == counted.counts["events used"] == 0
        assert (
            counted.counts["events set aside"] == counted.counts["events"] == sum(map(len, batches))
        )


def test_an_index_that_is_missing_or_made_under_another_rule_is_made_again(
    tmp_path, events, rubric, rule
):
    write_batch(tmp_path / "new", events, rule.near_duplicates)
    shorter = rule.near_duplicates.model_copy(update={"shingle": 2, "threshold": 0.5})
    write_batch(tmp_path / "other", events, shorter)
    write_records(tmp_path / "old" / "accepted.jsonl", events)
    expected = files_of([tmp_path / "new"], tmp_path / "a", rubric, rule)
    assert files_of([tmp_path / "old"], tmp_path / "b", rubric, rule) == expected
    assert files_of([tmp_path / "other"], tmp_path / "c", rubric, rule) == expected
    assert [path.name for path in (tmp_path / "old").iterdir()] == [
        "accepted.jsonl"
    ]  # the batch itself is not touched
    wider = rule.model_copy(update={"near_duplicates": shorter})
    assert files_of([tmp_path / "new"], tmp_path / "d", rubric, wider) == files_of(
        [tmp_path / "other"], tmp_path / "e", rubric, wider
    )


def test_a_batch_whose_text_is_gone_or_cut_is_refused(tmp_path, events, rubric, rule):
    write_batch(tmp_path / "batch", events, rule.near_duplicates)
    accepted = tmp_path / "batch" / "accepted.jsonl"
    accepted.write_bytes(accepted.read_bytes()[:-5000])
    with pytest.raises(
        InvalidFeedback,
        match=r"accepted\.jsonl: ends at byte \d+, but its index names a row up to byte",
    ):
        build_preferences([tmp_path / "batch"], tmp_path / "data", rubric, rule, 0, [])
    accepted.unlink()
    with pytest.raises(
        DataError, match=r"accepted\.jsonl: cannot be read: .*materialize `feedback`"
    ):
        build_preferences([tmp_path / "batch"], tmp_path / "data", rubric, rule, 0, [])


def test_an_index_cannot_be_made_of_a_line_that_is_not_canonical(
    tmp_path, make_event, rubric, rule
):
    row = make_event().model_dump(mode="json")
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "accepted.jsonl").write_text(
        json.dumps(row, sort_keys=True) + "\n"
    )  # spaces behind the separators
    with pytest.raises(InvalidFeedback, match=r"row 1: .*no canonical line"):
        build_preferences([tmp_path / "batch"], tmp_path / "data", rubric, rule, 0, [])


def test_the_index_says_what_the_events_say(tmp_path, events, rule):
    written = write_batch(tmp_path / "batch", events, rule.near_duplicates)
    frame = read_index([tmp_path / "batch"])
    assert written == (len(events), frame.height, len({event.annotator for event in events}))
    assert frame.height == len(events) + 2 * 3  # each of the three rankings has three pairs
    by_id = {event.id: event for event in events}
    for row in frame.filter(frame["first"]).iter_rows(named=True):
        event = by_id[row["event"]]
        assert (row["kind"], row["annotator"], row["rubric"], row["clause"], row["attack"]) == (
            event.judgment.kind,
            event.annotator,
            event.rubric,
            event.clause,
            event.attack,
        )
        assert row["prompt"] == prompt_key(event.prompt)
        assert row["time"] == event.time.timestamp() * 1_000_000
        texts = sorted(response.text for response in event.responses)
        if event.judgment.kind == "comparison":
            assert row["judged"] == judged_pair(event.prompt, texts)
            assert (row["left_characters"], row["right_characters"]) == tuple(map(len, texts))
            assert row["winner"] == (None if event.winner is None else texts.index(event.winner))
    weights = {}
    for event, share, winner in frame.select("event", "share", "winner").iter_rows():
        weights[event] = weights.get(event, 0) + (0 if winner is None else 1 / share)
    tied = {
        event.id for event in events if event.judgment.kind == "comparison" and event.winner is None
    }
    assert {event: weight for event, weight in weights.items() if weight != 1} == dict.fromkeys(
        tied, 0
    )  # a ranking has one vote in all


def test_single_events_are_read_by_id(tmp_path, events, rule):
    for number in range(3):
        write_batch(tmp_path / str(number), events[number::3], rule.near_duplicates)
    batches = [tmp_path / str(number) for number in range(3)]
    wanted = [events[5], events[40], events[125]]
    assert list(events_at(batches, [event.id for event in wanted] + ["0" * 40])) == sorted(
        wanted, key=lambda event: event.id
    )
    assert (
        read_index([*batches, *batches], ["event"]).height == read_index(batches, ["event"]).height
    )


class Holds:
    """What the flags hold in these tests: one annotator and one event."""

    def __init__(self, annotators=(), events=()):
        self.annotators, self.events = frozenset(annotators), frozenset(events)

    def reason(self, event_id, annotator):
        return (
            "flagged annotator"
            if annotator in self.annotators
            else "flagged token"
            if event_id in self.events
            else None
        )


@pytest.mark.requirement("D9")
@pytest.mark.threat("C1")
def test_withdrawn_expired_and_held_events_are_found_without_reading_the_others(
    tmp_path, make_event, rule
):
    now = make_event().time
    giver = make_event("a", annotator="x").model_copy(
        update={"consent": Consent(scope="training", version="c-1", given_by="parent")}
    )
    made = {
        "person": make_event("b", annotator="gone"),
        "giver": FeedbackEvent.create(
            **{name: getattr(giver, name) for name in type(giver).model_fields if name != "id"}
        ),
        "version": make_event("c", consent="c-2"),
        "event": make_event("d"),
        "held": make_event("e", annotator="odd"),
        "token": make_event("f"),
        "free": make_event("g"),
    }
    for name, hours in (("ended", 0), ("lasting", 1)):
        event = make_event(name).model_copy(
            update={
                "consent": Consent(
                    scope="training", version="c-1", expires=now + timedelta(hours=hours)
                )
            }
        )
        made[name] = FeedbackEvent.create(
            **{field: getattr(event, field) for field in type(event).model_fields if field != "id"}
        )
    made["redacted"] = make_event("h", redacted_from=made["event"].id)
    for number, part in enumerate((list(made.values())[:4], list(made.values())[4:])):
        write_batch(tmp_path / str(number), part, rule.near_duplicates)
    rows = [
        ("person", "gone"),
        ("person", "parent"),
        ("consent", "c-2"),
        ("event", made["event"].id),
    ]
    withdrawals = [
        Withdrawal(id=n, kind=kind, subject=subject, by="b", reason="r", withdrawn_at=now)
        for n, (kind, subject) in enumerate(rows, start=1)
    ]
    found = exclusions(
        [tmp_path / "0", tmp_path / "1"], withdrawals, Holds({"odd"}, {made["token"].id}), now
    )
    assert found == {
        made["person"].id: "withdrawn: the person gone",
        made["giver"].id: "withdrawn: the person parent",
        made["version"].id: "withdrawn: the consent text c-2",
        made["event"].id: f"withdrawn: the event {made['event'].id}",
        made["redacted"].id: f"withdrawn: the event {made['event'].id}",
        made["held"].id: "flagged annotator",
        made["token"].id: "flagged token",
        made["ended"].id: "consent expired",
    }
    assert exclusions([tmp_path / "0"], [], Holds(), now) == {}
    assert exclusions([], withdrawals, Holds(), now) == {}


def test_copied_batches_are_read_where_they_lie(tmp_path, events, rubric, rule):
    """Nothing in an index names a place: a batch that was moved gives the same data."""
    write_batch(tmp_path / "here", events, rule.near_duplicates)
    expected = files_of([tmp_path / "here"], tmp_path / "a", rubric, rule)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert files_of([tmp_path / "there"], tmp_path / "b", rubric, rule) == expected
    pairs = list(read_records(tmp_path / "b" / "train.jsonl", PreferencePair))
    assert [pair.id for pair in pairs] == sorted(pair.id for pair in pairs)
