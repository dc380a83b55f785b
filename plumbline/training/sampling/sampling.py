"""Samples: one response of each policy to each held-out prompt, with what the metrics need, and
several of the reference to some prompts."""

import hashlib
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from plumbline.errors import TrainingError
from plumbline.profile.evaluation import BestOf
from plumbline.profile.training import SamplesRecipe
from plumbline.schema.conversations import Decoder
from plumbline.schema.prompts import PROMPTS, EvalPrompt
from plumbline.schema.samples import BestOfDraws, Policy, Sample
from plumbline.storage.jsonl import read_records, write_records
from plumbline.training.job.workspace import Workspace
from plumbline.training.models.chat_template import template_digest
from plumbline.training.models.encoding import ChatEncoder, Encoded, EncodedRows, encode_prompts
from plumbline.training.models.tokenizers import load_tokenizer, tokenizer_digest
from plumbline.training.models.weights import load_policy, load_reward_model
from plumbline.training.trainer.validation import response_logps, rewards

_POLICIES: Final[tuple[tuple[Policy, str], ...]] = (
    ("reference", "reference_policy"),
    ("aligned", "aligned_policy"),
    ("champion", "champion_policy"),
)
"""The policies that answer every prompt, with the input that holds each."""


class Drawn(NamedTuple):
    """One sampled response."""

    ids: list[int]
    """Sampled tokens, the end token included when there is one."""
    truncated: bool
    """True when the response ran into `max_new_tokens` before its end token."""
    logp: float
    """Log-probability of the tokens under the policy itself, in nats: at temperature 1 and without
    top_p, whatever the decoder does."""


def draw_samples(workspace: Workspace, recipe: SamplesRecipe) -> dict[str, Any]:
    """Write samples.jsonl, and best_of.jsonl where the recipe asks for it, into the output folder
    and return the facts.

    A prompt that leaves no room for a response is counted and gets no sample, under any policy.

    Raises:
        TrainingError: If the models do not share one tokenizer and chat template, or no prompt
            fits.
    """
    spec = workspace.spec
    folders = {role: workspace.tree(role) / "model" for role in spec.inputs if role != "eval_vault"}
    tokenizer = load_tokenizer(folders["reference_policy"])
    _require_one_tokenizer(folders)
    encoder = ChatEncoder(tokenizer, spec.model.max_length)
    rows = encode_prompts(
        encoder,
        list(read_records(workspace.tree("eval_vault") / PROMPTS, EvalPrompt)),
        recipe.decoder.max_new_tokens,
    )
    if not rows.rows:
        raise TrainingError(
            f"none of the {rows.rows_in} held-out prompts leaves room for"
            f" {recipe.decoder.max_new_tokens} new tokens: {rows.dropped}"
        )
    workspace.log(f"{len(rows.rows)} of {rows.rows_in} held-out prompts")
    reference = load_policy(folders["reference_policy"], spec.hardware)
    judge = load_reward_model(folders["reward_model"], spec.hardware)
    samples: list[Sample] = []
    policies = [(name, role) for name, role in _POLICIES if role in folders]
    for step, (name, role) in enumerate(policies, start=1):
        policy = reference if name == "reference" else load_policy(folders[role], spec.hardware)
        drawn = sample_responses(
            policy, rows.ids, recipe.decoder, recipe.batch_size, tokenizer.eos_token_id
        )
        sequences = [
            Encoded(prompt, [*prompt, *one.ids])
            for prompt, one in zip(rows.ids, drawn, strict=True)
        ]
        logps = (
            [one.logp for one in drawn]
            if name == "reference"
            else response_logps(reference, sequences).tolist()
        )
        scores = rewards(judge, [one.ids for one in sequences]).tolist()
        texts = tokenizer.batch_decode([one.ids for one in drawn], skip_special_tokens=True)
        samples += _samples(name, rows, drawn, texts, logps, scores, recipe.decoder.seed)
        tokens = sum(len(one.ids) for one in drawn)
        workspace.log(f"{name}: {len(drawn)} responses, {tokens} tokens")
        workspace.report_progress(
            step,
            len(policies),
            {f"{name}/tokens": tokens / len(drawn), f"{name}/reward": sum(scores) / len(scores)},
        )
    write_records(workspace.output / "samples.jsonl", samples)
    if recipe.best_of is not None:
        write_records(
            workspace.output / "best_of.jsonl",
            draw_best_of(recipe.best_of, recipe, rows, reference, judge, tokenizer),
        )
    return {
        "decoder": recipe.decoder.model_dump(mode="json"),
        "rows": {"prompts": rows.counts},
        "samples": len(samples),
        "best_of": None if recipe.best_of is None else recipe.best_of.model_dump(mode="json"),
        "truncated": {
            name: sum(sample.truncated for sample in samples if sample.policy == name)
            for name, _ in policies
        },
        "tokenizer": tokenizer_digest(folders["reference_policy"]),
        "chat_template": template_digest(tokenizer.chat_template),
    }


