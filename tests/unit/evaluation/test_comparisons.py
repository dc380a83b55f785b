"""Which correlation an interval uses, the champion, what is set aside, and p-values over slices:
from samples counted by hand."""

import random

import pytest

from plumbline.errors import DataError
from plumbline.evaluation.report import build_report
from plumbline.schema.conversations import Decoder, Message
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt, Sample
from plumbline.statistics.clusters import effective_n

DECODER = Decoder(temperature=1.0, max_new_tokens=16)
NO, YES = "I cannot help with that.", "Sure, here is how."
CHAMPION = "sha256:" + 64 * "c"


def prompt(slice_name, number, expected="refuse", **facts):
    return EvalPrompt(
        id=f"{slice_name}-{number}",
        prompt=(Message(role="user", content="?"),),
        expected=expected,
        context=Context(locale="en", domain="d", slice=slice_name),
        facts=facts,
    )


def sample(one, policy, refuses, **changes):
    fields = {
        "prompt_id": one.id,
        "slice": one.context.slice,
        "policy": policy,
        "response": NO if refuses else YES,
        "tokens": 5,
        "truncated": False,
    }
    return Sample(
        **(fields | {"logp": -4.0, "reference_logp": -6.0, "reward": 1.0, "seed": 0} | changes)
    )


def build(prompts, refuses, **keywords):
    """A report in which each policy refuses the prompts that its function says; keywords as in
    `build_report`."""
    samples = [
        sample(one, policy, refuse(position))
        for policy, refuse in refuses.items()
        for position, one in enumerate(prompts)
    ]
    return build_report(prompts, samples, "rules", 0.95, 0, DECODER, **keywords)


def requests(slice_name="harm-en", clusters=30, size=10, **facts):
    return [
        prompt(slice_name, number, intent=f"i{number // size}", **facts)
        for number in range(clusters * size)
    ]


def always(position):
    return True


def never(position):
    return False


def by_request(position):
    return position // 10 % 2 == 0


def half_and_half(position):
    return position % 2 == 0


CLUSTERS = [f"i{number // 10}" for number in range(300)]


def test_a_policy_that_never_fails_borrows_the_correlation_of_the_reference():
    report, _ = build(requests(), {"reference": by_request, "aligned": always}, cluster="intent")
    harm = report.slices["harm-en"]["harmful_compliance"]
    # the reference complies with every wording of each second request: correlation 1, so 300
    # prompts say about as much as 30
    assert report.correlations["harm-en"]["harmful_compliance"] == 1.0
    assert (
        harm.aligned.effective_n
        == harm.reference.effective_n
        == pytest.approx(effective_n(CLUSTERS, 1.0, 0.95))
    )
    assert (harm.aligned.value, harm.aligned.clusters) == (0.0, 30)
    assert harm.aligned.high > 0.1


def test_wordings_that_are_answered_independently_keep_their_number():
    report, _ = build(requests(), {"reference": half_and_half, "aligned": always}, cluster="intent")
    harm = report.slices["harm-en"]["harmful_compliance"]
    assert report.correlations["harm-en"]["harmful_compliance"] == 0.0
    # only the uncertainty of 30 clusters is left
    assert 0.9 * 300 < harm.aligned.effective_n < 300


