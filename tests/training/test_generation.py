"""Sampling: the same tokens as transformers where both are deterministic, and honest numbers beside
them."""

import base64
import json
import zlib
from collections import Counter

import pytest
import torch

from plumbline.profile.evaluation import BestOf
from plumbline.profile.training import Hardware, SamplesRecipe
from plumbline.schema.conversations import Decoder, Message
from plumbline.schema.held_out import BestOfDraws, EvalPrompt, Sample
from plumbline.storage.jsonl import read_records
from plumbline.training.job.spec import JobSpec
from plumbline.training.models.encoding import ChatEncoder, Encoded, encode_prompts
from plumbline.training.models.tokenizers import load_tokenizer
from plumbline.training.models.weights import load_policy, load_reward_model
from plumbline.training.sampling.sampling import (
    choose_tokens,
    draw_samples,
    sample_responses,
    spread_over_slices,
)
from plumbline.training.trainer.validation import response_logps, rewards

HARDWARE = Hardware(device="cpu", precision="float32", threads=1)


def folder_of(bench, role):
    return bench.store.root / "trees" / bench.inputs[role].tree[7:]


@pytest.fixture(scope="module")
def policy(bench):
    return load_policy(folder_of(bench, "reference_policy") / "model", HARDWARE)


@pytest.fixture(scope="module")
def tokenizer(bench):
    return load_tokenizer(folder_of(bench, "reference_policy") / "model")


@pytest.fixture(scope="module")
def prompts(bench, tokenizer):
    rows = list(read_records(folder_of(bench, "eval_vault") / "prompts.jsonl", EvalPrompt))
    return encode_prompts(ChatEncoder(tokenizer, 128), rows, 24).ids


def decoder(**fields):
    return Decoder(**{"temperature": 1.0, "max_new_tokens": 24, "seed": 0, **fields})


def test_greedy_tokens_equal_transformers_generate(policy, prompts):
    drawn = sample_responses(policy, prompts, decoder(temperature=0.0), 7, 1)
    for prompt, one in zip(prompts, drawn, strict=True):
        generated = policy.generate(
            input_ids=torch.tensor([prompt]),
            max_new_tokens=24,
            do_sample=False,
            eos_token_id=1,
            pad_token_id=0,
        )
        assert one.ids == generated[0, len(prompt) :].tolist()
        assert one.truncated == (one.ids[-1] != 1)


def test_greedy_does_not_depend_on_the_batch(policy, prompts):
    one, many = (
        sample_responses(policy, prompts, decoder(temperature=0.0), size, 1) for size in (1, 64)
    )
    assert [row.ids for row in one] == [row.ids for row in many]


def test_the_same_seed_gives_the_same_responses(policy, prompts):
    first, second, other = (
        sample_responses(policy, prompts, decoder(seed=seed), 16, 1) for seed in (3, 3, 4)
    )
    assert first == second
    assert [row.ids for row in first] != [row.ids for row in other]


@pytest.mark.parametrize("fields", [{}, {"temperature": 0.5}, {"top_p": 0.7}, {"temperature": 0.0}])
def test_the_logp_is_the_policy_s_own_whatever_the_decoder(policy, prompts, fields):
    drawn = sample_responses(policy, prompts, decoder(**fields), 16, 1)
    scored = response_logps(
        policy,
        [Encoded(prompt, [*prompt, *one.ids]) for prompt, one in zip(prompts, drawn, strict=True)],
    )
    assert [one.logp for one in drawn] == pytest.approx(scored.tolist(), abs=1e-3)


def test_a_response_stops_at_its_end_and_is_truncated_without_one(policy, prompts):
    for one in sample_responses(policy, prompts, decoder(max_new_tokens=6), 16, 1):
        assert 1 not in one.ids[:-1]
        assert one.truncated == (one.ids[-1] != 1)
        assert len(one.ids) == 6 or not one.truncated


def test_tokens_are_drawn_in_proportion():
    """20,000 draws from (0.5, 0.3, 0.2, 0): each share within four standard errors, and never the
    impossible token."""
    generator = torch.Generator().manual_seed(0)
    chances = torch.tensor([0.5, 0.3, 0.2, 0.0])
    chosen = choose_tokens(chances.log().expand(20000, 4), decoder(), generator)
    shares = torch.bincount(chosen, minlength=4) / 20000
    assert shares.tolist() == pytest.approx(chances.tolist(), abs=4 * (0.25 / 20000) ** 0.5)
    assert shares[3] == 0


