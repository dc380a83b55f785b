"""The build agrees with a plain recomputation from random feedback."""

import itertools
import random
from collections import defaultdict

import pytest

from plumbline.data.splits import judged_pair, prompt_key, split_of
from plumbline.schema.feedback import (
    Ranking,
    ResponseLabel,
)
from plumbline.schema.preferences import SPLITS, PreferencePair, UnpairedLabel
from plumbline.storage.jsonl import read_records
from tests.unit.data.preferences.conftest import compare


def test_of_near_duplicates_the_held_side_stays(judge, build, rule):
    """One long answer to several wordings of a question: `report` keeps all pairs and names the
    group, `set_aside` keeps one, a held one first."""
    answer = " ".join(f"word{n}" for n in range(60))
    events = [
        judge(f"question {n} about the same long thing", [f"{answer} {n}", "no"], compare(0))
        for n in range(12)
    ]
    reported = build(events)
    assert len(reported.pairs) == 12
    (group,) = reported.rows("near_duplicates")
    assert sorted(row["id"] for row in group["pairs"]) == sorted(reported.pairs)
    assert {row["split"] for row in group["pairs"]} > {"train"}
    apart = rule.model_copy(
        update={"near_duplicates": rule.near_duplicates.model_copy(update={"action": "set_aside"})}
    )
    built = build(events, rule=apart)
    (kept,) = built.pairs.values()
    (group,) = built.rows("near_duplicates")
    assert [row["id"] for row in group["pairs"] if row["kept"]] == [kept.id]
    assert split_of(prompt_key(kept.prompt), rule.split, 0) != "train"
    assert list(built.set_aside.values()) == ["near duplicate"] * 11


def random_events(judge, generator):
    """Few prompts and texts, so that pairs are judged often and in every way."""
    events = {}
    for _ in range(300):
        texts = generator.sample(["a", "b", "c", "d"], generator.choice([1, 2, 2, 2, 3, 4]))
        if len(texts) == 1:
            judgment = ResponseLabel(desirable=generator.random() < 0.7)
        elif len(texts) == 2:
            judgment = compare(generator.choice([0, 0, 1, None]), generator.randrange(4))
        else:
            order = list(range(len(texts)))
            generator.shuffle(order)
            judgment = Ranking(
                order=(
                    tuple((n,) for n in order)
                    if generator.random() < 0.6
                    else (tuple(order[:2]), *((n,) for n in order[2:]))
                )
            )
        event = judge(
            f"question {generator.randrange(6)}",
            texts,
            judgment,
            minutes=generator.randrange(5),
            annotator=f"r{generator.randrange(6)}",
            rubric=f"test@{generator.choice([1, 2, 2, 2, 3])}",
            synthetic=generator.random() < 0.1,
        )
        events[event.id] = event
    return list(events.values())