def test_the_policy_that_shows_more_correlation_lends_it():
    report, _ = build(
        requests(), {"reference": half_and_half, "aligned": lambda p: p // 10 > 1}, cluster="intent"
    )
    assert report.correlations["harm-en"]["harmful_compliance"] == 1.0


def test_a_slice_on_which_nobody_varies_borrows_from_the_others():
    prompts = [*requests("harm-en"), *requests("harm-es")]
    report, _ = build(
        prompts,
        {"reference": lambda p: p >= 300 or by_request(p), "aligned": always},
        cluster="intent",
    )
    spanish = report.slices["harm-es"]["harmful_compliance"].aligned
    assert report.correlations["harm-es"]["harmful_compliance"] == 1.0
    assert spanish.effective_n == pytest.approx(effective_n(CLUSTERS, 1.0, 0.95))


def test_where_nobody_ever_varies_each_request_counts_once():
    report, _ = build(requests(), {"reference": always, "aligned": always}, cluster="intent")
    assert report.correlations["harm-en"]["harmful_compliance"] is None
    assert report.slices["harm-en"]["harmful_compliance"].aligned.effective_n == 30
    assert report.slices["harm-en"]["harmful_compliance"].difference.effective_n == 30


def test_a_difference_uses_its_own_correlation_when_enough_pairs_differ():
    # both policies answer by request, but where they differ has nothing to do with the request
    rng = random.Random("differ")
    turned = {position for position in range(300) if rng.random() < 0.1}
    report, _ = build(
        requests(),
        {"reference": by_request, "aligned": lambda p: by_request(p) != (p in turned)},
        cluster="intent",
    )
    found = report.slices["harm-en"]["harmful_compliance"]
    assert found.aligned.effective_n < 50
    assert found.difference.effective_n > 100


def test_a_difference_on_few_pairs_borrows():
    report, _ = build(
        requests(),
        {"reference": by_request, "aligned": lambda p: by_request(p) != (p in {3, 77, 200})},
        cluster="intent",
    )
    assert report.slices["harm-en"]["harmful_compliance"].difference.effective_n < 50


@pytest.mark.requirement("E4")
def test_the_champion_lends_its_correlation_too():
    """The champion alone answers by request; the others are independent of it, or never vary."""
    report, _ = build(
        requests(),
        {"reference": half_and_half, "aligned": always, "champion": by_request},
        cluster="intent",
        champion=CHAMPION,
    )
    harm = report.slices["harm-en"]["harmful_compliance"]
    assert report.correlations["harm-en"]["harmful_compliance"] == 1.0
    assert harm.aligned.effective_n == pytest.approx(effective_n(CLUSTERS, 1.0, 0.95))


@pytest.mark.parametrize(("differing", "own"), [(9, False), (10, True)])
def test_ten_pairs_that_differ_are_enough_for_a_correlation_of_their_own(differing, own):
    """One pair in each of the first requests differs, so that the differences show no correlation;
    the policies answer by request, and show 1."""
    turned = {10 * number for number in range(differing)}
    report, _ = build(
        requests(),
        {"reference": by_request, "aligned": lambda p: by_request(p) != (p in turned)},
        cluster="intent",
    )
    difference = report.slices["harm-en"]["harmful_compliance"].difference
    assert (difference.effective_n > 100) == own


def test_without_a_fact_prompts_stand_alone_and_variants_share_the_cluster_of_their_prompt():
    plain = requests()
    worded = [
        prompt("harm-en.polite", number, variant_of=plain[number].id, variant="polite")
        for number in range(20)
    ]
    again = [
        prompt("harm-en.polite", 100 + number, variant_of=plain[number].id, variant="polite")
        for number in range(20)
    ]
    report, scored = build(
        [*plain, *worded, *again], {"reference": half_and_half, "aligned": half_and_half}
    )
    assert report.slices["harm-en"]["harmful_compliance"].aligned.clusters is None
    assert report.slices["harm-en.polite"]["harmful_compliance"].aligned.clusters == 20
    assert {one.cluster for one in scored if one.prompt_id in {plain[0].id, worded[0].id}} == {
        f"prompt:{plain[0].id}"
    }


@pytest.mark.requirement("E8")
def test_variants_pool_among_themselves_and_are_not_tested_again():
    slices = ("harm-en", "harm-es")
    prompts = [one for name in slices for one in requests(name, clusters=5)]
    prompts += [
        prompt(f"{name}.polite", number, variant_of=f"{name}-{number}")
        for name in slices
        for number in range(5)
    ]
    report, _ = build(prompts, {"reference": never, "aligned": half_and_half})
    assert report.pooled == {
        "harm": slices,
        "harm.polite": ("harm-en.polite", "harm-es.polite"),
        "all": slices,
    }
    assert report.slices["all"]["harmful_compliance"].aligned.n == 100
    assert report.slices["harm.polite"]["harmful_compliance"].aligned.n == 10
    assert report.slices["harm.polite"]["harmful_compliance"].p is None
    assert report.slices["harm"]["harmful_compliance"].p is not None
    assert "harm-en.polite" not in report.win_rates


def test_the_champion_is_compared_on_the_same_prompts():
    policies = {"reference": never, "aligned": always, "champion": half_and_half}
    report, scored = build(requests(), policies, champion=CHAMPION)
    found = report.slices["harm-en"]["harmful_compliance"]
    assert (report.champion, found.champion.value, found.against_champion.value) == (
        CHAMPION,
        0.5,
        -0.5,
    )
    assert found.against_champion.high < -0.4
    assert report.labels["harm-en"]["champion"] == {"answer": 150, "refusal": 150}
    assert len(scored) == 900
    kl = report.slices["harm-en"]["kl"]
    assert (kl.champion.value, kl.against_champion) == (2.0, None)


def test_without_a_champion_its_estimates_are_null():
    report, _ = build(requests(), {"reference": never, "aligned": always})
    found = report.slices["harm-en"]["harmful_compliance"]
    assert (report.champion, found.champion, found.against_champion) == (None, None, None)


def test_a_champion_that_could_not_be_sampled_is_named_and_has_no_estimate():
    report, _ = build(requests(), {"reference": never, "aligned": always}, champion=CHAMPION)
    assert report.champion == CHAMPION
    assert report.slices["harm-en"]["harmful_compliance"].against_champion is None


def test_samples_of_an_unnamed_or_partial_champion_are_refused():
    policies = {"reference": never, "aligned": always, "champion": always}
    with pytest.raises(DataError, match="nothing says which policy that is"):
        build(requests(), policies)
    prompts = requests()
    samples = [
        sample(one, policy, True)
        for policy in ("reference", "aligned", "champion")
        for one in prompts
    ][:-1]
    with pytest.raises(DataError, match=r"1 samples are missing: harm-en-299 \(champion\)"):
        build_report(prompts, samples, "rules", 0.95, 0, DECODER, champion=CHAMPION)


@pytest.mark.requirement("E2")
def test_prompts_that_are_set_aside_are_in_no_estimate_and_counted():
    aside = {f"harm-en-{number}": "exact" if number < 30 else "contained" for number in range(40)}
    # the policy fails on exactly the prompts that it was trained on
    report, scored = build(
        requests(),
        {"reference": never, "aligned": lambda p: p >= 40},
        set_aside=aside,
        cluster="intent",
    )
    found = report.slices["harm-en"]
    assert report.set_aside == {"contained": 10, "exact": 30}
    assert (
        found["harmful_compliance"].aligned.value,
        found["harmful_compliance"].aligned.n,
        found["tokens"].reference.n,
    ) == (0.0, 260, 260)
    assert report.labels["harm-en"] == {"reference": {"answer": 260}, "aligned": {"refusal": 260}}
    assert report.prompts == 300
    assert len(scored) == 600
    assert sum(one.set_aside == "exact" for one in scored) == 60


def test_a_prompt_that_could_not_be_asked_is_counted_with_its_reason():
    """Too long for the model: no policy has a sample of it. Without the reason, a missing sample is
    an error."""
    prompts = requests()
    samples = [
        one
        for one in build(prompts, {"reference": never, "aligned": always})[1]
        if one.prompt_id != "harm-en-7"
    ]
    rows = [Sample(**{name: getattr(one, name) for name in Sample.model_fields}) for one in samples]
    decoder = Decoder(temperature=1.0, max_new_tokens=8)
    report, scored = build_report(
        prompts, rows, "rules", 0.95, 0, decoder, set_aside={"harm-en-7": "too long"}
    )
    assert (report.set_aside, report.prompts, len(scored)) == ({"too long": 1}, 300, 598)
    assert report.slices["harm-en"]["tokens"].aligned.n == 299
    with pytest.raises(DataError, match=r"2 samples are missing: harm-en-7 \(aligned\)"):
        build_report(prompts, rows, "rules", 0.95, 0, decoder)


def test_nothing_left_or_an_unknown_prompt_is_refused():
    prompts = requests(clusters=1)
    policies = {"reference": never, "aligned": always}
    with pytest.raises(DataError, match="all 10 held-out prompts are set aside"):
        build(prompts, policies, set_aside={one.id: "exact" for one in prompts})
    with pytest.raises(
        DataError, match="1 prompts to be set aside are not in the vault, for example 'elsewhere'"
    ):
        build(prompts, policies, set_aside={"elsewhere": "exact"})


@pytest.mark.requirement("E1")
def test_p_values_are_corrected_over_the_slices_of_a_metric():
    slices = ("a", "b", "c")
    # on a 12 prompts differ and all one way, on b and c none does
    report, _ = build(
        [one for name in slices for one in requests(name, clusters=3)],
        {"reference": never, "aligned": lambda p: p < 12},
    )
    tests = {name: report.slices[name]["harmful_compliance"] for name in (*slices, "all")}
    assert tests["a"].p == tests["all"].p == pytest.approx(2**-12)
    assert (tests["b"].p, tests["b"].p_adjusted) == (1.0, 1.0)
    # two of four hypotheses at the smallest p: the first is multiplied by 4, and the second may not
    # come out smaller
    assert tests["a"].p_adjusted == tests["all"].p_adjusted == pytest.approx(4 * 2**-12)
    assert tests["a"].test == "McNemar mid-p"
    assert report.slices["a"]["kl"].p is None
    assert report.slices["a"]["tokens"].p is None, (
        "every difference is zero, so there is nothing to test"
    )


def test_a_metric_that_only_one_of_the_answers_has_makes_no_pair():
    prompts = requests(clusters=2)
    long = {"response": "one two three four five six seven"}
    samples = [sample(one, "reference", False, **long) for one in prompts]
    samples += [
        sample(one, "aligned", False, **(long if position < 5 else {}))
        for position, one in enumerate(prompts)
    ]
    found = build_report(prompts, samples, "rules", 0.95, 0, DECODER)[0].slices["harm-en"][
        "repetition"
    ]
    assert (found.reference.n, found.aligned.n, found.difference.n) == (20, 5, 5)


def test_win_rates_stand_beside_the_means():
    prompts = requests(clusters=6)
    rewards = {"reference": lambda p: 0.0, "aligned": lambda p: (1.0, 5e-7, -1.0, 1.0)[p % 4]}
    samples = [
        sample(one, policy, False, reward=reward(position))
        for policy, reward in rewards.items()
        for position, one in enumerate(prompts)
    ]
    report = build_report(prompts, samples, "rules", 0.95, 0, DECODER)[0]
    found = report.win_rates["harm-en"]["reward"]
    # what differs by rounding is a tie
    assert (found.wins, found.ties, found.losses) == (30, 15, 15)
    assert "utility" not in report.win_rates["harm-en"]
    assert EvalReport.from_json(report.to_json()) == report


def test_a_report_has_champion_clusters_and_what_is_set_aside():
    policies = {"reference": never, "aligned": always, "champion": half_and_half}
    report, _ = build(
        requests(),
        policies,
        champion=CHAMPION,
        cluster="intent",
        set_aside={"harm-en-0": "exact", "harm-en-1": "contained"},
    )
    assert report.cluster == "intent"
    assert list(report.set_aside.items()) == [("contained", 1), ("exact", 1)]
    comparison = report.slices["harm-en"]["harmful_compliance"]
    aligned = comparison.aligned
    assert (aligned.clusters, aligned.n) == (30, 298)
    assert comparison.champion is not None
    assert comparison.against_champion.value == -149 / 298
    assert comparison.p_adjusted < 1e-6
