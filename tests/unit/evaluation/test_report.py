"""Reports from samples whose figures can be counted by hand."""

import itertools

import pytest

from plumbline.errors import DataError
from plumbline.evaluation.report import build_report
from plumbline.evaluation.scoring import ScoredSample
from plumbline.records import sha256
from plumbline.reports.tables import brief_markdown, format_estimate, metric_rows
from plumbline.sandbox.datasets import SandboxOptions, eval_prompts
from plumbline.schema.conversations import Decoder, Message
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt, Sample
from plumbline.storage.jsonl import write_records

DECODER = Decoder(temperature=1.0, max_new_tokens=16)
NO = "I cannot help with that."
YES = "Sure, here is how."


def prompt(name, slice_name, expected="refuse"):
    return EvalPrompt(
        id=name,
        prompt=(Message(role="user", content="?"),),
        expected=expected,
        context=Context(locale="en", domain="d", slice=slice_name),
    )


def sample(name, slice_name, policy, response, **changes):
    fields = {
        "prompt_id": name,
        "slice": slice_name,
        "policy": policy,
        "response": response,
        "tokens": 5,
        "truncated": False,
        "logp": -4.0,
        "reference_logp": -6.0,
        "reward": 1.0,
        "seed": 0,
    }
    return Sample(**(fields | changes))


def vault():
    """Ten prompts in each of harm-en, harm-es (refuse) and chat (comply)."""
    return [
        prompt(f"{name}-{i}", name, "comply" if name == "chat" else "refuse")
        for name in ("harm-en", "harm-es", "chat")
        for i in range(10)
    ]


def answers(prompts, aligned_refuses=9, **changes):
    """The reference always answers; the aligned policy refuses the first prompts of each harmful
    slice and answers the rest."""
    seen = {}
    for one in prompts:
        name = one.context.slice
        position = seen[name] = seen.get(name, -1) + 1
        yield sample(one.id, name, "reference", YES, tokens=8, logp=-6.0)
        refuse = name.startswith("harm") and position < aligned_refuses
        yield sample(
            one.id,
            name,
            "aligned",
            NO if refuse else YES,
            **(
                {"tokens": 4 + position, "logp": -4.0 - position, "reward": float(position)}
                | changes
            ),
        )


def build(prompts, samples, scorer="rules"):
    return build_report(prompts, samples, scorer, 0.95, 0, DECODER)


@pytest.fixture
def report():
    prompts = vault()
    return build(prompts, list(answers(prompts)))[0]


@pytest.mark.requirement("E1")
def test_rates_and_paired_differences(report):
    found = report.slices["harm-en"]["harmful_compliance"]
    assert (found.reference.value, found.aligned.value) == (1.0, pytest.approx(0.1))
    assert found.difference.value == pytest.approx(-0.9)
    assert (found.reference.method, found.aligned.method, found.difference.method) == (
        "wilson",
        "wilson",
        "tango",
    )
    assert found.difference.high < -0.3
    assert found.aligned.n == 10


@pytest.mark.requirement("E4")
def test_a_metric_stands_only_where_it_applies(report):
    assert "over_refusal" not in report.slices["harm-en"]
    assert "harmful_compliance" not in report.slices["chat"]
    assert report.slices["chat"]["over_refusal"].aligned.value == 0
    # on all prompts together each of the two counts its own
    assert report.slices["all"]["harmful_compliance"].aligned.n == 20
    assert report.slices["all"]["over_refusal"].aligned.n == 10
    assert report.slices["all"]["harmful_compliance"].aligned.unscored == 0


def test_pools_are_named_and_add_up(report):
    assert report.pooled == {"harm": ("harm-en", "harm-es"), "all": ("chat", "harm-en", "harm-es")}
    assert report.slices["harm"]["harmful_compliance"].aligned.n == 20
    assert report.slices["all"]["refusal_rate"].aligned.value == pytest.approx(18 / 30)


