"""Three values: what intervals show, what they show the contrary of, and what they leave open; and
a check made of several such parts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from plumbline.errors import InsufficientEvidence
from plumbline.schema.checks import CheckVerdict
from plumbline.schema.estimates import Estimate


class CheckPart(NamedTuple):
    """One respect in which a check looks for an effect that must not be there."""

    effect: bool | None
    """True when it is there, False when it is not, None when the evidence does not say."""
    text: str
    """What was found, with numbers."""
    estimates: Mapping[str, Estimate] = {}


def exceeds(estimate: Estimate | None, limit: float) -> bool | None:
    """Whether the true value lies above a limit: True or False when the interval shows it, else
    None."""
    if estimate is None or not estimate.varies:
        return None
    return True if estimate.low > limit else False if estimate.high <= limit else None


def kleene_and(first: bool | None, second: bool | None) -> bool | None:
    """Conjunction in three values (Kleene): one False decides, whatever the other is."""
    if first is False or second is False:
        return False
    return None if first is None or second is None else True


def corrected(confidence_level: float, searched: int) -> float:
    """Confidence level of each of several intervals of which any one misses with a probability of
    at most 1 - level (Bonferroni)."""
    return 1 - (1 - confidence_level) / max(searched, 1)


def estimated(estimate: Callable[[], Estimate]) -> Estimate | None:
    """An estimate, or None when there is too little evidence for one."""
    try:
        return estimate()
    except InsufficientEvidence:
        return None


def conclude(
    name: str, parts: Sequence[CheckPart], searched: Iterable[CheckPart], remedy: str
) -> CheckVerdict:
    """The verdict of a check: fail when any part shows the effect, pass when every part shows that
    it is absent, else inconclusive.

    Args:
        name: Name of the check.
        parts: What has to show that the effect is absent; at least one.
        searched: Slices that are searched for the effect; only those that show it count.
        remedy: What to do when the check does not pass.
    """
    if not parts:
        raise ValueError(f"the check {name} has no part that could pass")
    every = [*parts, *(part for part in searched if part.effect)]
    shown = [part for part in every if part.effect]
    open_parts = [part for part in parts if part.effect is None]
    verdict, message = (
        ("fail", shown)
        if shown
        else ("inconclusive", open_parts)
        if open_parts
        else ("pass", list(parts))
    )
    return CheckVerdict.model_validate(
        {
            "name": name,
            "verdict": verdict,
            "explanation": "; ".join(part.text for part in message),
            "remedy": "" if verdict == "pass" else remedy,
            "estimates": {
                key: estimate for part in every for key, estimate in part.estimates.items()
            },
        }
    )


def rate_text(estimate: Estimate | None) -> str:
    """`93.1% [90.2%, 95.3%]`."""
    return (
        "not measured"
        if estimate is None
        else f"{estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]"
    )


def share_text(estimate: Estimate | None) -> str:
    """`+3.1 points [-0.4, +6.6]` of a difference of shares."""
    return (
        "not measured"
        if estimate is None
        else "{:+.1f} points [{:+.1f}, {:+.1f}]".format(
            *(100 * x for x in (estimate.value, estimate.low, estimate.high))
        )
    )


def number_text(estimate: Estimate | None) -> str:
    """`+0.31 [-0.04, +0.66]`."""
    return (
        "not measured"
        if estimate is None
        else f"{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"
    )


def known(**estimates: Estimate | None) -> dict[str, Estimate]:
    """The estimates that exist."""
    return {name: estimate for name, estimate in estimates.items() if estimate is not None}
