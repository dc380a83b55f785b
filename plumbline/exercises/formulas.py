"""Exercises about formulas; the project's own functions give the answers, so what is learned here
is what runs there."""

import math
from random import Random
from typing import Final

from scipy.stats import binom

from plumbline.evaluation.failure_modes.over_optimization import kl_of_best_of
from plumbline.evaluation.red_team.attempts import gamma
from plumbline.exercises.exercise import Exercise, ExerciseQuestion
from plumbline.guardrail.threshold import most_false_positives, upper_bound
from plumbline.objectives.worked_pair import dpo_pair, preference_probability
from plumbline.statistics.intervals import proportion
from plumbline.statistics.paired_tests import mcnemar_exact


def _bradley_terry(rng: Random) -> ExerciseQuestion:
    chosen, rejected = round(rng.uniform(0.5, 2.5), 1), round(rng.uniform(-1.5, 0.4), 1)
    probability = preference_probability(chosen, rejected)
    return ExerciseQuestion(
        text=(
            f"A reward model gives the first response {chosen:g} and the second {rejected:g}. "
            "With which probability do people prefer the first, under the Bradley-Terry model?"
        ),
        answer=probability,
        mistakes={
            "turn the difference round": 1 - probability,
            "take the share of the exponentials' arguments": chosen / (abs(chosen) + abs(rejected)),
        },
        solution=(
            f"sigmoid({chosen:g} - ({rejected:g})) = 1 / (1 + exp(-{chosen - rejected:.1f})) ="
            f" {probability:.3f}. Only the difference of two rewards means anything."
        ),
    )


def _dpo_loss(rng: Random) -> ExerciseQuestion:
    beta, policy, reference = rng.choice((0.1, 0.2, 0.5)), _logps(rng), _logps(rng)
    loss = _loss_of(policy, reference, beta)
    margin = beta * ((policy[0] - reference[0]) - (policy[1] - reference[1]))
    return ExerciseQuestion(
        text=(
            f"The policy gives the chosen response a log-probability of {policy[0]:g} and the"
            f" rejected one {policy[1]:g}; the reference gives them {reference[0]:g} and"
            f" {reference[1]:g}. Beta is {beta:g}. What is the DPO loss of this pair, in nats?"
        ),
        answer=loss,
        mistakes={
            "leave the reference out": -math.log(
                1 / (1 + math.exp(-beta * (policy[0] - policy[1])))
            ),
            "leave beta out": -math.log(1 / (1 + math.exp(-margin / beta))),
            "stop at the margin": margin,
            "turn chosen and rejected round": _loss_of(
                (policy[1], policy[0]), (reference[1], reference[0]), beta
            ),
        },
        solution=(
            "The implied rewards differ by beta * ((pi_c - ref_c) - (pi_r - ref_r)) ="
            f" {margin:.3f}; the loss is -log sigmoid of it = {loss:.3f} (Rafailov et al. 2023, eq."
            " 7). At 0.693 the policy has learned nothing about the pair yet."
        ),
    )


def _dpo_gradient(rng: Random) -> ExerciseQuestion:
    values, reference = _logps(rng), _logps(rng)
    side = rng.choice(("chosen", "rejected"))
    pair = dpo_pair(values, reference, 0.1)
    slope = pair.slope_chosen if side == "chosen" else pair.slope_rejected
    return ExerciseQuestion(
        text=(
            f"During DPO the log-probability of the {side} response rises a little, and nothing"
            " else changes. Does the loss rise, fall or stay?"
        ),
        answer="rise" if slope > 0 else "fall",
        choices=("rise", "fall", "stay"),
        reasons={
            "stay": (
                "The loss stays only where its gradient is zero, which it nowhere is at a finite"
                " margin."
            )
        },
        solution=(
            f"The derivative is {slope:+.4f} here: a step against it raises what was chosen and"
            " lowers what was rejected. It shrinks as the margin grows, so pairs that are learned"
            " stop pulling. Both log-probabilities may still fall together: only their difference"
            " counts."
        ),
    )


def _best_of_n(rng: Random) -> ExerciseQuestion:
    n = rng.choice((2, 4, 8, 16, 32, 64))
    kl = kl_of_best_of(n)
    return ExerciseQuestion(
        text=(
            f"Out of {n} responses of the reference the one with the highest reward is taken. How"
            " far is that from the reference, in nats of KL divergence?"
        ),
        answer=kl,
        mistakes={
            "forget what the other draws cost": math.log(n),
            "take the logarithm to base 2": math.log2(n) - (n - 1) / n,
        },
        solution=(
            f"log n - (n - 1) / n = {math.log(n):.3f} - {(n - 1) / n:.3f} = {kl:.3f} (Gao et al."
            " 2023): little divergence for much reward, which is why it is used as a probe."
        ),
    )