@pytest.mark.parametrize(
    ("names", "pools"),
    [
        (("harm", "harm-en", "harm-es"), {"all"}),
        (("harm-en", "benign-en"), {"all"}),
        (("x-a-1", "x-a-2", "x-b"), {"x-a", "all"}),
        (("all", "rest"), set()),
    ],
)
def test_a_pool_never_takes_the_name_of_a_slice(names, pools):
    prompts = [prompt(f"{name}-{i}", name) for name in names for i in range(3)]
    report = build(prompts, list(answers(prompts)))[0]
    assert set(report.pooled) == pools
    assert all(report.slices[name]["harmful_compliance"].aligned.n == 3 for name in names)


def test_means_over_samples(report):
    chat = report.slices["chat"]
    assert (chat["tokens"].reference.value, chat["tokens"].aligned.value) == (8.0, 8.5)
    assert chat["tokens"].difference.value == pytest.approx(0.5)
    assert chat["tokens"].difference.method == "paired t"
    assert chat["reward"].aligned.value == 4.5


def test_kl_is_the_log_ratio_of_the_aligned_policy_alone(report):
    kl = report.slices["chat"]["kl"]
    # logp - reference_logp = -4 - i + 6, i = 0..9
    assert kl.aligned.value == pytest.approx(-2.5)
    assert kl.reference is None
    assert kl.difference is None


def test_what_could_not_be_scored_is_counted_never_zero():
    prompts = vault()
    samples = [
        (
            s.model_copy(update={"reward": None})
            if s.prompt_id.endswith(("0", "1")) and s.policy == "aligned"
            else s
        )
        for s in answers(prompts)
    ]
    found = build(prompts, samples)[0].slices["chat"]["reward"]
    assert (found.aligned.n, found.aligned.unscored, found.aligned.value) == (8, 2, 5.5)
    assert (found.reference.n, found.reference.unscored) == (10, 0)
    assert (found.difference.n, found.difference.unscored) == (8, 2)


def test_a_metric_without_any_score_is_unavailable_with_a_reason():
    prompts = vault()
    report = build(prompts, list(answers(prompts, reward=None, logp=None)))[0]
    assert "kl" not in report.slices["chat"]
    assert (
        report.unavailable["chat"]["kl"]
        == "a mean needs at least 2 scored samples and has 0 (10 could not be scored); collect more"
    )
    assert "10 could not be scored" in report.unavailable["harm-en"]["reward"]


def test_prompts_that_the_sandbox_cannot_judge_are_unscored_where_the_metric_applies():
    prompts = vault()
    report = build(prompts, list(answers(prompts)), "sandbox")[0]
    assert set(report.unavailable["harm-en"]) == {"harmful_compliance", "utility", "garbled"}
    assert set(report.unavailable["chat"]) == {"over_refusal", "correctness", "utility", "garbled"}
    assert report.labels["chat"]["aligned"] == {"unscored": 10}


def test_labels_add_up(report):
    assert report.labels["harm-en"] == {
        "reference": {"answer": 10},
        "aligned": {"answer": 1, "refusal": 9},
    }
    assert report.labels["all"]["aligned"] == {"answer": 12, "refusal": 18}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda p, s: (p, s[1:]), "1 samples are missing: harm-en-0 (reference)"),
        (
            lambda p, s: (p, []),
            (
                "60 samples are missing: chat-0 (aligned), chat-0 (reference), chat-1 (aligned) and"
                " 57 more"
            ),
        ),
        (lambda p, s: (p, [*s, s[0]]), "1 samples stand twice: harm-en-0 (reference)"),
        (lambda p, s: (p[1:], s), "2 samples belong to no prompt of the vault: harm-en-0"),
        (
            lambda p, s: (p, [s[0].model_copy(update={"slice": "chat"}), *s[1:]]),
            "1 samples name another slice than their prompt",
        ),
        (lambda p, s: ([*p, p[0]], s), "1 prompts stand twice in the vault"),
        (lambda p, s: ([], s), "no held-out prompts"),
    ],
)
def test_prompts_and_samples_that_do_not_match_are_refused(spoil, says):
    prompts = vault()
    with pytest.raises(DataError) as error:
        build(*spoil(prompts, list(answers(prompts))))
    assert says in str(error.value)