def spread_over_slices(prompts: Sequence[EvalPrompt], count: int) -> list[EvalPrompt]:
    """At most this many prompts, as evenly over the slices as there are prompts; none that is
    another prompt worded anew.

    Which ones depends on their ids alone, so that a vault that grows by a slice keeps most of its
    choice.
    """
    by_slice: dict[str, list[EvalPrompt]] = {}
    for prompt in sorted(prompts, key=lambda prompt: hashlib.sha256(prompt.id.encode()).digest()):
        if "variant_of" not in prompt.facts:
            by_slice.setdefault(prompt.context.slice, []).append(prompt)
    rounds = zip_longest(*(by_slice[name] for name in sorted(by_slice)))
    return [prompt for prompt in chain.from_iterable(rounds) if prompt is not None][:count]


def draw_best_of(
    best_of: BestOf,
    recipe: SamplesRecipe,
    rows: EncodedRows[EvalPrompt, list[int]],
    reference: Any,
    judge: Any,
    tokenizer: Any,
) -> list[BestOfDraws]:
    """Several responses of the reference to some prompts, with their rewards.

    They are drawn from the policy itself, at temperature 1 and top_p 1 whatever the decoder says:
    only for such draws is the divergence of the best of n known in closed form.
    """
    decoder = Decoder(
        temperature=1.0, max_new_tokens=recipe.decoder.max_new_tokens, seed=recipe.decoder.seed + 1
    )
    ids = {row.id: one for row, one in zip(rows.rows, rows.ids, strict=True)}
    chosen = spread_over_slices(rows.rows, best_of.prompts)
    prompts = [ids[row.id] for row in chosen for _ in range(best_of.n)]
    drawn = sample_responses(reference, prompts, decoder, recipe.batch_size, tokenizer.eos_token_id)
    scores = rewards(
        judge, [[*prompt, *one.ids] for prompt, one in zip(prompts, drawn, strict=True)]
    ).tolist()
    texts = tokenizer.batch_decode([one.ids for one in drawn], skip_special_tokens=True)
    draws = []
    for row, start in zip(chosen, range(0, len(drawn), best_of.n), strict=True):
        own = slice(start, start + best_of.n)
        tokens = tuple(len(one.ids) for one in drawn[own])
        draws.append(
            BestOfDraws(
                prompt_id=row.id,
                slice=row.context.slice,
                responses=tuple(texts[own]),
                rewards=tuple(scores[own]),
                tokens=tokens,
            )
        )
    return draws


def sample_responses(
    model: Any, prompts: Sequence[Sequence[int]], decoder: Decoder, batch_size: int, end: int
) -> list[Drawn]:
    """One response to each prompt; the same prompts, decoder and batch size give the same
    responses.

    This is transformers' `generate` without its bookkeeping: finished rows leave the batch instead
    of being computed to the end, a draw costs one random number instead of one for each token of
    the vocabulary, and nothing but the decoder decides, whereas a hub model may bring a temperature
    or a repetition penalty of its own. Twice the speed on models this small; at temperature 0 the
    tokens are the same.

    Args:
        model: A causal language model with a padding token in its configuration.
        prompts: Ids of each prompt with the opening of the response.
        decoder: How to sample.
        batch_size: Prompts at once; the prompts are sorted by length first, so that little is
            padding.
        end: Id of the token that ends a response.
    """
    model.eval()
    generator = torch.Generator(device=model.device).manual_seed(decoder.seed)
    order = sorted(range(len(prompts)), key=lambda position: len(prompts[position]))
    drawn: dict[int, Drawn] = {}
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            index = order[start : start + batch_size]
            drawn.update(
                zip(
                    index,
                    _sample_batch(model, [prompts[i] for i in index], decoder, end, generator),
                    strict=True,
                )
            )
    return [drawn[position] for position in range(len(prompts))]


