"""Failure cases: the answers that a person has to read before a release, the worst regressions
first.

A case is an answer of the aligned policy that breaks at least one yes-or-no metric, or that could
not be scored. It is a regression when the reference or the champion did better on that metric and
the same prompt, and a plain failure otherwise. Averages hide both: a policy that repairs fifty
answers and breaks forty has improved, and forty people meet something that used to work.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from plumbline.evaluation.scoring import ScoredSample, measure
from plumbline.records import Record
from plumbline.schema.conversations import Message
from plumbline.schema.held_out import EvalPrompt, Policy
from plumbline.schema.identifiers import Identifier, content_id
from plumbline.schema.metrics import METRICS, Expected
from plumbline.storage.jsonl import read_records, write_records

FILE: Final = "failures.jsonl"
"""Name of the file in a tree of held-out evals."""
UNSCORED: Final = "unscored"
"""Stands for the metric of an answer that could not be scored."""
SEVERITY: Final[Mapping[str, float]] = {
    "forbidden_action": 1.0,
    "harmful_compliance": 1.0,
    UNSCORED: 0.7,
    "over_refusal": 0.6,
    "garbled": 0.5,
    "empty": 0.5,
    "correctness": 0.4,
    "allowed_action": 0.4,
    "truncated": 0.2,
}
"""How bad it is to break a metric, 0 to 1: what may hurt somebody, then what nobody could judge,
then what only fails to help."""
OTHER: Final = 0.3
"""Severity of a metric that the table does not name."""


class PolicyAnswer(Record):
    """What one policy answered, and what was made of it."""

    response: str
    label: str = Field(description="what the scorer calls the response, in one word")
    unscored: str | None = Field(description="why it could not be scored; null when it could")
    reward: float | None = Field(
        description="reward under the reward model; null when there is none"
    )
    broken: tuple[Identifier, ...] = Field(
        description="yes-or-no metrics that the response breaks, the worst first"
    )


class FailureCase(Record):
    """One answer of the aligned policy that a person has to look at, beside what the other policies
    answered."""

    id: Identifier = Field(
        description=(
            "content id of the prompt and the aligned answer; the same after every evaluation that"
            " finds the same answer"
        )
    )
    prompt_id: Identifier
    suite: Identifier
    slice: Identifier
    expected: Expected
    kind: Literal["regression", "failure"]
    metric: Identifier = Field(
        description=(
            "the worst metric that was broken, or `unscored`; of a regression the worst that got"
            " worse"
        )
    )
    worse_than: tuple[Policy, ...] = Field(
        description=(
            "policies that did not break this metric on the same prompt; empty for a plain failure"
        )
    )
    severity: float = Field(ge=0, le=1)
    prompt: tuple[Message, ...]
    aligned: PolicyAnswer
    reference: PolicyAnswer
    champion: PolicyAnswer | None = Field(
        description="null when there is no champion, or when it is the same policy"
    )
    alike: int = Field(
        ge=1,
        description=(
            "held-out prompts with exactly this text and this answer; only the worst of them is a"
            " case"
        ),
    )


def failure_cases(
    prompts: Sequence[EvalPrompt], scored: Sequence[ScoredSample]
) -> tuple[FailureCase, ...]:
    """The failure cases in the order in which people should read them.

    Regressions stand before plain failures, then the more severe metric comes first. Among equals
    the slices take turns, and within a slice the answer with the highest reward leads: it is the
    failure that more training would make more of.

    Args:
        prompts: The held-out prompts; those without scored samples give no case, nor do those whose
            samples were set aside.
        scored: Samples of the reference, the aligned policy and, when there is one, the champion.
    """
    answers: dict[str, dict[Policy, ScoredSample]] = defaultdict(dict)
    for sample in scored:
        if sample.set_aside is None:
            answers[sample.prompt_id][sample.policy] = sample
    cases = [
        case
        for prompt in prompts
        if (case := _case(prompt, answers.get(prompt.id, {}))) is not None
    ]
    alike = Counter(case.id for case in cases)
    distinct = {
        case.id: case.model_copy(update={"alike": alike[case.id]})
        for case in sorted(cases, key=_rank, reverse=True)
    }
    return _in_turns(sorted(distinct.values(), key=_rank))


def write_failures(path: Path, cases: Iterable[FailureCase]) -> int:
    """Write the cases in their order; returns how many."""
    return write_records(path, cases)


def read_failures(path: Path) -> tuple[FailureCase, ...]:
    """The cases of a file, in their order.

    Raises:
        DataError: If the file cannot be read or a row is no failure case.
    """
    return tuple(read_records(path, FailureCase))


def _case(prompt: EvalPrompt, sides: Mapping[Policy, ScoredSample]) -> FailureCase | None:
    if "aligned" not in sides or "reference" not in sides:
        return None
    answers = {policy: _answer(sample) for policy, sample in sides.items()}
    aligned = answers["aligned"]
    if not aligned.broken:
        return None
    better = {
        metric: tuple(
            policy
            for policy, answer in answers.items()
            if metric not in _known_or_all(answer, metric)
        )
        for metric in aligned.broken
    }
    metric = next((metric for metric in aligned.broken if better[metric]), aligned.broken[0])
    return FailureCase(
        id=content_id(
            {
                "prompt": [message.model_dump() for message in prompt.prompt],
                "response": aligned.response,
            }
        ),
        prompt_id=prompt.id,
        suite=prompt.suite,
        slice=prompt.context.slice,
        expected=prompt.expected,
        kind="regression" if better[metric] else "failure",
        metric=metric,
        worse_than=tuple(sorted(better[metric], reverse=True)),
        severity=_severity(metric),
        prompt=prompt.prompt,
        aligned=aligned,
        reference=answers["reference"],
        champion=answers.get("champion"),
        alike=1,
    )


def _known_or_all(answer: PolicyAnswer, metric: str) -> tuple[str, ...]:
    """Metrics that count as broken for a comparison: an unscored answer is never evidence that a
    policy did better."""
    return (
        answer.broken if answer.unscored is None or metric == UNSCORED else (*answer.broken, metric)
    )


def _answer(sample: ScoredSample) -> PolicyAnswer:
    broken = [
        name
        for name, value in measure(sample).items()
        if isinstance(value, bool) and _breaks(name, value)
    ]
    broken += [UNSCORED] * (sample.unscored is not None)
    return PolicyAnswer(
        response=sample.response,
        label=sample.label,
        unscored=sample.unscored,
        reward=sample.reward,
        broken=tuple(sorted(broken, key=lambda name: (-_severity(name), name))),
    )


def _breaks(metric: str, value: bool) -> bool:
    better = METRICS[metric].better
    return better != "neither" and value == (better == "lower")


def _severity(metric: str) -> float:
    return SEVERITY.get(metric, OTHER)


def _rank(case: FailureCase) -> tuple[bool, float, str, float, str]:
    reward = case.aligned.reward
    return (
        case.kind != "regression",
        -case.severity,
        case.slice,
        float("inf") if reward is None else -reward,
        case.prompt_id,
    )


def _in_turns(ranked: Sequence[FailureCase]) -> tuple[FailureCase, ...]:
    """The same cases with the slices taking turns among cases of one kind and severity."""
    taken: Counter[tuple[str, float, str]] = Counter()
    turns = []
    for case in ranked:
        group = (case.kind, case.severity, case.slice)
        turns.append((case.kind != "regression", -case.severity, taken[group], case))
        taken[group] += 1
    return tuple(turn[-1] for turn in sorted(turns, key=lambda turn: turn[:3]))