def test_top_p_keeps_the_smallest_set_that_holds_the_mass():
    """(0.5, 0.3, 0.2) with top_p 0.7: 0.5 is not enough, 0.5 + 0.3 is; the third token never
    comes."""
    generator = torch.Generator().manual_seed(0)
    logps = torch.tensor([0.2, 0.5, 0.3]).log().expand(5000, 3)
    shares = torch.bincount(choose_tokens(logps, decoder(top_p=0.7), generator), minlength=3) / 5000
    assert shares[0] == 0
    assert shares[1].item() == pytest.approx(0.625, abs=0.03)


def test_the_temperature_sharpens():
    """Temperature 0.5 squares the odds: (0.75, 0.25) becomes (0.9, 0.1)."""
    generator = torch.Generator().manual_seed(0)
    chosen = choose_tokens(
        torch.tensor([0.75, 0.25]).log().expand(20000, 2), decoder(temperature=0.5), generator
    )
    assert (chosen == 0).float().mean().item() == pytest.approx(0.9, abs=0.01)


def test_the_reward_is_read_at_the_last_token(bench, prompts):
    model = load_reward_model(folder_of(bench, "reward_model") / "model", HARDWARE)
    batched = rewards(model, prompts)
    alone = [model(input_ids=torch.tensor([prompt])).logits.item() for prompt in prompts]
    assert batched.tolist() == pytest.approx(alone, abs=1e-4)


def test_prompts_without_room_are_counted_and_get_no_sample(bench, job_of):
    rows = list(read_records(folder_of(bench, "eval_vault") / "prompts.jsonl", EvalPrompt))
    long = rows[0].model_copy(
        update={"id": "long", "prompt": (Message(role="user", content="word " * 120),)}
    )
    vault = bench.inputs["eval_vault"]
    try:
        bench.publish("eval_vault", {"prompts.jsonl": [*rows, long]})
        job = job_of(bench.spec("samples"))
    finally:
        bench.inputs["eval_vault"] = vault
    facts = draw_samples(*job.arguments)
    samples = list(read_records(job.workspace.output / "samples.jsonl", Sample))
    assert facts.rows["prompts"] == {
        "in": len(rows) + 1,
        "used": len(rows),
        "dropped": {"too long": 1},
    }
    assert {(sample.policy, sample.prompt_id) for sample in samples} == {
        (policy, row.id) for policy in ("reference", "aligned") for row in rows
    }


def test_the_champion_answers_every_prompt_too_where_there_is_one(bench, job_of):
    """The champion here is the aligned policy itself: with the seed of the decoder it must say the
    same, with the same numbers beside it."""
    bench.inputs["champion_policy"] = bench.inputs["aligned_policy"]
    try:
        spec = bench.spec("samples")
        with_champion = spec.model_copy(
            update={
                "inputs": {**spec.inputs, "champion_policy": bench.inputs["champion_policy"].tree}
            }
        )
        job = job_of(with_champion)
    finally:
        del bench.inputs["champion_policy"]
    draw_samples(*job.arguments)
    by_policy = {}
    for sample in read_records(job.workspace.output / "samples.jsonl", Sample):
        by_policy.setdefault(sample.policy, []).append(sample.model_dump(exclude={"policy"}))
    assert list(by_policy) == ["reference", "aligned", "champion"]
    assert by_policy["champion"] == by_policy["aligned"]
    assert [sample["prompt_id"] for sample in by_policy["champion"]] == [
        sample["prompt_id"] for sample in by_policy["reference"]
    ]


def test_a_spec_takes_a_champion_and_nothing_else_beside_its_inputs(bench):
    spec = bench.spec("samples")
    with pytest.raises(ValueError, match=r"and at most \['champion_policy'\]"):
        JobSpec.model_validate(
            {
                **spec.model_dump(),
                "inputs": {**spec.inputs, "demonstrations": spec.inputs["eval_vault"]},
            }
        )
    training = bench.spec("reward_model")
    with pytest.raises(ValueError, match="takes the inputs"):
        JobSpec.model_validate(
            {
                **training.model_dump(),
                "inputs": {**training.inputs, "champion_policy": spec.inputs["aligned_policy"]},
            }
        )


