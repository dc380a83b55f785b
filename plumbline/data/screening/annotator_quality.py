"""Checks of annotators: who agrees less with the others than chance allows, who floods a batch,
which word goes with disagreement.

Every check says what it is able to find. With too few votes it reports `underpowered`, which is not
a pass. A finding is raised as a flag (see `flags`) and waits for a person; no check drops anything.

The agreement check and its power follow from one number, the others' agreement p0: a vote turned
round agrees where the honest vote did not, so that an annotator who turns a share f of the votes
agrees with p0 - f (2 p0 - 1). What it cannot see: a flag says that somebody judges differently, not
that the others are right; and annotators who are worse than average by more than the floor are
flagged, honest or not, so that the family-wise rate holds among annotators of one quality and is
exceeded where their qualities vary.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import polars as pl
from pydantic import Field
from scipy.stats import binom

from plumbline.profile.data import AnnotatorConfig
from plumbline.records import Record

POWER = 0.8
"""Probability with which a check must find what the rule calls detectable; below it the check is
underpowered."""
FLOOD_EVENTS = 20
"""Fewer events are no flood, whatever their share: a batch that closes by age may hold the events
of one person."""
Status = Literal["pass", "flagged", "underpowered"]


class AnnotatorResult(Record):
    """How one annotator agrees with the majority of the others who judged the same pairs."""

    annotator: str
    votes: int = Field(ge=0, description="judged pairs without ties")
    compared: int = Field(
        ge=0,
        description=(
            "votes on pairs where the others have a majority; a ranking's pairs count as one vote"
            " together"
        ),
    )
    agreement: float | None = Field(
        ge=0,
        le=1,
        description=(
            "share of the compared votes that are those of the majority; null when there is none"
        ),
    )
    others: float | None = Field(
        ge=0,
        le=1,
        description=(
            "the same share of all other annotators, on pairs that this one did not judge where"
            " there are enough"
        ),
    )
    power: float = Field(
        ge=0,
        le=1,
        description=(
            "probability of a flag for somebody who turns round the detectable share of the votes"
        ),
    )
    status: Status
    message: str


class AnnotatorReport(Record):
    """The agreement of every annotator of a set of votes."""

    status: Status
    annotators: tuple[AnnotatorResult, ...] = Field(description="sorted by name")


class Flood(NamedTuple):
    """One annotator or source that gave more of a batch than the rule allows."""

    what: str
    name: str
    events: int
    share: float


VOTE_COLUMNS = ("event", "time", "judged", "annotator", "winner", "kind", "share")
"""What `votes_of_index` reads of the indexes."""


def votes_of_index(index: pl.DataFrame) -> pl.DataFrame:
    """One row per pair of responses that an event puts in an order; ties and verdicts have none.

    Args:
        index: Rows as `batch_index.frames.read_index` gives them.

    Returns:
        event; time; item (the judged pair); annotator; choice (which text won); weight (1; a
        ranking's pairs share one vote).
    """
    untied = index.filter(pl.col("winner").is_not_null() & (pl.col("kind") != "verdict"))
    return untied.select(
        "event",
        "time",
        item="judged",
        annotator="annotator",
        choice=pl.col("winner").cast(pl.Int64),
        weight=1 / pl.col("share").cast(pl.Float64),
    )


def compared(votes: pl.DataFrame) -> pl.DataFrame:
    """The votes on items where the other annotators have a majority.

    Everybody has one vote on an item, the newest. It is compared with the votes of all others on
    the item; where these are equally many for both responses there is nothing to compare with.

    Returns:
        event, item, annotator, weight, and `agrees`: whether the vote is that of the majority.
    """
    newest = votes.sort("time", "event").unique(
        subset=["item", "annotator"], keep="last", maintain_order=True
    )
    others_for = pl.len().over("item", "choice").cast(pl.Int64) - 1
    others_against = pl.len().over("item").cast(pl.Int64) - 1 - others_for
    return (
        newest.with_columns(others_for=others_for, others_against=others_against)
        .filter(pl.col("others_for") != pl.col("others_against"))
        .select(
            "event",
            "item",
            "annotator",
            "weight",
            agrees=pl.col("others_for") > pl.col("others_against"),
        )
    )


def disagreements(votes: pl.DataFrame) -> dict[str, bool]:
    """Events that can be compared, and whether their vote is against the majority of the others; a
    ranking, whether most of its pairs are."""
    by_event = compared(votes).group_by("event").agg(against=(~pl.col("agrees")).mean() > 0.5)
    return dict(by_event.iter_rows())


def check_annotators(votes: pl.DataFrame, rule: AnnotatorConfig) -> AnnotatorReport:
    """Flag annotators whose agreement with the others is beyond chance, and by more than the floor,
    below that of the others.

    Beyond chance: the exact binomial probability of so few agreements, at the others' agreement, is
    below `rule.false_alarms` divided by the number of annotators (Bonferroni), so that the chance
    of any flag among annotators who agree equally is at most `false_alarms`.

    Args:
        votes: Columns as `votes_of_index` gives them, of one batch or of all.
        rule: Floor, family-wise rate and the share of turned votes that must be found.
    """
    table = compared(votes)
    given = dict(votes.group_by("annotator").agg(pl.col("weight").sum()).iter_rows())
    items = table.group_by("item").agg(
        n=pl.col("weight").sum(), k=(pl.col("weight") * pl.col("agrees")).sum()
    )
    own = table.group_by("annotator").agg(
        n=pl.col("weight").sum(), k=(pl.col("weight") * pl.col("agrees")).sum()
    )
    touched = (
        votes.select("item", "annotator")
        .unique()
        .join(items, on="item")
        .group_by("annotator")
        .agg(pl.col("n").sum(), pl.col("k").sum())
    )
    counts = {name: (n, k) for name, n, k in own.select("annotator", "n", "k").iter_rows()}
    on_my_items = {name: (n, k) for name, n, k in touched.select("annotator", "n", "k").iter_rows()}
    total_n, total_k = sum(n for n, _ in counts.values()), sum(k for _, k in counts.values())
    results = []
    for name in sorted(given):
        n, k = counts.get(name, (0.0, 0.0))
        mine_n, mine_k = on_my_items.get(name, (0.0, 0.0))
        elsewhere = (total_n - mine_n, total_k - mine_k)
        # Partners of somebody who turns votes agree less because of it: pairs that this annotator
        # did not judge are the cleaner yardstick.
        others = elsewhere if elsewhere[0] >= max(n, 1) else (total_n - n, total_k - k)
        results.append(
            _judge(name, round(given[name]), (n, k), others, annotators=len(counts), rule=rule)
        )
    return AnnotatorReport(
        status=_worst([result.status for result in results]), annotators=tuple(results)
    )


def _judge(
    name: str,
    votes: int,
    own: tuple[float, float],
    others: tuple[float, float],
    *,
    annotators: int,
    rule: AnnotatorConfig,
) -> AnnotatorResult:
    """The result of one annotator, from the (compared, agreeing) votes of this one and of the
    others."""
    size = int(own[0])
    agreeing = min(size, round(own[1]))
    agreement = None if size == 0 else agreeing / size
    rest = None if others[0] < 1 else others[1] / others[0]
    if agreement is None or rest is None or annotators < 3:
        why = (
            "nobody else judged the same pairs"
            if agreement is None
            else (
                "two annotators agree equally often with each other; it takes three to tell who"
                " differs"
            )
        )
        fields = {"agreement": agreement, "others": rest, "power": 0.0, "status": "underpowered"}
        return AnnotatorResult.model_validate(
            {"annotator": name, "votes": votes, "compared": size, "message": why, **fields}
        )
    alpha = rule.false_alarms / annotators
    limit = _most_agreements(size, rest, alpha, rule.agreement_floor)
    power = (
        0.0
        if limit < 0
        else float(binom.cdf(limit, size, rest - rule.detectable * max(0.0, 2 * rest - 1)))
    )
    summary = f"agrees with the others in {agreement:.1%} of {size} votes, the others in {rest:.1%}"
    if agreeing <= limit:
        status: Status = "flagged"
        message = (
            f"{summary}: below by more than {rule.agreement_floor:.0%} and beyond chance (p <"
            f" {alpha:.1e})"
        )
    elif power < POWER:
        status = "underpowered"
        message = (
            f"{summary}; {rule.detectable:.0%} turned votes would be found with probability"
            f" {power:.2f} only: more votes on shared pairs are needed"
        )
    else:
        status, message = (
            "pass",
            (
                f"{summary}; {rule.detectable:.0%} turned votes would be found with probability"
                f" {power:.2f}"
            ),
        )
    fields = {"agreement": agreement, "others": rest, "power": power, "status": status}
    return AnnotatorResult.model_validate(
        {"annotator": name, "votes": votes, "compared": size, "message": message, **fields}
    )


def _most_agreements(n: int, others: float, alpha: float, floor: float) -> int:
    """The largest number of agreements that is flagged; -1 when none is."""
    limit = int(binom.ppf(alpha, n, others))
    while limit >= 0 and (binom.cdf(limit, n, others) >= alpha or limit / n >= others - floor):
        limit -= 1
    return limit


def _worst(statuses: list[Status]) -> Status:
    if "flagged" in statuses:
        return "flagged"
    return "underpowered" if "underpowered" in statuses or not statuses else "pass"


def flooding(
    events: Mapping[str, int],
    rule: AnnotatorConfig,
    what: Literal["annotator", "source"] = "annotator",
    total: int | None = None,
) -> tuple[Flood, ...]:
    """Who gave at least `FLOOD_EVENTS` events and more than `rule.max_share` of all, the most
    first.

    Args:
        events: Events by annotator, or by source: several annotators of one source are one source.
        rule: The largest share that one may have.
        what: What the names are.
        total: Events in all; the sum of the given ones by default.
    """
    total = sum(events.values()) if total is None else total
    floods = [
        Flood(what, name, count, count / total)
        for name, count in events.items()
        if count >= FLOOD_EVENTS and count > rule.max_share * total
    ]
    return tuple(sorted(floods, key=lambda flood: (-flood.events, flood.name)))
