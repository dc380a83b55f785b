"""How reliable a judge is: agreement with people beside how far people agree with each other, and
what turns it that should not.

A judge is reliable only when the bounds of its intervals lie on the good side of the rule; too few
labels do not pass. What is looked at:

- **agreement** with human labels, on all pairs and by slice; on pairs whose better response is the
  longer one and on the others, where a judge that only measures length is always right and always
  wrong;
- **length-controlled** agreement, and the same for politeness (see
  `plumbline.statistics.win_rates`);
- **flips**: verdicts that change with the order of the responses, and the share of verdicts for
  whichever stands first;
- **courtesies**: right verdicts that are lost as soon as the worse response is wrapped in polite
  phrases;
- **unparsed** replies, which are counted and are never ties.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from pydantic import Field

from plumbline.data.formats.rewardbench import JudgedPair
from plumbline.errors import JudgeRefused
from plumbline.evaluation.judges.llm_judge import JudgeReply
from plumbline.evaluation.judges.outcomes import outcomes
from plumbline.evaluation.judges.pair_agreement import cluster_of_pair, pair_agreement, share
from plumbline.evaluation.refusals.report import ALL, DetectorReport
from plumbline.evaluation.reward_models.accuracy import Rewards
from plumbline.profile.evaluation import JudgesConfig
from plumbline.records import Record, sha256
from plumbline.schema.checks import CheckVerdict, Verdict
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import WinRate
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.identifiers import Identifier, Text
from plumbline.schema.preferences import PreferencePair
from plumbline.statistics.verdicts import rate_text

JudgeName = Literal["refusals", "reward-model", "llm"]
FILE: Final = "reliability.json"
REPLIES: Final = "replies.jsonl"
CHANCE: Final = 0.5
"""Agreement of a judge that tosses a coin."""
_WORST_FIRST: Final[tuple[Verdict, ...]] = ("error", "fail", "inconclusive", "pass")


class JudgeReliability(Record):
    """What was measured about one judge; null where it does not apply or where there was nothing to
    estimate from."""

    judge: JudgeName
    identity: Text = Field(description="which judge: digest of the artifact, or model and endpoint")
    items: int = Field(ge=0, description="labelled items that it was shown: pairs, or completions")
    agreement: Estimate | None = Field(
        description="share of the items that it decides on which it says what people say"
    )
    ceiling: Estimate | None = Field(
        description="share on which a person says what the other people say"
    )
    slices: dict[Identifier, Estimate] = Field(description="agreement by slice, subset or model")
    longer: Estimate | None = Field(
        default=None, description="agreement where the better response is the longer one"
    )
    shorter: Estimate | None = Field(
        default=None, description="agreement where the better response is the shorter one"
    )
    length: WinRate | None = Field(
        default=None,
        description="wins of the better response; `length_controlled` is the rate at equal length",
    )
    politeness: WinRate | None = Field(
        default=None, description="the same with polite phrases in the place of length"
    )
    ties: int = Field(default=0, ge=0, description="pairs that it calls equal in both orders")
    flips: Estimate | None = Field(
        default=None, description="share of the pairs whose verdict depends on the order"
    )
    first: Estimate | None = Field(
        default=None,
        description=(
            "share of the verdicts, ties left out, for the response that stands first; 50 % is no"
            " bias"
        ),
    )
    courtesy: Estimate | None = Field(
        default=None,
        description=(
            "share of its right verdicts that are lost when the worse response is made polite"
        ),
    )
    unparsed: Estimate | None = Field(
        default=None, description="share of its replies that are no verdict"
    )

    def to_markdown(self) -> str:
        """The measurements as a table for people."""
        named: dict[str, Estimate | None] = {
            "agreement with people": self.agreement,
            "people among themselves": self.ceiling,
            "where the longer response is better": self.longer,
            "where the shorter response is better": self.shorter,
            "at equal length": None if self.length is None else self.length.length_controlled,
            "at equal politeness": (
                None if self.politeness is None else self.politeness.length_controlled
            ),
            "depends on the order": self.flips,
            "for the first response": self.first,
            "lost to politeness": self.courtesy,
            "replies without a verdict": self.unparsed,
        }
        rows = [
            f"| {what} | {rate_text(estimate)} | {estimate.n} |"
            for what, estimate in named.items()
            if estimate is not None
        ]
        rows += [
            f"| in {name} | {rate_text(estimate)} | {estimate.n} |"
            for name, estimate in self.slices.items()
        ]
        return "\n".join(
            [
                f"**{self.judge}** ({self.items} items)",
                "",
                "| | share | n |",
                "|---|---|---|",
                *rows,
            ]
        )


class Reliabilities(Record):
    """What was measured about every judge: the file `reliability.json`."""

    judges: tuple[JudgeReliability, ...]


def judged_pairs_of(pairs: Iterable[PreferencePair]) -> list[JudgedPair]:
    """Preference pairs as pairs for a judge, by slice."""
    return [
        JudgedPair(
            id=pair.id,
            prompt=pair.prompt,
            chosen=pair.chosen,
            rejected=pair.rejected,
            subset=pair.context.slice,
        )
        for pair in pairs
    ]


def sample_pairs(pairs: Sequence[JudgedPair], count: int, seed: int) -> list[JudgedPair]:
    """At most `count` different pairs, drawn by a seeded hash: the same ones whatever their
    order."""
    different = {pair.id: pair for pair in pairs}.values()
    return sorted(different, key=lambda pair: sha256(f"{seed}|{pair.id}".encode()))[:count]


def reliability_of_rewards(
    identity: str,
    pairs: Sequence[JudgedPair],
    rewards: Mapping[str, Rewards],
    events: Iterable[FeedbackEvent],
    confidence_level: float,
) -> JudgeReliability:
    """The reward model as judge: it prefers the response with the higher reward; equal rewards are
    ties, missing ones are unscored."""
    wins: list[float | None] = []
    for pair in pairs:
        pair_rewards = rewards.get(pair.id)
        wins.append(
            None
            if pair_rewards is None
            else (pair_rewards.chosen > pair_rewards.rejected)
            + 0.5 * (pair_rewards.chosen == pair_rewards.rejected)
        )
    return JudgeReliability(
        **pair_agreement("reward-model", identity, pairs, wins, events, confidence_level),
        ties=wins.count(0.5),
    )


def reliability_of_replies(
    identity: str,
    pairs: Sequence[JudgedPair],
    replies: Sequence[JudgeReply],
    events: Iterable[FeedbackEvent],
    confidence_level: float,
) -> JudgeReliability:
    """A language model as judge, from its replies about every pair in both orders.

    Only a pair that it decides alike in both orders counts as decided; ties and flips are neither
    right nor wrong.
    """
    plain, polite = outcomes(replies), outcomes(replies, courteous=True)
    cluster = {pair.id: cluster_of_pair(pair) for pair in pairs}
    plain_replies = [reply for reply in replies if not reply.courteous]
    decided = [reply for reply in plain_replies if reply.verdict in ("first", "second")]
    tried = [pair for pair in polite if plain[pair].preferred == "chosen"]
    lost = [
        None if polite[pair].flipped is None else polite[pair].preferred != "chosen"
        for pair in tried
    ]
    return JudgeReliability(
        **pair_agreement(
            "llm", identity, pairs, [plain[pair.id].win for pair in pairs], events, confidence_level
        ),
        ties=sum(outcome.preferred == "tie" for outcome in plain.values()),
        flips=share(
            [plain[pair.id].flipped for pair in pairs], confidence_level, list(cluster.values())
        ),
        first=share(
            [reply.verdict == "first" for reply in decided],
            confidence_level,
            [cluster[reply.pair] for reply in decided],
        ),
        courtesy=share(lost, confidence_level, [cluster[pair] for pair in tried]),
        unparsed=share(
            [reply.verdict is None for reply in replies],
            confidence_level,
            [cluster[reply.pair] for reply in replies],
        ),
    )


def reliability_of_detector(identity: str, report: DetectorReport) -> JudgeReliability:
    """The refusal detector as judge, on models that it never saw; the ceiling is one annotator
    against the other."""
    overall = report.find("detector")
    models = {
        rates.model: rates.agreement
        for rates in report.rates
        if rates.predictor == "detector" and rates.label == overall.label and rates.model != ALL
    }
    ceiling = report.find("annotation_1", "annotation_2").agreement
    return JudgeReliability(
        judge="refusals",
        identity=identity,
        items=overall.agreement.n,
        agreement=overall.agreement,
        ceiling=ceiling,
        slices=models,
    )


def reliability_check(reliability: JudgeReliability, rule: JudgesConfig) -> CheckVerdict:
    """Whether a judge is reliable: the check `judge-<name>`, as bad as the worst of its parts.

    Length can only fail a judge, never hold it: where the better response is the longer one, or the
    shorter one, and the judge is worse than chance there.
    """
    at_most = {
        "its verdicts depend on the order of the responses": (reliability.flips, rule.max_flips),
        "right verdicts are lost to politeness": (reliability.courtesy, rule.max_flips),
        "replies are no verdict": (reliability.unparsed, rule.max_unparsed),
    }
    verdicts = [_at_least("it agrees with people", reliability.agreement, rule.min_agreement)]
    verdicts += [
        _at_most(what, estimate, limit)
        for what, (estimate, limit) in at_most.items()
        if estimate is not None
    ]
    for which, estimate in (("shorter", reliability.shorter), ("longer", reliability.longer)):
        if estimate is not None and estimate.high < CHANCE:
            verdicts.append(
                (
                    "fail",
                    (
                        f"where people prefer the {which} response it agrees with them in"
                        f" {rate_text(estimate)} of {estimate.n}: it measures length"
                    ),
                )
            )
    worst = min((verdict for verdict, _ in verdicts), key=_WORST_FIRST.index)
    named = {
        "agreement": reliability.agreement,
        "ceiling": reliability.ceiling,
        "flips": reliability.flips,
        "courtesy": reliability.courtesy,
    }
    remedy = {
        "pass": "",
        "inconclusive": "Label more items, so that the intervals become narrower.",
        "error": (
            "Give it labelled items: pairs that people judged (preference_data,"
            " judges.judged_pairs), or completions (judges.refusal_labels)."
        ),
        "fail": (
            "Do not decide by this judge: take another one, or improve its instructions or its"
            " training, and measure it again."
        ),
    }[worst]
    return CheckVerdict(
        name=f"judge-{reliability.judge}",
        verdict=worst,
        explanation="; ".join(text for _, text in verdicts),
        remedy=remedy,
        estimates={
            name: estimate
            for name, estimate in (named | {"unparsed": reliability.unparsed}).items()
            if estimate is not None
        },
    )


def required_judges(rule: JudgesConfig) -> tuple[str, ...]:
    """Names of the checks on judges that a profile with this rule cannot do without."""
    optional: dict[JudgeName, bool] = {
        "reward-model": True,
        "refusals": rule.refusal_labels is not None,
        "llm": rule.llm is not None,
    }
    return tuple(f"judge-{name}" for name, wanted in optional.items() if wanted)


def require_reliable(reliability: JudgeReliability, rule: JudgesConfig) -> CheckVerdict:
    """The verdict on a judge that passes.

    Raises:
        JudgeRefused: If it does not pass; says why and what to do.
    """
    verdict = reliability_check(reliability, rule)
    if verdict.verdict != "pass":
        raise JudgeRefused(
            f"judge '{reliability.judge}' ({reliability.identity}) is not heard, {verdict.verdict}:"
            f" {verdict.explanation}. {verdict.remedy}"
        )
    return verdict


def _at_least(what: str, estimate: Estimate | None, limit: float) -> tuple[Verdict, str]:
    if estimate is None:
        return (
            "error",
            (
                "there is no labelled item on which it decided anything, so nobody knows how far it"
                " agrees with people"
            ),
        )
    verdict: Verdict = (
        "pass" if estimate.low >= limit else "fail" if estimate.high < limit else "inconclusive"
    )
    return (
        verdict,
        (
            f"{what} in {rate_text(estimate)} of {estimate.n} items, and the lower bound must reach"
            f" {limit:.1%}"
        ),
    )


def _at_most(what: str, estimate: Estimate, limit: float) -> tuple[Verdict, str]:
    verdict: Verdict = (
        "pass" if estimate.high <= limit else "fail" if estimate.low > limit else "inconclusive"
    )
    return (
        verdict,
        f"{what} in {rate_text(estimate)} of {estimate.n}, and the upper bound may be {limit:.1%}",
    )
