"""A new objective touches four places: the recipe, the loss, the method's file and its row.

The test makes these four edits in a copy of the library, for an objective that nobody would want
(DPO with its log-ratios halved), and trains it with the real worker.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from plumbline.storage.code_identity import ROOT

RECIPE = '''
class HalvedRecipe(DPORecipe):
    """DPO on halved log-ratios, which is DPO with half of beta."""

    objective: Literal["halved"]


PolicyRecipe = Annotated[DPORecipe | HalvedRecipe, Field(discriminator="objective")]
'''
LOSS = '''

def halved_beta(beta: float) -> float:
    """The beta that halved log-ratios amount to."""
    return beta / 2
'''
METHOD = '''"""DPO on halved log-ratios."""

from plumbline.objectives.losses import halved_beta
from plumbline.training.methods import dpo


def _plain(recipe):
    return dpo.DPORecipe.model_construct(
        **{**dict(recipe), "objective": "dpo", "beta": halved_beta(recipe.beta)}
    )


def train_halved(workspace, recipe):
    """Train with DPO on half of beta."""
    return dpo.train_aligned_policy(workspace, _plain(recipe)) | {"loss": "halved"}


def halved_arguments(spec, recipe, folder):
    """The arguments of DPO on half of beta."""
    return dpo.dpo_arguments(spec, _plain(recipe), folder)
'''
ROW = """    Method(
        kind="aligned_policy",
        recipe=HalvedRecipe,
        inputs=frozenset({"preference_data", "reference_policy"}),
        module="plumbline.training.methods.halved",
        run="train_halved",
        arguments="halved_arguments",
    ),
)


def method_of("""
PROGRAM = """
import json, sys
from pathlib import Path
from plumbline.training.job.kinds import method_of
from plumbline.training.job.spec import Job, JobSpec
from plumbline.training.dry_run import main
from plumbline.training.worker import run_job

folder = Path(sys.argv[1])
job = json.loads((folder / "job.json").read_bytes())
job["spec"]["recipe"]["objective"] = "halved"
job["spec"]["source"] = "sha256:" + "0" * 64
spec = JobSpec.from_json(json.dumps(job["spec"]).encode())
assert spec.method.run == "train_halved", spec.method
job["spec"]["source"] = spec.method.source_digest()
(folder / "job.json").write_bytes(Job.from_json(json.dumps(job).encode()).to_json())
assert main(["--job", str(folder)]) == 0
result = run_job(folder, lambda line: None)
print(json.dumps({"loss": result.facts["loss"], "beta": result.facts["beta"]}))
"""


def edit(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1, f"{path}: '{old}' stands {text.count(old)} times"
    path.write_text(text.replace(old, new))


@pytest.fixture
def copy(tmp_path):
    """The library with one method more."""
    shutil.copytree(ROOT / "plumbline", tmp_path / "plumbline")
    library = tmp_path / "plumbline"
    alias = "\nPolicyRecipe = DPORecipe\n"
    edit(library / "profile" / "training.py", alias, RECIPE)
    edit(
        library / "profile" / "training.py", "from typing import ", "from typing import Annotated, "
    )
    with (library / "objectives" / "losses.py").open("a") as stream:
        stream.write(LOSS)
    (library / "training" / "methods" / "halved.py").write_text(METHOD)
    kinds = library / "training" / "job" / "kinds.py"
    edit(kinds, ")\n\n\ndef method_of(", ROW)
    edit(kinds, "    DPORecipe,\n", "    DPORecipe,\n    HalvedRecipe,\n")
    return tmp_path


def test_four_edits_make_a_method_that_plans_and_trains(bench, copy):
    folder = bench.prepare(bench.spec("aligned_policy"), "halved")
    beta = bench.spec("aligned_policy").recipe.beta
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=copy,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(copy)},
    )
    assert done.returncode == 0, done.stderr
    *plan, last = done.stdout.splitlines()
    assert json.loads(last) == {"loss": "halved", "beta": beta / 2}
    (planned,) = json.loads("\n".join(plan))
    assert planned["recipe"]["objective"] == "halved"
    assert planned["arguments"]["beta"] == beta / 2
