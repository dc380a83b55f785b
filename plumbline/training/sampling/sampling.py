"""Samples: one response of each policy to each held-out prompt, with what the metrics need, and
several of the reference to some prompts."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from plumbline.errors import TrainingError
from plumbline.profile.evaluation import BestOf
from plumbline.profile.models import Model
from plumbline.profile.training import Hardware, SamplesRecipe
from plumbline.records import Record
from plumbline.schema.conversations import Decoder
from plumbline.schema.held_out import PROMPTS, BestOfDraws, EvalPrompt, Policy, Sample
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    BEST_OF_FILE,
    CHAMPION_POLICY,
    EVAL_VAULT,
    REFERENCE_POLICY,
    REWARD_MODEL,
    SAMPLES_FILE,
)
from plumbline.storage.jsonl import read_records, write_records
from plumbline.training.job.workspace import Workspace
from plumbline.training.models.chat_template import template_digest
from plumbline.training.models.encoding import ChatEncoder, Encoded, Prompts, encode_prompts
from plumbline.training.models.tokenizers import load_tokenizer, tokenizer_digest
from plumbline.training.models.weights import load_policy, load_reward_model
from plumbline.training.trainer.validation import response_logps, rewards

_POLICIES: Final[tuple[tuple[Policy, str], ...]] = (
    ("reference", REFERENCE_POLICY),
    ("aligned", ALIGNED_POLICY),
    ("champion", CHAMPION_POLICY),
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


class SampleFacts(Record):
    """What a sampling job states."""

    decoder: Decoder
    rows: dict[str, dict[str, Any]]
    """Of the prompts: in, used, and dropped by reason."""
    samples: int
    best_of: BestOf | None
    truncated: dict[str, int]
    """By policy: responses that ran out of room."""
    tokenizer: str
    chat_template: str


class Judges(NamedTuple):
    """The models that score every response, whichever policy gave it."""

    reference: Any
    """The reference policy, for log-probabilities."""
    rewards: Any
    """The reward model."""


def draw_samples(
    recipe: SamplesRecipe,
    model: Model,
    hardware: Hardware,
    inputs: Mapping[str, Path],
    workspace: Workspace,
) -> SampleFacts:
    """Write samples.jsonl, and best_of.jsonl where the recipe asks for it, into the output folder
    and return the facts.

    A prompt that leaves no room for a response is counted and gets no sample, under any policy.

    Raises:
        TrainingError: If the models do not share one tokenizer and chat template, or no prompt
            fits.
    """
    folders = {role: tree / "model" for role, tree in inputs.items() if role != EVAL_VAULT}
    tokenizer = load_tokenizer(folders[REFERENCE_POLICY])
    _require_one_tokenizer(folders)
    rows = _encoded_prompts(
        inputs[EVAL_VAULT], ChatEncoder(tokenizer, model.max_length), recipe.decoder
    )
    workspace.log(f"{len(rows.rows)} of {rows.rows_in} held-out prompts")
    reference = load_policy(folders[REFERENCE_POLICY], hardware)
    judges = Judges(reference, load_reward_model(folders[REWARD_MODEL], hardware))
    samples: dict[str, list[Sample]] = {}
    policies = [(name, role) for name, role in _POLICIES if role in folders]
    for step, (name, role) in enumerate(policies, start=1):
        policy = reference if name == "reference" else load_policy(folders[role], hardware)
        samples[name] = _samples_of(policy, name, rows, recipe, judges, tokenizer)
        _report(workspace, step, len(policies), name, samples[name])
    everything = [sample for own in samples.values() for sample in own]
    write_records(workspace.output / SAMPLES_FILE, everything)
    if recipe.best_of is not None:
        write_records(
            workspace.output / BEST_OF_FILE,
            draw_best_of(recipe.best_of, recipe, rows, judges, tokenizer),
        )
    return SampleFacts(
        decoder=recipe.decoder,
        rows={"prompts": rows.counts},
        samples=len(everything),
        best_of=recipe.best_of,
        truncated={name: sum(sample.truncated for sample in own) for name, own in samples.items()},
        tokenizer=tokenizer_digest(folders[REFERENCE_POLICY]),
        chat_template=template_digest(tokenizer.chat_template),
    )


def _encoded_prompts(vault: Path, encoder: ChatEncoder, decoder: Decoder) -> Prompts:
    prompts = list(read_records(vault / PROMPTS, EvalPrompt))
    rows = encode_prompts(encoder, prompts, decoder.max_new_tokens)
    if not rows.rows:
        raise TrainingError(
            f"none of the {rows.rows_in} held-out prompts leaves room for"
            f" {decoder.max_new_tokens} new tokens: {rows.dropped}"
        )
    return rows


def _samples_of(
    policy: Any,
    name: Policy,
    rows: Prompts,
    recipe: SamplesRecipe,
    judges: Judges,
    tokenizer: Any,
) -> list[Sample]:
    """One response of a policy to each prompt, scored."""
    drawn = sample_responses(
        policy, rows.ids, recipe.decoder, recipe.batch_size, tokenizer.eos_token_id
    )
    sequences = [
        Encoded(prompt, [*prompt, *draw.ids]) for prompt, draw in zip(rows.ids, drawn, strict=True)
    ]
    # The reference has scored its own tokens while it drew them.
    logps = (
        [draw.logp for draw in drawn]
        if name == "reference"
        else response_logps(judges.reference, sequences).tolist()
    )
    scores = rewards(judges.rewards, [sequence.ids for sequence in sequences]).tolist()
    texts = tokenizer.batch_decode([draw.ids for draw in drawn], skip_special_tokens=True)
    return [
        Sample(
            prompt_id=row.id,
            slice=row.context.slice,
            policy=name,
            response=text,
            tokens=len(draw.ids),
            truncated=draw.truncated,
            logp=draw.logp,
            reference_logp=logp,
            reward=score,
            seed=recipe.decoder.seed,
        )
        for row, draw, text, logp, score in zip(rows.rows, drawn, texts, logps, scores, strict=True)
    ]


def _report(
    workspace: Workspace, step: int, total: int, name: str, samples: Sequence[Sample]
) -> None:
    tokens = sum(sample.tokens for sample in samples)
    scores = [sample.reward for sample in samples if sample.reward is not None]
    workspace.log(f"{name}: {len(samples)} responses, {tokens} tokens")
    workspace.report_progress(
        step,
        total,
        {f"{name}/tokens": tokens / len(samples), f"{name}/reward": sum(scores) / len(scores)},
    )


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
    rows: Prompts,
    judges: Judges,
    tokenizer: Any,
) -> list[BestOfDraws]:
    """Several responses of the reference to some prompts, with their rewards.

    They are drawn from the policy itself, at temperature 1 and top_p 1 whatever the decoder says:
    only for such draws is the divergence of the best of n known in closed form.
    """
    decoder = Decoder(
        temperature=1.0, max_new_tokens=recipe.decoder.max_new_tokens, seed=recipe.decoder.seed + 1
    )
    ids_of = {row.id: ids for row, ids in zip(rows.rows, rows.ids, strict=True)}
    chosen = spread_over_slices(rows.rows, best_of.prompts)
    prompts = [ids_of[row.id] for row in chosen for _ in range(best_of.n)]
    drawn = sample_responses(
        judges.reference, prompts, decoder, recipe.batch_size, tokenizer.eos_token_id
    )
    sequences = [[*prompt, *draw.ids] for prompt, draw in zip(prompts, drawn, strict=True)]
    scores = rewards(judges.rewards, sequences).tolist()
    texts = tokenizer.batch_decode([draw.ids for draw in drawn], skip_special_tokens=True)
    draws = []
    # The n draws of a prompt stand beside each other, in the order of the prompts.
    for row, start in zip(chosen, range(0, len(drawn), best_of.n), strict=True):
        own = slice(start, start + best_of.n)
        draws.append(
            BestOfDraws(
                prompt_id=row.id,
                slice=row.context.slice,
                responses=tuple(texts[own]),
                rewards=tuple(scores[own]),
                tokens=tuple(len(draw.ids) for draw in drawn[own]),
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
    # Positions count from the first token that is not padding, so that a prompt reads the same
    # whatever it is padded to.
    positions = (attention.cumsum(dim=1) - 1).clamp(min=0)  # (b, t)
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
        log_probabilities = torch.log_softmax(logits[:, -1].float(), dim=-1)  # (b, v)
        chosen = choose_tokens(log_probabilities, decoder, generator)
        tokens[live, step] = chosen
        logps[live] += log_probabilities.gather(1, chosen[:, None]).squeeze(1)
        unfinished = (chosen != end).nonzero().squeeze(1)
        if not len(unfinished):
            break
        if len(unfinished) < len(live):
            # Finished rows leave the cache and everything that is indexed like it.
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
        # A token stays while those before it hold less than top_p: at least one always does.
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
