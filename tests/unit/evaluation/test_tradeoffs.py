"""The profile of the experiments: the sandbox, with other recipes and nothing else."""

import pytest

from plumbline.profile.profile import load_profile
from plumbline.storage.code_identity import ROOT

CONFIGS = ROOT / "configs"


@pytest.mark.requirement("E16")
def test_the_tradeoffs_differ_from_the_sandbox_in_their_recipes_alone():
    sandbox, tradeoffs = (
        load_profile(name, CONFIGS).model_dump() for name in ("sandbox", "sandbox-tradeoffs")
    )
    assert {field for field in sandbox if sandbox[field] != tradeoffs[field]} == {
        "name",
        "description",
        "recipes",
        "candidate",
    }


@pytest.mark.requirement("E16")
def test_the_sweep_varies_the_pull_alone_and_its_candidate_is_the_recipe_of_the_sandbox():
    sandbox, tradeoffs = (load_profile(name, CONFIGS) for name in ("sandbox", "sandbox-tradeoffs"))
    sweep = {name: recipe for name, recipe in tradeoffs.recipes.items() if name.startswith("beta-")}
    assert tradeoffs.recipes[tradeoffs.candidate] == sandbox.recipes[sandbox.candidate]
    assert [recipe.beta for recipe in sweep.values()] == sorted(
        {recipe.beta for recipe in sweep.values()}
    )
    assert {f"beta-{recipe.beta}" for recipe in sweep.values()} == sweep.keys()
    assert len({recipe.model_copy(update={"beta": 1.0}).digest() for recipe in sweep.values()}) == 1
