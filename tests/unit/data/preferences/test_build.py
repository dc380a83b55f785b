import hashlib
import random
import unicodedata
from collections import Counter

import pytest

from plumbline.data.splits import judged_pair, pair_id, prompt_key, split_of
from plumbline.records import canonical_json
from plumbline.schema.identifiers import content_id
from plumbline.storage.jsonl import write_records
from tests.unit.in_memory import build_pairs


def pairs_of(data):
    return [pair for pairs in data.splits.values() for pair in pairs]


def test_votes_in_either_order_make_one_pair(rubric, rule, make_event):
    votes = [
        make_event(annotator="r1", strength=1),
        make_event(annotator="r2", first="No", second="A long answer", preferred=1, strength=3),
        make_event(annotator="r3", preferred=1, strength=2),
    ]
    data = build_pairs(votes, rubric, rule, 0, [])
    (pair,) = pairs_of(data)
    assert (pair.chosen, pair.rejected) == ("A long answer", "No")
    assert pair.votes == 3
    assert pair.agreement == pytest.approx(2 / 3)
    assert pair.margin == pytest.approx(
        (0.25 + 1) / 2
    )  # the two votes for it: slightly and significantly
    assert pair.event_ids == tuple(sorted(vote.id for vote in votes))


def test_every_reason_to_set_aside(rubric, rule, make_event, make_held_out):
    tie = make_event("tie", preferred=None, strength=0)
    split_votes = [
        make_event("split", annotator="r1"),
        make_event("split", annotator="r2", preferred=1),
    ]
    close_votes = [
        make_event("close", annotator=f"r{n}", preferred=int(n < 3)) for n in range(7)
    ]  # 4 of 7 is below 0.6
    leaked = make_event("  What IS\n this? ")
    old = make_event("old", rubric="test@2")
    same = make_event("same", "x", "x ")
    blank = make_event("blank", "x", " ")
    good = make_event("good")
    events = [tie, *split_votes, *close_votes, leaked, old, same, blank, good]
    data = build_pairs(events, rubric, rule, 0, make_held_out("What is this?"))
    expected = {event.id: "contradiction" for event in split_votes} | {
        event.id: "low agreement" for event in close_votes
    }
    expected |= {
        tie.id: "tie",
        leaked.id: "held-out prompt",
        old.id: "other rubric",
        same.id: "same response",
        blank.id: "empty response",
    }
    assert dict(data.set_aside) == expected
    assert [pair.event_ids for pair in pairs_of(data)] == [(good.id,)]
    assert (
        data.counts["events"]
        == len(events)
        == data.counts["events used"] + data.counts["events set aside"]
    )
    assert data.counts["set aside: low agreement"] == 7


def test_a_tie_beside_votes_is_set_aside_and_the_votes_count(rubric, rule, make_event):
    tie, vote = make_event(annotator="r1", preferred=None, strength=0), make_event(annotator="r2")
    data = build_pairs([tie, vote], rubric, rule, 0, [])
    assert [pair.event_ids for pair in pairs_of(data)] == [(vote.id,)]
    assert data.set_aside == ((tie.id, "tie"),)


def test_an_event_given_twice_is_one_vote(rubric, rule, make_event):
    twice = build_pairs([make_event(), make_event()], rubric, rule, 0, [])
    assert twice == build_pairs([make_event()], rubric, rule, 0, [])
    assert [(pair.votes, pair.weight) for pair in pairs_of(twice)] == [(1, 1.0)]


def test_the_order_of_the_events_does_not_change_a_byte(
    tmp_path, rubric, rule, many_events, make_event
):
    events = [
        *many_events,
        make_event("tie", preferred=None, strength=0),
        *(make_event("again", annotator=f"r{n}", strength=n % 4) for n in range(5)),
    ]
    files = []
    for seed in range(3):
        random.Random(seed).shuffle(events)
        data = build_pairs(events, rubric, rule, 0, [])
        for name, pairs in data.splits.items():
            write_records(tmp_path / str(seed) / f"{name}.jsonl", pairs)
        files.append(
            (
                {path.name: path.read_bytes() for path in (tmp_path / str(seed)).iterdir()},
                data.set_aside,
            )
        )
    assert files[0] == files[1] == files[2]
    assert all(files[0][0].values())


