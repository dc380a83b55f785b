"""Aligned against reference by the verdicts of a judge: win rates with ties, and with length and
politeness held equal.

A policy that only learned to sound nice wins by a judge who likes that, and does not win at equal
politeness.
"""

from collections.abc import Mapping, Sequence

from pydantic import Field

from plumbline.data.formats.rewardbench import JudgedPair
from plumbline.errors import InsufficientEvidence
from plumbline.evaluation.judges.llm_judge import JudgeReply
from plumbline.evaluation.judges.outcomes import outcomes
from plumbline.evaluation.judges.style import courtesies
from plumbline.evaluation.scoring import ScoredSample
from plumbline.records import Record
from plumbline.schema.eval_report import WinRate
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import Identifier
from plumbline.statistics.clusters import cluster_of
from plumbline.statistics.verdicts import rate_text
from plumbline.statistics.win_rates import win_rate

ALL = "all"
NOTHING = " "
"""Stands for a response without a character, which a judge sees as such."""


class PolicyPair(Record):
    """The answers of both policies to one held-out prompt."""

    prompt: EvalPrompt
    aligned: ScoredSample
    reference: ScoredSample

    @property
    def identical(self) -> bool:
        """Whether both answered in the same words, which is a tie without a question."""
        return self.aligned.response == self.reference.response

    def judged(self) -> JudgedPair:
        """The pair for a judge; `chosen` is the aligned policy's response, whatever its worth."""
        chosen, rejected = (sample.response or NOTHING for sample in (self.aligned, self.reference))
        return JudgedPair(
            id=self.prompt.id,
            prompt=self.prompt.prompt,
            chosen=chosen,
            rejected=rejected,
            subset=self.prompt.context.slice,
        )


class JudgedPolicies(Record):
    """What one judge says about the aligned policy against the reference."""

    judge: Identifier
    identity: str
    evals: str = Field(description="digest of the held-out evals whose samples were judged")
    identical: int = Field(
        ge=0,
        description=(
            "prompts that both answered in the same words: ties that nobody was asked about"
        ),
    )
    length: dict[Identifier, WinRate] = Field(
        description="wins of the aligned policy by slice; `all` leaves variants out"
    )
    politeness: dict[Identifier, WinRate] = Field(
        description="the same with polite phrases in the place of length"
    )

    def to_markdown(self) -> str:
        """The win rates as a table for people."""
        lines = [
            (
                "| slice | wins, ties, losses, no verdict | win rate | at equal length | at equal"
                " politeness |"
            ),
            "|---|---|---|---|---|",
        ]
        for name, measured in self.length.items():
            counts = f"{measured.wins}, {measured.ties}, {measured.losses}, {measured.unscored}"
            polite = self.politeness[name]
            lines.append(
                f"| {name} | {counts} | {rate_text(measured.rate)} | {_controlled(measured)} |"
                f" {_controlled(polite)} |"
            )
        reasons = sorted(
            {
                measured.why_not
                for measured in (*self.length.values(), *self.politeness.values())
                if measured.why_not is not None
            }
        )
        return "\n".join([*lines, *(["", f"–: {'; or '.join(reasons)}."] if reasons else [])])


def policy_pairs(prompts: Sequence[EvalPrompt], scored: Sequence[ScoredSample]) -> list[PolicyPair]:
    """Both answers to every prompt that no estimate leaves out, in the order of the prompts."""
    sides = {
        (sample.prompt_id, sample.policy): sample for sample in scored if sample.set_aside is None
    }
    pairs = (
        (prompt, sides.get((prompt.id, "aligned")), sides.get((prompt.id, "reference")))
        for prompt in prompts
    )
    return [
        PolicyPair(prompt=prompt, aligned=aligned, reference=reference)
        for prompt, aligned, reference in pairs
        if aligned and reference
    ]


def wins_by_rewards(pairs: Sequence[PolicyPair]) -> list[float | None]:
    """1.0 where the reward model prefers the aligned policy's response, 0.5 for equal rewards, None
    where a reward is missing."""
    rewards = [(pair.aligned.reward, pair.reference.reward) for pair in pairs]
    return [None if a is None or b is None else (a > b) + 0.5 * (a == b) for a, b in rewards]


def wins_by_replies(
    pairs: Sequence[PolicyPair], replies: Sequence[JudgeReply]
) -> list[float | None]:
    """What a language model says in both orders; identical responses are ties."""
    outcome_of = outcomes(replies)
    return [0.5 if pair.identical else outcome_of[pair.prompt.id].win for pair in pairs]


def judged_policies(
    judge: str,
    identity: str,
    evals: str,
    pairs: Sequence[PolicyPair],
    wins: Sequence[float | None],
    confidence_level: float,
    *,
    cluster: str | None,
) -> JudgedPolicies:
    """Win rates by slice and in all.

    Args:
        judge: Name of the judge.
        identity: Which judge it was.
        evals: Digest of the held-out evals.
        pairs: Both answers to each prompt.
        wins: Who won each.
        confidence_level: Two-sided confidence level.
        cluster: Fact of a prompt that names what it is about.

    Raises:
        InsufficientEvidence: If no pair was judged.
    """
    # the same request in other words is no further prompt, so variants stay out of the whole
    slices = {ALL: [i for i, pair in enumerate(pairs) if "variant_of" not in pair.prompt.facts]}
    slices |= {
        name: [i for i, pair in enumerate(pairs) if pair.aligned.slice == name]
        for name in sorted({pair.aligned.slice for pair in pairs})
    }
    lengths = [
        (float(len(pair.aligned.response.split())), float(len(pair.reference.response.split())))
        for pair in pairs
    ]
    polite = [
        (float(courtesies(pair.aligned.response)), float(courtesies(pair.reference.response)))
        for pair in pairs
    ]
    clusters = [cluster_of(pair.prompt, cluster) for pair in pairs]
    if all(win is None for win in wins):
        raise InsufficientEvidence(
            f"judge '{judge}' gave no verdict on any of {len(pairs)} prompts; look at its replies"
        )
    identical = sum(pair.identical for pair in pairs)
    return JudgedPolicies(
        judge=judge,
        identity=identity,
        evals=evals,
        identical=identical,
        length=_rates(slices, wins, lengths, clusters, confidence_level),
        politeness=_rates(slices, wins, polite, clusters, confidence_level),
    )


def _rates(
    slices: Mapping[str, Sequence[int]],
    wins: Sequence[float | None],
    styles: Sequence[tuple[float, float]],
    clusters: Sequence[str],
    confidence_level: float,
) -> dict[str, WinRate]:
    """Win rates by slice, whose values are positions in the other sequences; slices without a
    verdict are left out."""
    return {
        name: win_rate(
            [wins[i] for i in members],
            [styles[i] for i in members],
            confidence_level,
            [clusters[i] for i in members],
        )
        for name, members in slices.items()
        if any(wins[i] is not None for i in members)
    }


def _controlled(measured: WinRate) -> str:
    return "–" if measured.length_controlled is None else rate_text(measured.length_controlled)