def test_scored_rows_keep_every_sample(tmp_path):
    prompts = vault()
    samples = list(answers(prompts))
    report, scored = build(prompts, samples)
    assert [(row.prompt_id, row.policy, row.response) for row in scored] == [
        (s.prompt_id, s.policy, s.response) for s in samples
    ]
    assert ScoredSample.from_json(scored[1].to_json()) == scored[1]
    write_records(tmp_path / "samples.jsonl", samples)
    assert report.samples == sha256((tmp_path / "samples.jsonl").read_bytes())


def test_the_report_is_a_pure_function_that_survives_its_file():
    prompts = vault()
    samples = list(answers(prompts))
    report = build(prompts, samples)[0]
    assert build(prompts, samples)[0].to_json() == report.to_json()
    assert EvalReport.from_json(report.to_json()) == report


def test_rows_of_the_table(report):
    rows = list(metric_rows(report))
    assert [name for name, _ in itertools.groupby(row.slice for row in rows)] == [
        "all",
        "chat",
        "harm",
        "harm-en",
        "harm-es",
    ]
    row = next(row for row in rows if row.slice == "harm-en" and row.metric == "harmful_compliance")
    comparison = row.comparison
    assert (comparison.reference.value, row.pooled, row.variant) == (1.0, False, False)
    assert (comparison.aligned.n, comparison.aligned.unscored) == (10, 0)
    # 1 of 10: Newcombe's table method 3 gives 0.0179 to 0.4042
    assert format_estimate(comparison.reference, row.metric) == "100.0% [72.2, 100.0]"
    assert format_estimate(comparison.aligned, row.metric) == "10.0% [1.8, 40.4]"
    assert format_estimate(comparison.difference, row.metric).startswith("-90.0%")
    assert comparison.difference.low <= comparison.difference.value <= comparison.difference.high
    assert next(row for row in rows if row.metric == "kl").comparison.reference is None


def test_brief_markdown_fits_and_says_what_it_leaves_out():
    prompts = vault()
    samples = [
        s.model_copy(update={"response": YES}) if s.prompt_id == "harm-es-0" else s
        for s in answers(prompts)
    ]
    report = build(prompts, samples)[0]
    brief = brief_markdown(report, limit=1000)
    assert len(brief) <= 1000
    assert (
        "| harmful_compliance | 100.0% [83.9, 100.0] | 15.0% [5.2, 36.0] | harm-es 20.0% |" in brief
    )
    # every slice has the same, so none is the worst
    assert "| empty | 0.0% [0.0, 11.4] | 0.0% [0.0, 11.4] | – |" in brief
    assert "full table" not in brief
    short = brief_markdown(report, limit=250)
    assert len(short) <= 250
    assert "more metrics are in the full table" in short


def test_the_sandbox_end_to_end():
    prompts = list(eval_prompts(SandboxOptions(prompts_per_slice=4)))
    samples = [
        sample(p.id, p.context.slice, policy, "sorry, i can not help with that.")
        for p in prompts
        for policy in ("reference", "aligned")
    ]
    report = build(prompts, samples, "sandbox")[0]
    assert {"harm", "own", "idiom", "benign", "all"} == set(report.pooled)
    assert report.slices["harm-en"]["harmful_compliance"].aligned.value == 0
    assert report.slices["own"]["over_refusal"].aligned.value == 1
    assert report.slices["benign"]["correctness"].difference.value == 0
    # the two policies gave the same answers, so nothing differed, and still the interval has a
    # width
    assert report.slices["benign"]["correctness"].difference.high > 0.1
    assert report.unavailable == {}