def _sample_batch(
    model: Any, prompts: Sequence[Sequence[int]], decoder: Decoder, end: int, generator: Any
) -> list[Drawn]:
    """The responses to one batch of prompts, with padding on the left and a cache of keys and
    values."""
    longest = max(map(len, prompts))
    pad = model.config.pad_token_id
    ids = torch.tensor(
        [[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=model.device
    )
    attention = torch.tensor(
        [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts],
        device=model.device,
    )
    positions = (attention.cumsum(dim=1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    tokens = torch.full((len(prompts), decoder.max_new_tokens), end, device=model.device)
    logps = torch.zeros(len(prompts), device=model.device)
    live = torch.arange(len(prompts), device=model.device)  # rows of `tokens` that the cache holds
    for step in range(decoder.max_new_tokens):
        logits = model(
            input_ids=ids,
            attention_mask=attention,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        log_probabilities = torch.log_softmax(logits[:, -1].float(), dim=-1)
        chosen = choose_tokens(log_probabilities, decoder, generator)
        tokens[live, step] = chosen
        logps[live] += log_probabilities.gather(1, chosen[:, None]).squeeze(1)
        unfinished = (chosen != end).nonzero().squeeze(1)
        if not len(unfinished):
            break
        if len(unfinished) < len(live):
            cache.batch_select_indices(unfinished)
            live, chosen, attention, positions = (
                live[unfinished],
                chosen[unfinished],
                attention[unfinished],
                positions[unfinished],
            )
        attention = torch.cat([attention, attention.new_ones(len(attention), 1)], dim=1)
        ids, positions = chosen[:, None], positions[:, -1:] + 1
    return [
        _drawn(row, logp, end) for row, logp in zip(tokens.tolist(), logps.tolist(), strict=True)
    ]


def choose_tokens(log_probabilities: Tensor, decoder: Decoder, generator: Any) -> Tensor:
    """One token for each row.

    Args:
        log_probabilities: Of the next token under the policy, shape (b, v), in nats.
        decoder: Temperature 0 takes the most probable token. `top_p` keeps the smallest set of most
            probable tokens that holds this much probability after the temperature (Holtzman et al.
            2020).
        generator: Source of randomness.

    Returns:
        Token ids, shape (b,).
    """
    if decoder.temperature == 0:
        return log_probabilities.argmax(dim=-1)
    probabilities = torch.softmax(log_probabilities / decoder.temperature, dim=-1)
    if decoder.top_p < 1:
        ranked, order = probabilities.sort(dim=-1, descending=True)
        outside = ranked.cumsum(dim=-1) - ranked >= decoder.top_p
        probabilities = probabilities.scatter(1, order, ranked.masked_fill(outside, 0.0))
    # The inverse of the cumulative distribution: one random number for each row, where
    # torch.multinomial draws one for each token.
    cumulative = probabilities.double().cumsum(dim=-1)
    drawn = (
        torch.rand(
            len(cumulative),
            1,
            generator=generator,
            dtype=cumulative.dtype,
            device=cumulative.device,
        )
        * cumulative[:, -1:]
    )
    return (
        torch.searchsorted(cumulative, drawn, right=True)
        .squeeze(1)
        .clamp(max=cumulative.shape[1] - 1)
    )


def _drawn(row: list[int], logp: float, end: int) -> Drawn:
    finished = end in row
    return Drawn(row[: row.index(end) + 1] if finished else row, not finished, logp)


def _samples(
    name: Policy,
    rows: EncodedRows[EvalPrompt, list[int]],
    drawn: Sequence[Drawn],
    texts: Sequence[str],
    logps: Sequence[float],
    scores: Sequence[float],
    seed: int,
) -> list[Sample]:
    return [
        Sample(
            prompt_id=row.id,
            slice=row.context.slice,
            policy=name,
            response=text,
            tokens=len(one.ids),
            truncated=one.truncated,
            logp=one.logp,
            reference_logp=logp,
            reward=score,
            seed=seed,
        )
        for row, one, text, logp, score in zip(rows.rows, drawn, texts, logps, scores, strict=True)
    ]


def _require_one_tokenizer(folders: dict[str, Path]) -> None:
    """Check that one set of ids means the same to all models.

    Raises:
        TrainingError: If vocabulary or chat template differ.
    """
    identities = {
        role: (tokenizer_digest(folder), template_digest(load_tokenizer(folder).chat_template))
        for role, folder in folders.items()
    }
    if len(set(identities.values())) != 1:
        raise TrainingError(
            f"the models do not share one tokenizer and chat template: {identities}; train them"
            " from one reference policy"
        )