def test_a_prompt_keeps_its_side_when_data_is_added(rubric, rule, many_events):
    before, after = (
        {
            pair.id: split
            for split, pairs in build_pairs(events, rubric, rule, 7, []).splits.items()
            for pair in pairs
        }
        for events in (many_events[:40], many_events)
    )
    assert before.items() <= after.items()
    other_seed = {
        pair.id: split
        for split, pairs in build_pairs(many_events, rubric, rule, 8, []).splits.items()
        for pair in pairs
    }
    assert other_seed != after


def test_one_prompt_is_never_on_two_sides(rubric, rule, make_event):
    """Forty wordings of ten prompts that differ in case, spaces and width only."""
    wordings = [
        lambda p: p,
        str.upper,
        lambda p: p.replace(" ", "  \n"),
        lambda p: "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else c for c in p),
    ]
    events = [
        make_event(wording(f"question number {n}"), f"a{n}", f"b{n}")
        for n in range(10)
        for wording in wordings
    ]
    data = build_pairs(events, rubric, rule, 0, [])
    sides = {}
    for split, pairs in data.splits.items():
        for pair in pairs:
            sides.setdefault(prompt_key(pair.prompt), set()).add(split)
    assert len(sides) == 10
    assert all(len(side) == 1 for side in sides.values())


def test_the_shares_are_those_of_the_rule(rule):
    counts = Counter(split_of(f"prompt {n}", rule.split, 0) for n in range(20_000))
    assert counts["validation"] / 20_000 == pytest.approx(0.2, abs=0.01)
    assert counts["calibration"] / 20_000 == pytest.approx(0.1, abs=0.01)


def test_a_pair_keeps_its_id_when_more_people_judge_it(rubric, rule, make_event):
    first, second = make_event(annotator="r1"), make_event(annotator="r2")
    (one,), (two,) = (
        pairs_of(build_pairs(events, rubric, rule, 0, [])) for events in ([first], [first, second])
    )
    assert one.id == two.id
    assert (one.votes, two.votes) == (1, 2)


def test_the_key_looks_at_turns_but_not_at_the_system_message(make_turns):
    from plumbline.schema.conversations import Message

    plain = make_turns("Hello  there")
    assert prompt_key((Message(role="system", content="Be kind."), *plain)) == prompt_key(
        make_turns("hello THERE")
    )
    assert prompt_key(make_turns("a", "b", "c")) != prompt_key(make_turns("a b c"))


@pytest.mark.parametrize(
    "text",
    [
        "plain  Text",
        'a "quote" \\ back',
        "line\nfeed\ttab\x00\x1f\x7f",
        "\u2028 \u00e9 \U0001f600 \uff21 ß İ",
        "",
    ],
)
def test_the_keys_are_digests_of_canonical_json(make_turns, rule, text):
    """Keys of data that exists must not change: each is the SHA-256 of the canonical JSON of what
    it stands for, built here in the plain way."""
    prompt = make_turns(text or "x", "Answer " + text, text + "?")
    turns = [[message.role, message.content] for message in prompt]
    folded = [
        [role, " ".join(unicodedata.normalize("NFKC", content).casefold().split())]
        for role, content in turns
    ]
    assert prompt_key(prompt) == hashlib.sha256(canonical_json(folded)).hexdigest()
    assert (
        judged_pair(prompt, ["b" + text, "a"])
        == hashlib.sha256(canonical_json([turns, ["a", "b" + text]])).hexdigest()
    )
    assert pair_id(prompt, ("b" + text, "a")) == content_id([turns, "b" + text, "a"])
    position = int.from_bytes(hashlib.sha256(canonical_json([3, text])).digest()[:8], "big") / 2**64
    assert split_of(text, rule.split, 3) == (
        "validation" if position < 0.2 else "calibration" if position < 0.2 + 0.1 else "train"
    )