def _wilson(rng: Random) -> ExerciseQuestion:
    n, count = rng.choice((100, 200, 300, 500)), rng.randint(0, 4)
    estimate = proportion([i < count for i in range(n)], 0.95)
    share = count / n
    return ExerciseQuestion(
        text=(
            f"{count} of {n} harmful requests were answered. What is the upper end of the 95 %"
            " Wilson interval of the rate?"
        ),
        answer=estimate.high,
        mistakes={
            "report the rate itself": share,
            "use the Wald interval, which has no width at 0": (
                share + 1.96 * math.sqrt(share * (1 - share) / n)
            ),
            "use the one-sided quantile 1.645": (
                proportion([i < count for i in range(n)], 0.90).high
            ),
        },
        solution=(
            "(p + z^2/2n + z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) with z = 1.96 gives"
            f" {estimate.high:.4f}. A gate at 5 % looks at this number and not at {share:.1%}."
        ),
    )


def _mcnemar(rng: Random) -> ExerciseQuestion:
    worse, better = rng.randint(1, 5), rng.randint(8, 14)
    p = mcnemar_exact(worse, better)
    return ExerciseQuestion(
        text=(
            f"On 300 prompts the aligned policy is right where the reference was wrong {better}"
            f" times, and wrong where it was right {worse} times. On all others they agree. What is"
            " the exact two-sided p-value of McNemar's test?"
        ),
        answer=p,
        mistakes={
            "forget the other side": p / 2,
            "count the prompts on which they agree": 2 * _binomial_tail(worse, 300),
        },
        solution=(
            f"Only the {better + worse} prompts on which they differ say anything: twice the"
            f" probability of {worse} or fewer heads in {better + worse} throws of a fair coin ="
            f" {p:.4f}."
        ),
    )


def _gamma(rng: Random) -> ExerciseQuestion:
    successes, hours = rng.randint(3, 18), float(rng.choice((5, 8, 10, 20)))
    estimate = gamma(successes, hours, successes * 6, 0.95)
    return ExerciseQuestion(
        text=(
            f"A red team broke the policy {successes} times in {hours:g} person-hours. "
            "What is the upper end of the exact 95 % interval of successes per person-hour?"
        ),
        answer=estimate.high,
        mistakes={
            "report the rate itself": estimate.value,
            "forget to divide by the hours": estimate.high * hours,
            "give the lower end": estimate.low,
        },
        solution=(
            "A count has a Poisson interval: half the 97.5 % point of chi-square with 2"
            f" ({successes} + 1) degrees of freedom is {estimate.high * hours:.2f} successes, over"
            f" {hours:g} hours {estimate.high:.3f} (Garwood 1936). The rate alone,"
            f" {estimate.value:.2f}, hides how few {successes} are."
        ),
    )


def _threshold(rng: Random) -> ExerciseQuestion:
    n = rng.choice((100, 150, 200, 300, 400))
    most = most_false_positives(n, 0.05, 0.95)
    assert most is not None
    return ExerciseQuestion(
        text=(
            f"A guardrail is calibrated on {n} acceptable responses. Its false-positive rate must"
            " be at most 5 % with 95 % confidence. How many of the responses may the threshold"
            " block?"
        ),
        answer=float(most),
        mistakes={
            "take 5 % of the responses, which is right only half of the time": 0.05 * n,
            "allow one more": float(most + 1),
        },
        solution=(
            f"{most} of {n}: the one-sided 95 % Clopper-Pearson bound is"
            f" {upper_bound(most, n, 0.95):.4f}, and {upper_bound(most + 1, n, 0.95):.4f} with one"
            " more. The room between the observed rate and 5 % pays for the confidence."
        ),
    )


def _logps(rng: Random) -> tuple[float, float]:
    return round(rng.uniform(-9, -3), 1), round(rng.uniform(-12, -4), 1)


def _loss_of(policy: tuple[float, float], reference: tuple[float, float], beta: float) -> float:
    return dpo_pair(policy, reference, beta).loss


def _binomial_tail(count: int, n: int) -> float:
    return float(binom.cdf(count, n, 0.5))


FORMULAS: Final = (
    Exercise("bradley-terry", "formula", "From two rewards to a preference", _bradley_terry),
    Exercise("dpo-loss", "formula", "The DPO loss of one pair", _dpo_loss),
    Exercise("dpo-gradient", "formula", "Which way DPO pulls", _dpo_gradient),
    Exercise("best-of-n", "formula", "The divergence of the best of n", _best_of_n),
    Exercise("wilson", "formula", "The bound that a gate looks at", _wilson),
    Exercise("mcnemar", "formula", "Better, or luck?", _mcnemar),
    Exercise("red-team-rate", "formula", "Successes per person-hour", _gamma),
    Exercise("threshold", "formula", "How often a guardrail may be wrong", _threshold),
)
"""In the order in which they are best done."""