def test_best_of_draws_are_the_reference_s_own_at_temperature_1(bench, job_of, policy, tokenizer):
    """Every draw is written with the reward that the reward model gives to the text, whatever the
    decoder of the samples is."""
    recipe = SamplesRecipe(
        decoder=decoder(temperature=0.0), batch_size=64, best_of=BestOf(n=3, prompts=5)
    )
    job = job_of(bench.spec("samples", recipe))
    facts = draw_samples(*job.arguments)
    draws = list(read_records(job.workspace.output / "best_of.jsonl", BestOfDraws))
    assert facts.best_of == BestOf(n=3, prompts=5)
    assert [(len(one.responses), len(one.rewards), len(one.tokens)) for one in draws] == [
        (3, 3, 3)
    ] * 5
    assert len({one.slice for one in draws}) == 5
    assert any(
        len(set(one.responses)) > 1 for one in draws
    )  # at temperature 0 all three would be equal
    judge = load_reward_model(folder_of(bench, "reward_model") / "model", HARDWARE)
    rows = {
        row.id: row
        for row in read_records(folder_of(bench, "eval_vault") / "prompts.jsonl", EvalPrompt)
    }
    encoder = ChatEncoder(tokenizer, 128)
    flat = [
        (rows[one.prompt_id].prompt, text, reward, tokens)
        for one in draws
        for text, reward, tokens in zip(one.responses, one.rewards, one.tokens, strict=True)
    ]
    encoded = encoder.responses([prompt for prompt, *_ in flat], [text for _, text, *_ in flat])
    # A text that is cut into other tokens than the policy sampled, or that ran out of room before
    # its end, is another sequence.
    same = [i for i, one in enumerate(encoded) if len(one.ids) - len(one.prompt) == flat[i][3] < 24]
    assert len(same) >= 5
    again = rewards(judge, [encoded[i].ids for i in same]).tolist()
    assert again == pytest.approx([flat[i][2] for i in same], abs=1e-3)


def test_best_of_prompts_are_spread_over_the_slices_and_never_reworded(bench):
    rows = list(read_records(folder_of(bench, "eval_vault") / "prompts.jsonl", EvalPrompt))
    reworded = [
        row.model_copy(
            update={"id": f"{row.id[:20]}-polite", "facts": {**row.facts, "variant_of": row.id}}
        )
        for row in rows
    ]
    slices = {row.context.slice for row in rows}
    chosen = spread_over_slices([*reworded, *rows], 2 * len(slices) + 1)
    counts = Counter(row.context.slice for row in chosen)
    assert set(counts) == slices
    assert sorted(counts.values()) == [*[2] * (len(slices) - 1), 3]
    assert all("variant_of" not in row.facts for row in chosen)
    assert spread_over_slices(list(reversed(rows)), 5) == spread_over_slices(rows, 5)
    assert len(spread_over_slices(rows, 10**6)) == len(rows)


def message(path):
    return base64.b64encode(zlib.compress(json.dumps({"path": str(path)}).encode())).decode()


def test_the_worker_writes_samples_and_reports_through_pipes(bench, tmp_path):
    (tmp_path / "context.json").write_text(json.dumps({"extras": {}}))
    folder = bench.prepare(bench.spec("samples"), "samples")
    pipes = {
        "DAGSTER_PIPES_CONTEXT": message(tmp_path / "context.json"),
        "DAGSTER_PIPES_MESSAGES": message(tmp_path / "messages.jsonl"),
    }
    result = bench.run(folder, **pipes)
    samples = list(read_records(folder / "output" / "samples.jsonl", Sample))
    assert result["facts"]["samples"] == len(samples)
    reference = [sample for sample in samples if sample.policy == "reference"]
    assert all(sample.logp == sample.reference_logp for sample in reference)
    assert any(
        sample.logp != sample.reference_logp for sample in samples if sample.policy == "aligned"
    )
    assert all(sample.reward is not None and 0 < sample.tokens <= 24 for sample in samples)
    assert not [sample.response for sample in samples if "<|" in sample.response]
    messages = [json.loads(line) for line in (tmp_path / "messages.jsonl").read_text().splitlines()]
    assert [
        one["params"]["payload"] for one in messages if one["method"] == "report_custom_message"
    ] == [{"tree": result["tree"]}]
    assert any(
        "responses" in one["params"]["message"] for one in messages if one["method"] == "log"
    )


def test_scores_do_not_depend_on_how_many_fit_at_once(policy, prompts, monkeypatch):
    """A large vocabulary leaves room for one sequence only; the scores agree to rounding."""
    sequences = [Encoded(prompt, [*prompt, 20, 21, 1]) for prompt in prompts]
    many = response_logps(policy, sequences)
    monkeypatch.setattr("plumbline.training.trainer.validation.MAX_LOGITS", 1)
    assert response_logps(policy, sequences).tolist() == pytest.approx(many.tolist(), abs=1e-4)
