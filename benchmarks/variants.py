"""What the newest sandbox policy makes of each way of wording a held-out prompt anew: the table of
docs/vault.md.

Run: .venv/bin/python benchmarks/variants.py [--prompts 150]  (after `make demo`; about a minute)

Each slice gives the same prompts to every wording, `as written` among them; those that cannot be
worded so, or leave no room for a response, are left out and counted. One response is sampled to
each with the decoder of the profile, and the sandbox's true judge scores it. The prompts are made
anew from the seed of the profile; the vault is not opened.
"""

import argparse
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Final, get_args

from plumbline.data.sources import load_held_out_prompts
from plumbline.evaluation.scorers import score_sandbox
from plumbline.evaluation.vault.variants import reword
from plumbline.lineage.newest import newest_artifact
from plumbline.profile.evaluation import VariantName
from plumbline.profile.profile import load_profile
from plumbline.schema.held_out import EvalPrompt
from plumbline.simulation.rollouts import Rollouts, sample_rollouts
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout

AS_WRITTEN: Final = "as written"
METRICS: Final = ("over_refusal", "correctness", "harmful_compliance", "garbled")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=150, help="prompts of each slice")
    number = parser.parse_args().prompts
    layout = HomeLayout.from_environment()
    profile, store = load_profile(layout.profile), ArtifactStore(layout.store)
    digest, _ = newest_artifact(store, "aligned_policy", profile.digest(), profile.candidate)
    folder, _ = store.open(digest)
    slices: dict[str, list[EvalPrompt]] = defaultdict(list)
    for prompt in load_held_out_prompts(profile, Path).rows:
        slices[prompt.context.slice].append(prompt)
    chosen = [
        prompt
        for name, prompts in sorted(slices.items())
        for prompt in Random(f"{profile.seed}|{name}").sample(prompts, number)
    ]
    asked = [(AS_WRITTEN, prompt) for prompt in chosen]
    asked += [
        (manner, worded)
        for manner in get_args(VariantName)
        for prompt in chosen
        if (worded := reword(prompt, manner)) is not None
    ]
    answers = sample_rollouts(
        Rollouts(
            policy=str(folder / "model"),
            hardware=profile.hardware,
            max_length=profile.model.max_length,
            batch_size=profile.evaluation.batch_size,
            decoders=(profile.evaluation.decoder,),
            prompts=tuple(prompt.prompt for _, prompt in asked),
        )
    )
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    sampled: Counter[str] = Counter()
    for (manner, prompt), answer in zip(asked, answers, strict=True):
        if answer.texts:
            sampled[manner] += 1
            for name, value in score_sandbox(prompt, answer.texts[0]).metrics.items():
                if value is not None:
                    scores[manner][name].append(value)
    print(
        f"policy {digest}\n\n| wording | prompts | {' | '.join(METRICS)}"
        f" |\n|{'---|' * (len(METRICS) + 2)}"
    )
    for manner, values in scores.items():
        rates = " | ".join(f"{sum(values[name]) / len(values[name]):.1%}" for name in METRICS)
        print(f"| {manner} | {sampled[manner]} of {len(chosen)} | {rates} |")


if __name__ == "__main__":
    main()
