"""A new method touches four places: the recipe, the loss, the method's file and its row.

The test makes these edits in a copy of the library, for three methods that nobody would want: an
objective beside DPO, a second reward model, and another way to sample. The profile asks for the
first, the dry run plans it, and the worker runs all three.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from plumbline.storage.code_identity import ROOT

RECIPES = '''
class HalvedRecipe(DPORecipe):
    """DPO on halved log-ratios, which is DPO with half of beta."""

    objective: Literal["halved"]


class OpeningsRecipe(SamplesRecipe):
    """The first tokens of each response."""

    tokens: int = Field(gt=0)


'''
LOSS = '''

def halved_beta(beta: float) -> float:
    """The beta that halved log-ratios amount to."""
    return beta / 2
'''
HALVED = '''"""DPO on halved log-ratios."""

from plumbline.objectives.losses import halved_beta
from plumbline.training.methods import dpo


def _plain(recipe):
    return dpo.DPORecipe.model_construct(
        **{**dict(recipe), "objective": "dpo", "beta": halved_beta(recipe.beta)}
    )


def train_halved(recipe, *rest):
    """Train with DPO on half of beta."""
    return dpo.train_aligned_policy(_plain(recipe), *rest).model_copy(update={"loss": "halved"})


def halved_arguments(recipe, *rest):
    """The arguments of DPO on half of beta."""
    return dpo.dpo_arguments(_plain(recipe), *rest)
'''
OPENINGS = '''"""The first tokens of each response."""

from plumbline.training.sampling.sampling import draw_samples


def draw_openings(recipe, *rest):
    """Draw as always, but stop early."""
    decoder = recipe.decoder.model_copy(update={"max_new_tokens": recipe.tokens})
    return draw_samples(recipe.model_copy(update={"decoder": decoder}), *rest)
'''
ROWS = """    Method(
        kind="aligned_policy",
        recipe=HalvedRecipe,
        inputs=frozenset({"preference_data", "reference_policy"}),
        module="plumbline.training.methods.halved",
        run="train_halved",
        arguments="halved_arguments",
    ),
    Method(
        kind="safety_model",
        recipe=RewardRecipe,
        inputs=frozenset({"preference_data", "reference_policy"}),
        module="plumbline.training.methods.reward_model",
        run="train_reward_model",
        arguments="reward_arguments",
    ),
    Method(
        kind="samples",
        recipe=OpeningsRecipe,
        inputs=frozenset({"reference_policy", "aligned_policy", "reward_model", "eval_vault"}),
        module="plumbline.training.methods.openings",
        run="draw_openings",
    ),
)


def method_of("""
PLAN = """
import json
from plumbline.profile.profile import Profile, load_profile
from plumbline.training.dry_run import plan_profile

given = json.loads(load_profile("sandbox").to_json())
given["recipes"]["dpo"]["objective"] = "halved"
profile = Profile.from_json(json.dumps(given))
plans = plan_profile(profile)
print(json.dumps([plan for plan in plans if plan["recipe"].get("objective") == "halved"]))
"""
# The job is asked for by its parent and done by the worker, as always; only in one process.
RUN = """
import json, sys
from pathlib import Path
from plumbline.training import worker
from plumbline.training.job.spec import Job, JobSpec

folder = Path(sys.argv[1])
job = json.loads((folder / "job.json").read_bytes())
spec = JobSpec.from_json(json.dumps(job["spec"]).encode())
job["spec"]["source"] = spec.method.source_digest()
(folder / "job.json").write_bytes(Job.from_json(json.dumps(job).encode()).to_json())
sys.exit(worker.main([str(folder)]))
"""


OPENING = {"max_new_tokens": 2, "seed": 0, "temperature": 1.0, "top_p": 1.0}


def edit(path, *pairs):
    text = path.read_text()
    for old, new in pairs:
        assert text.count(old) == 1, f"{path}: '{old}' stands {text.count(old)} times"
        text = text.replace(old, new)
    path.write_text(text)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The library with three methods more."""
    folder = tmp_path_factory.mktemp("copy")
    for part in ("plumbline", "configs"):
        shutil.copytree(ROOT / part, folder / part)
    library = folder / "plumbline"
    edit(
        library / "profile" / "training.py",
        ("# What a profile may ask for", RECIPES.lstrip() + "# What a profile may ask for"),
        (
            "PolicyRecipe = DPORecipe\n",
            "PolicyRecipe = Annotated[\n"
            "    DPORecipe | HalvedRecipe, Field(discriminator='objective')\n]\n",
        ),
        ("PolicyRecipe | SamplesRecipe\n", "PolicyRecipe | SamplesRecipe | OpeningsRecipe\n"),
        ("from typing import ", "from typing import Annotated, "),
    )
    with (library / "objectives" / "losses.py").open("a") as stream:
        stream.write(LOSS)
    (library / "training" / "methods" / "halved.py").write_text(HALVED)
    (library / "training" / "methods" / "openings.py").write_text(OPENINGS)
    edit(
        library / "training" / "job" / "kinds.py",
        (")\n\n\ndef method_of(", ROWS),
        (
            "    DPORecipe,\n    Recipe,",
            "    DPORecipe,\n    HalvedRecipe,\n    OpeningsRecipe,\n    Recipe,",
        ),
        ('"samples"]\n', '"samples", "safety_model"]\n'),
    )
    return folder


def python(copy, program, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=copy,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(copy)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_profile_asks_for_the_new_objective_and_the_dry_run_plans_it(copy):
    (plan,) = json.loads(python(copy, PLAN))
    assert (plan["kind"], plan["recipe"]["objective"]) == ("aligned_policy", "halved")
    assert plan["arguments"]["beta"] == plan["recipe"]["beta"] / 2


@pytest.mark.parametrize(
    ("kind", "model", "changes", "facts"),
    [
        (
            "aligned_policy",
            "aligned_policy",
            {"objective": "halved", "beta": 0.1},
            {"loss": "halved", "beta": 0.05},
        ),
        ("safety_model", "reward_model", {}, {"loss": "bradley_terry"}),
        ("samples", "samples", {"tokens": 2}, {"decoder": OPENING}),
    ],
    ids=["an objective", "a second reward model", "a sampling method"],
)
def test_the_worker_runs_the_new_method(bench, copy, kind, model, changes, facts):
    folder = bench.prepare(bench.spec(model), f"new-{kind}")
    job = json.loads((folder / "job.json").read_text())
    job["spec"]["kind"] = kind
    job["spec"]["recipe"].update(changes)
    (folder / "job.json").write_text(json.dumps(job))
    python(copy, RUN, str(folder))
    result = json.loads((folder / "result.json").read_text())["facts"]
    for name, value in facts.items():
        assert result[name] == value
