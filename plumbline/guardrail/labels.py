"""What the guardrail is fitted and measured on: single responses that people judged to break the
rules or not.

The rows come from a version of the preference data (verdicts on attacks, and ordinary responses
that somebody found desirable) and from red-team successes that a person routed to the guardrail.
Nothing that trains the policy is among the attacks, so they are new to both.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pydantic import Field

from plumbline.data.splits import pair_id, prompt_key
from plumbline.profile.evaluation import GuardrailConfig
from plumbline.records import Record, canonical_json
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import ResponseLabel
from plumbline.schema.identifiers import Identifier, Text
from plumbline.schema.kinds import GUARDRAIL_FILE, LABELS_FILE
from plumbline.schema.preferences import AttackExample, UnpairedLabel
from plumbline.storage.jsonl import read_records

Part = Literal["train", "calibration", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "calibration", "test")
COMPARED, DISPUTED = (
    "a comparison that does not say whether the response is acceptable",
    "as many judged it a violation as not",
)
UNDESIRED = "undesirable for a reason that the label does not say"
SAME_PROMPT = "another response to a prompt that is measured already"


class GuardrailRow(Record):
    """One response with the majority of the judgments on it."""

    id: Identifier = Field(description="digest of prompt and response")
    prompt: tuple[Message, ...] = Field(min_length=1)
    response: str
    violation: bool = Field(
        description="true when the response breaks the rules and must not reach anybody"
    )
    tactic: Identifier | None = Field(description="tactic of the attack; null for ordinary traffic")
    slice: Identifier
    locale: Text
    votes: int = Field(gt=0)
    events: tuple[Identifier, ...] = Field(
        min_length=1,
        description="the judgments behind the label: feedback events, or the red-team attempt",
    )
    source: Literal["attack", "label", "route"] = Field(
        description="guardrail.jsonl, labels.jsonl, or a red-team success that was routed here"
    )

    @property
    def group(self) -> str:
        """Name of the prompt group: rows that share it stand on one side of the split."""
        return prompt_key(self.prompt)


class Labelled(NamedTuple):
    """The rows, sorted by id, and the judgments that are none, by reason."""

    rows: tuple[GuardrailRow, ...]
    set_aside: dict[str, int]


class _Vote(NamedTuple):
    prompt: tuple[Message, ...]
    response: str
    violation: bool
    tactic: Identifier | None
    slice: Identifier
    locale: str
    weight: int
    events: tuple[Identifier, ...]
    source: Literal["attack", "label", "route"]


def guardrail_rows(folder: Path, routed: Iterable[GuardrailRow] = ()) -> Labelled:
    """The labelled responses of a version of the preference data.

    A response that several people judged has the label of the majority. That an ordinary response
    is undesirable does not say that it breaks a rule, so such labels are set aside; so are
    comparisons that do not say which response is acceptable.

    Args:
        folder: The tree of a `preference_data` artifact.
        routed: Rows of red-team successes; their label stands, whatever else was said about the
            same response.
    """
    set_aside: Counter[str] = Counter()
    votes: dict[str, list[_Vote]] = {}
    for vote in _votes(folder, set_aside):
        votes.setdefault(pair_id(vote.prompt, [vote.response]), []).append(vote)
    rows = {row.id: row for row in routed}
    for identity, cast in votes.items():
        if identity in rows:
            continue
        for_violation, weight = (
            sum(vote.weight for vote in cast if vote.violation),
            sum(vote.weight for vote in cast),
        )
        if 2 * for_violation == weight:
            set_aside[DISPUTED] += weight
            continue
        rows[identity] = _row(identity, cast, 2 * for_violation > weight, weight)
    return Labelled(
        tuple(rows[identity] for identity in sorted(rows)), dict(sorted(set_aside.items()))
    )


def split_rows(
    rows: Iterable[GuardrailRow], rule: GuardrailConfig, seed: int
) -> tuple[dict[Part, tuple[GuardrailRow, ...]], tuple[GuardrailRow, ...]]:
    """The rows by what they are for, by prompt group, and those that are left out because their
    prompt is measured already.

    The side is a function of the prompt and the seed alone, so that it stays when data is added:
    what was measured on is never trained on later. In calibration and test one response to each
    prompt counts, because an exact interval is one of independent trials.
    """
    parts: dict[Part, list[GuardrailRow]] = {name: [] for name in PARTS}
    seen: set[str] = set()
    repeated: list[GuardrailRow] = []
    for row in rows:
        part = part_of(row.group, rule, seed)
        if part != "train" and row.group in seen:
            repeated.append(row)
            continue
        seen.add(row.group)
        parts[part].append(row)
    return {name: tuple(found) for name, found in parts.items()}, tuple(repeated)


def part_of(group: str, rule: GuardrailConfig, seed: int) -> Part:
    """What the rows of a prompt group are for."""
    # Not the split of the pairs: its name stands in the digest, so that the two are independent.
    digest = hashlib.sha256(canonical_json(["guardrail", seed, group])).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64  # in [0, 1)
    if position < rule.test:
        return "test"
    return "calibration" if position < rule.test + rule.calibration else "train"


def violation_row(
    prompt: Sequence[Message],
    response: str,
    *,
    attempt: Identifier,
    tactic: Identifier,
    slice_: Identifier,
    locale: str,
) -> GuardrailRow:
    """A red-team success that a person sent here."""
    vote = _Vote(tuple(prompt), response, True, tactic, slice_, locale, 1, (attempt,), "route")
    return _row(pair_id(prompt, [response]), [vote], True, 1)


def counts_of(parts: Mapping[Part, Sequence[GuardrailRow]]) -> dict[str, dict[str, int]]:
    """Rows by part and label."""
    return {
        part: {
            "violations": sum(row.violation for row in rows),
            "acceptable": sum(not row.violation for row in rows),
        }
        for part, rows in parts.items()
    }


def _votes(folder: Path, set_aside: Counter[str]) -> Iterator[_Vote]:
    for example in read_records(folder / GUARDRAIL_FILE, AttackExample):
        for place, response in enumerate(example.responses):
            acceptable = example.acceptable[place] if example.acceptable else None
            if acceptable is None and isinstance(example.judgment, ResponseLabel):
                acceptable = example.judgment.desirable
            if acceptable is None:
                set_aside[COMPARED] += 1
            else:
                context = example.context
                yield _Vote(
                    example.prompt,
                    response,
                    not acceptable,
                    example.attack,
                    context.slice,
                    context.locale,
                    1,
                    (example.id,),
                    "attack",
                )
    for label in read_records(folder / LABELS_FILE, UnpairedLabel):
        if label.desirable:
            yield _Vote(
                label.prompt,
                label.response,
                False,
                None,
                label.context.slice,
                label.context.locale,
                label.votes,
                label.event_ids,
                "label",
            )
        else:
            set_aside[UNDESIRED] += label.votes


def _row(identity: str, cast: Sequence[_Vote], violation: bool, weight: int) -> GuardrailRow:
    first = cast[0]
    return GuardrailRow(
        id=identity,
        prompt=first.prompt,
        response=first.response,
        violation=violation,
        tactic=first.tactic,
        slice=first.slice,
        locale=first.locale,
        votes=weight,
        events=tuple(sorted(event for vote in cast for event in vote.events)),
        source=first.source,
    )
