"""Profiles that no machine here can run are checked as far as arguments go."""

import pytest

from plumbline.errors import TrainingError
from plumbline.profile.profile import load_profile
from plumbline.training import dry_run


def test_the_gpu_profile_builds_every_argument(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    profile = load_profile("single-gpu")
    plans = {plan["kind"]: plan for plan in dry_run.plan_profile(profile)}
    assert set(plans) == {"reference_policy", "reward_model", "aligned_policy", "samples"}
    for kind in ("reference_policy", "reward_model", "aligned_policy"):
        arguments = plans[kind]["arguments"]
        assert plans[kind]["adapter"]["rank"] == profile.model.lora.rank
        assert "lm_head" not in plans[kind]["adapter"]["modules"]
        assert len(plans[kind]["not checked here"]) == 2
        recipe = (
            profile.reference
            if kind == "reference_policy"
            else (
                profile.reward_model
                if kind == "reward_model"
                else profile.recipes[profile.candidate]
            )
        )
        assert (
            arguments["per_device_train_batch_size"] * arguments["gradient_accumulation_steps"]
            == recipe.optimizer.batch_size
        )
        assert arguments["learning_rate"] == recipe.optimizer.learning_rate
    assert plans["reward_model"]["adapter"]["in full"] == ["score"]
    assert plans["aligned_policy"]["arguments"]["beta"] == profile.recipes[profile.candidate].beta


def test_the_sandbox_profile_leaves_nothing_unchecked():
    assert [plan["not checked here"] for plan in dry_run.plan_profile(load_profile("sandbox"))] == [
        []
    ] * 4


def test_an_argument_that_is_refused_is_named(monkeypatch):
    def refuse(recipe, model, hardware, folder):
        raise ValueError("warmup_steps must lie in [0, 1)")

    monkeypatch.setattr("plumbline.training.methods.sft.sft_arguments", refuse)
    with pytest.raises(
        TrainingError, match="reference_policy: the arguments are refused: warmup_steps"
    ):
        dry_run.plan_profile(load_profile("sandbox"))


def test_the_command_prints_the_plan_or_one_line(capsys):
    assert dry_run.main(["sandbox"]) == 0
    assert '"kind": "aligned_policy"' in capsys.readouterr().out
    assert dry_run.main(["no-such-profile"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "no-such-profile" in errors
