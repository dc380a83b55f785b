"""The path of a pre-trained model with LoRA, on a tiny chat model that is saved on the spot under a
name like a hub's."""

import json

import pytest
import torch

from plumbline.profile.models import HubModel, Lora, ScratchModel
from plumbline.sandbox.datasets import demonstrations
from plumbline.training.methods.dpo import train_aligned_policy
from plumbline.training.methods.reward_model import train_reward_model
from plumbline.training.methods.sft import train_reference_policy
from plumbline.training.models.tokenizers import build_tokenizer
from plumbline.training.models.weights import (
    build_policy,
    load_policy,
    load_reward_model,
    save_model,
    training_dtype,
)

# A template as chat models have it: other role tokens, a default system turn, and a line feed after
# the end of every turn.
TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}{{ '<|system|>be helpful<|end|>\n' }}{%- endif"
    " -%}{%- for m in messages -%}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>\n' }}{%-"
    " endfor -%}{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)


@pytest.fixture(scope="module")
def hub(tmp_path_factory, sandbox_options):
    """A saved chat model, and the description that names it as if it were on the hub."""
    scratch = ScratchModel(
        kind="scratch",
        tokenizer="bytes",
        vocabulary=400,
        hidden=32,
        layers=1,
        heads=4,
        feed_forward=64,
        init_std=0.1,
        max_length=160,
    )
    texts = [
        text
        for row in demonstrations(sandbox_options)
        for text in (row.prompt[0].content, row.response)
    ]
    tokenizer = build_tokenizer(scratch, texts)
    tokenizer.chat_template = TEMPLATE
    folder = tmp_path_factory.mktemp("hub") / "tiny-chat"
    save_model(build_policy(scratch, tokenizer, 0), tokenizer, folder)
    return HubModel(
        kind="hub",
        name=str(folder),
        revision="0" * 40,
        max_length=160,
        lora=Lora(rank=4, alpha=8, dropout=0.0),
    )


@pytest.fixture(scope="module")
def chain(hub, bench, tmp_path_factory, make_job):
    """The three trainings with an adapter, each on the output of the one before."""
    results = {}
    kept = dict(bench.inputs)
    try:
        for kind, train in (
            ("reference_policy", train_reference_policy),
            ("reward_model", train_reward_model),
            ("aligned_policy", train_aligned_policy),
        ):
            job = make_job(bench.spec(kind, model=hub), tmp_path_factory.mktemp("hub-jobs") / kind)
            results[kind] = (job, train(*job.arguments))
            if kind == "reference_policy":
                bench.publish_output(kind, job.workspace.folder)
                reference = bench.store.root / "trees" / bench.inputs[kind].tree[7:]
    finally:
        bench.inputs.clear()
        bench.inputs.update(kept)
    return results, reference


def test_only_the_adapter_is_trained_and_the_facts_say_where_it_went(chain):
    results, _ = chain
    for _, facts in results.values():
        assert facts.adapter == "merged into the saved weights"
        assert 0 < facts.parameters["trained"] < facts.parameters["all"]


def test_the_saved_model_is_whole_and_changed(chain, hub):
    results, reference = chain
    job, _ = results["reference_policy"]
    assert not (reference / "model" / "adapter_config.json").exists()
    before = load_policy(hub, job.spec.hardware).state_dict()
    after = load_policy(reference / "model", job.spec.hardware).state_dict()
    assert before.keys() == after.keys()
    assert not torch.equal(
        before["model.layers.0.mlp.up_proj.weight"], after["model.layers.0.mlp.up_proj.weight"]
    )
    assert torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])


def test_dpo_starts_at_its_reference(chain):
    results, _ = chain
    _, facts = results["aligned_policy"]
    assert facts.validation["before"]["loss"] == pytest.approx(0.693147, abs=1e-5)
    assert facts.validation["after"]["loss"] != facts.validation["before"]["loss"]


def test_the_scalar_head_is_trained_in_full_and_saved(chain):
    results, _ = chain
    job, facts = results["reward_model"]
    model = load_reward_model(job.workspace.output / "model", job.spec.hardware)
    lines = [
        json.loads(line)
        for line in (job.workspace.output / "validation.jsonl").read_bytes().splitlines()
    ]
    assert model.score.weight.shape == (1, 32)
    assert facts.validation["margin"] == pytest.approx(
        sum(line["chosen"] - line["rejected"] for line in lines) / len(lines), abs=1e-4
    )


def test_the_line_feed_after_the_end_is_not_trained(chain):
    results, _ = chain
    for kind in ("reference_policy", "aligned_policy"):
        receipt = json.loads((results[kind][0].workspace.folder / "mask_receipt.json").read_text())
        strip = receipt["splits"]["train"]["strip"]
        assert strip[-1] == {"token": "<|end|>", "supervised": True}
        assert receipt["splits"]["train"]["control_tokens"]["mismatched"] == 0


def test_frozen_weights_may_be_bfloat16_trained_ones_not(hub):
    from plumbline.profile.training import Hardware

    gpu = Hardware(device="cuda", precision="bfloat16", threads=1)
    assert training_dtype(hub, gpu) == "bfloat16"
    assert training_dtype(hub.model_copy(update={"lora": None}), gpu) == "float32"


def test_weights_that_are_not_safetensors_are_not_loaded(chain, tmp_path):
    import shutil

    results, reference = chain
    hardware = results["reference_policy"][0].spec.hardware
    shutil.copytree(reference / "model", tmp_path / "model")
    model = load_policy(reference / "model", hardware)
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        load_policy(tmp_path / "model", hardware)
