"""The guardrail of the sandbox against the truth, on requests about intents that it was never
fitted or measured on.

Run: .venv/bin/python benchmarks/guardrail.py

The rates that ship are those of noisy labels, on other wordings of known intents. Here the base
policy answers every prompt of the held-out slices, and the world itself says what is a violation.
Prints false positives and false negatives with exact 95 % intervals, by slice.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plumbline.data.batch_index.index import write_batch
from plumbline.data.preferences.build import build_preferences
from plumbline.data.sources import sandbox_options
from plumbline.guardrail.build import build_guardrail, write_guardrail
from plumbline.guardrail.labels import guardrail_rows
from plumbline.guardrail.measurement import exact
from plumbline.guardrail.serve import serve
from plumbline.profile.profile import CONFIGS, load_profile
from plumbline.sandbox.datasets import eval_prompts
from plumbline.sandbox.judge import judge
from plumbline.sandbox.responses import sample_response
from plumbline.sandbox.verdicts import verdict_events
from plumbline.sandbox.world import parse_intent
from plumbline.schema.rubric import load_rubric

SEED = 5


def main() -> None:
    """Fit the guardrail of the profile as its asset does, and judge one response of the base policy
    to each held-out prompt."""
    profile = load_profile("sandbox")
    options, rubric = (
        sandbox_options(profile, profile.source),
        load_rubric(CONFIGS / profile.rubric),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_batch(folder / "batch", verdict_events(options), profile.preferences.near_duplicates)
        build_preferences(
            [folder / "batch"], folder / "data", rubric, profile.preferences, profile.seed, []
        )
        labelled, digest = guardrail_rows(folder / "data"), "sha256:" + "0" * 64
        built = build_guardrail(
            labelled,
            profile.guardrail,
            profile=profile.name,
            rubric=rubric.label,
            preference_data=digest,
            seed=profile.seed,
        )
        write_guardrail(folder, built)
        guardrail = serve(folder)
    rng, counts = Random(SEED), Counter()
    for prompt in eval_prompts(options):
        intent, language = parse_intent(prompt.facts["intent"]), prompt.facts["language"]
        text = sample_response(intent, language, rng)
        outcome = (
            judge(intent, language, text).complied,
            guardrail.judge(prompt.prompt, text).action == "block",
        )
        counts.update([("all", *outcome), (prompt.context.slice, *outcome)])
    for slice_ in sorted({name for name, _, _ in counts}):
        for what, violation, wrong in (
            ("false positives", False, True),
            ("false negatives", True, False),
        ):
            errors, total = (
                counts[slice_, violation, wrong],
                counts[slice_, violation, True] + counts[slice_, violation, False],
            )
            if total:
                rate = exact(errors, total, 0.95)
                print(
                    f"{slice_:13} {what}: {rate.value:6.1%} [{100 * rate.low:.1f},"
                    f" {100 * rate.high:.1f}] of {total}"
                )


if __name__ == "__main__":
    main()