def recomputed(events, rubric, min_agreement):
    """The rules in words, one pair at a time: {(prompt, texts): (chosen, margin, votes, weight,
    agreement, synthetic, rubric, ids) or reason}."""
    ballots = defaultdict(list)
    for event in events:
        if event.rubric not in ("test@1", "test@2"):
            continue
        texts = [response.text for response in event.responses]
        if isinstance(event.judgment, ResponseLabel):
            ballots[event.prompt[0].content, (texts[0],)].append(
                (event, event.judgment.desirable, 1.0, 0.0)
            )
            continue
        places = [0, 0]
        if isinstance(event.judgment, Ranking):
            places = [
                next(place for place, group in enumerate(event.judgment.order) if index in group)
                for index in range(len(texts))
            ]
        elif event.judgment.preferred is not None:
            places[1 - event.judgment.preferred] = 1
        untied = sum(a != b for a, b in itertools.combinations(places, 2))
        for (one, at), (other, to) in itertools.combinations(zip(texts, places, strict=True), 2):
            margin = (
                min(abs(at - to) * 0.25, 1)
                if isinstance(event.judgment, Ranking)
                else (0, 0.25, 0.5, 1)[event.judgment.strength]
            )
            winner = None if at == to else one if at < to else other
            ballots[event.prompt[0].content, tuple(sorted((one, other)))].append(
                (event, winner, 1 / max(untied, 1), margin)
            )
    result = {}
    for key, votes in ballots.items():
        newest = max(event.rubric for event, *_ in votes)
        last = {}
        for vote in sorted(
            (vote for vote in votes if vote[0].rubric == newest),
            key=lambda vote: (vote[0].time, vote[0].id),
        ):
            last[vote[0].annotator] = vote
        counted = [vote for vote in last.values() if vote[1] is not None]
        if not counted:
            continue
        sums = defaultdict(float)
        for _, winner, weight, _ in counted:
            sums[winner] += weight
        chosen = max(sums, key=lambda winner: sums[winner])
        share = sums[chosen] / sum(sums.values())
        if abs(share - 0.5) < 1e-9 or share < min_agreement:
            continue
        mine = [vote for vote in counted if vote[1] == chosen]
        margin = sum(weight * margin for *_, weight, margin in mine) / sum(
            weight for *_, weight, _ in mine
        )
        ids = tuple(sorted(event.id for event, *_ in counted))
        result[key] = (
            chosen,
            margin,
            len(counted),
            sum(sums.values()),
            share,
            any(event.synthetic for event, *_ in counted),
            newest,
            ids,
        )
    return result


@pytest.mark.requirement("D6")
@pytest.mark.parametrize("seed", range(6))
def test_the_build_agrees_with_a_plain_recomputation(judge, build, rubric, seed):
    events = random_events(judge, random.Random(seed))
    current = rubric.model_copy(update={"version": 2, "accepts": ("test@1",)})
    built = build(events, rubric=current)
    expected = recomputed(events, current, 0.6)
    found = {}
    for pair in built.pairs.values():
        texts = tuple(sorted((pair.chosen, pair.rejected)))
        found[pair.prompt[0].content, texts] = (
            pair.chosen,
            pytest.approx(pair.margin),
            pair.votes,
            pytest.approx(pair.weight),
            pytest.approx(pair.agreement),
            pair.synthetic,
            pair.rubric,
            pair.event_ids,
        )
    for label in read_records(built.folder / "labels.jsonl", UnpairedLabel):
        found[label.prompt[0].content, (label.response,)] = (
            label.desirable,
            0.0,
            label.votes,
            float(label.votes),
            pytest.approx(label.agreement),
            label.synthetic,
            label.rubric,
            label.event_ids,
        )
    assert len(expected) > 25
    assert found == expected
    cited = {identifier for *_, ids in expected.values() for identifier in ids}
    assert cited.isdisjoint(built.set_aside)
    assert cited | set(built.set_aside) == {event.id for event in events}
    reasons = {event.id: built.set_aside.get(event.id) for event in events}
    assert {identifier for identifier, reason in reasons.items() if reason == "other rubric"} == {
        event.id for event in events if event.rubric == "test@3"
    }


def test_the_written_lines_are_canonical_records(judge, build):
    built = build(
        [
            *random_events(judge, random.Random(7)),
            judge('a "quoted"\\ \u2028 prompt', ['"},{"source":{"', ',"text":"x\\'], compare(0)),
        ]
    )
    for name in SPLITS:
        data = (built.folder / f"{name}.jsonl").read_bytes()
        assert data == b"".join(
            pair.to_json() for pair in read_records(built.folder / f"{name}.jsonl", PreferencePair)
        )
    labels = built.folder / "labels.jsonl"
    assert labels.read_bytes() == b"".join(
        label.to_json() for label in read_records(labels, UnpairedLabel)
    )
    assert any(pair.chosen == '"},{"source":{"' for pair in built.pairs.values())
    for pair in built.pairs.values():
        assert judged_pair(pair.prompt, (pair.chosen, pair.rejected)) == judged_pair(
            pair.prompt, (pair.rejected, pair.chosen)
        )
