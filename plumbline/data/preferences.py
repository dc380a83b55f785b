"""Preference data: admitted events become pairs, split by prompt group, with every event accounted for."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from plumbline.data.prompt_groups import SPLITS, held_out_keys, judged_pair, prompt_key, split_of
from plumbline.data.rules import PreferenceRule
from plumbline.data.schema import Comparison, EvalPrompt, FeedbackEvent, PreferencePair, content_id
from plumbline.errors import InvalidPreferences
from plumbline.rubric import Rubric


class SetAside(NamedTuple):
    """An event that is in no pair, with the reason."""

    id: str
    reason: str


@dataclass(frozen=True)
class PreferenceData:
    """Pairs by split and the events that were set aside; both sorted by id."""

    splits: dict[str, tuple[PreferencePair, ...]]
    """`train`, `validation` and `calibration`."""
    set_aside: tuple[SetAside, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Events in, used and set aside (in all and by reason), pairs in all and by split."""
        used = sum(len(pair.event_ids) for pairs in self.splits.values() for pair in pairs)
        reasons = Counter(item.reason for item in self.set_aside)
        return {
            "events": used + len(self.set_aside),
            "events used": used,
            "events set aside": len(self.set_aside),
            **{f"set aside: {reason}": count for reason, count in sorted(reasons.items())},
            "pairs": sum(map(len, self.splits.values())),
            **{f"pairs: {name}": len(self.splits[name]) for name in SPLITS},
        }


def build_pairs(events: Iterable[FeedbackEvent], rubric: Rubric, rule: PreferenceRule, seed: int, held_out_prompts: Iterable[EvalPrompt]) -> PreferenceData:
    """Aggregate the votes for each pair of responses.

    Every event is one vote. Votes for the same prompt and the same two responses, in either order, make one pair: the majority is chosen,
    `agreement` is its share, `margin` the mean of the rubric's margins over the votes for it. Set aside are ties (`tie`), equal votes
    (`contradiction`), agreement below the rule (`low agreement`), prompts of the eval vault (`held-out prompt`) and events that admission
    should have held back (`other rubric`, `same response`, `empty response`). The result does not depend on the order of the events.

    Raises:
        InvalidPreferences: If one event comes twice: it would vote twice.
    """
    ordered = sorted(events, key=lambda event: event.id)
    _reject_repeats(ordered)
    vault = held_out_keys(held_out_prompts)
    set_aside: list[SetAside] = []
    groups: defaultdict[str, list[FeedbackEvent]] = defaultdict(list)
    for event in ordered:
        reason = _reason_to_set_aside(event, rubric, vault)
        if reason is None:
            groups[judged_pair(event.prompt, [response.text for response in event.responses])].append(event)
        else:
            set_aside.append(SetAside(id=event.id, reason=reason))
    splits: dict[str, list[PreferencePair]] = {name: [] for name in SPLITS}
    for votes in groups.values():
        result = _aggregate(votes, rubric, rule.min_agreement)
        if isinstance(result, str):
            set_aside += [SetAside(id=event.id, reason=result) for event in votes]
        else:
            splits[split_of(prompt_key(result.prompt), rule.split, seed)].append(result)
    data = PreferenceData(
        splits={name: tuple(sorted(pairs, key=lambda pair: pair.id)) for name, pairs in splits.items()},
        set_aside=tuple(sorted(set_aside, key=lambda item: item.id)),
    )
    _account_for(ordered, data)
    return data


def _reject_repeats(ordered: Sequence[FeedbackEvent]) -> None:
    for before, after in itertools.pairwise(ordered):
        if before.id == after.id:
            raise InvalidPreferences(f"event {after.id} comes twice; an event is one vote: give each event once")


def _reason_to_set_aside(event: FeedbackEvent, rubric: Rubric, vault: frozenset[str]) -> str | None:
    texts = [response.text.strip() for response in event.responses]
    if event.rubric != rubric.label:
        return "other rubric"
    if not all(texts):
        return "empty response"
    if len(set(texts)) != len(texts):
        return "same response"
    if prompt_key(event.prompt) in vault:
        return "held-out prompt"
    if not isinstance(event.judgment, Comparison):
        return "no comparison"
    return "tie" if event.winner is None else None


def _aggregate(votes: Sequence[FeedbackEvent], rubric: Rubric, min_agreement: float) -> PreferencePair | str:
    """The pair that votes without ties agree on, or the reason why there is none."""
    by_text: defaultdict[str, list[FeedbackEvent]] = defaultdict(list)
    for event in votes:
        by_text[_winner(event)].append(event)
    chosen = max(by_text, key=lambda text: len(by_text[text]))
    winning = by_text[chosen]
    if 2 * len(winning) == len(votes):
        return "contradiction"
    agreement = len(winning) / len(votes)
    if agreement < min_agreement:
        return "low agreement"
    prompt = winning[0].prompt
    rejected = next(response.text for response in winning[0].responses if response.text != chosen)
    margins = rubric.margins.table()
    return PreferencePair(
        # The votes are not part of the id: a pair keeps its id when more people judge it.
        id=content_id([[[message.role, message.content] for message in prompt], chosen, rejected]),
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        margin=math.fsum(margins[event.judgment.strength] for event in winning if isinstance(event.judgment, Comparison)) / len(winning),
        votes=len(votes),
        agreement=agreement,
        event_ids=tuple(sorted(event.id for event in votes)),
        rubric=rubric.label,
        context=winning[0].context,
        synthetic=any(event.synthetic for event in votes),
    )


def _winner(event: FeedbackEvent) -> str:
    assert event.winner is not None, "ties are set aside before votes are counted"
    return event.winner


def _account_for(events: Sequence[FeedbackEvent], data: PreferenceData) -> None:
    """Every event is in exactly one pair, or set aside once."""
    placed = [identifier for pairs in data.splits.values() for pair in pairs for identifier in pair.event_ids]
    placed += [item.id for item in data.set_aside]
    assert sorted(placed) == [event.id for event in events], "events are not all accounted for exactly once"
