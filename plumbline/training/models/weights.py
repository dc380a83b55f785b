"""Models: made, loaded and saved so that every weight has a known origin.

Weights are safetensors only, and no code that comes with a model is run. A model that a TRL trainer
has touched is never deep-copied, because the copy would silently compute with the original's
weights: whoever needs a second one loads it from disk.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from peft import LoraConfig
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    set_seed,
)

from plumbline.errors import TrainingError
from plumbline.profile.models import HubModel, Model, ScratchModel
from plumbline.profile.training import Hardware
from plumbline.training.models.chat_template import template_digest
from plumbline.training.models.tokenizers import load_tokenizer, tokenizer_digest

ModelSource: TypeAlias = Path | HubModel
HEAD_STD = 0.02
"""Standard deviation of the reward head at the start: small, so that all rewards begin near zero
whatever the scale of the backbone."""
# lm_head is not in the list: TRL multiplies by its weight directly and would ignore an adapter.
LORA_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def build_policy(model: ScratchModel, tokenizer: Any, seed: int) -> Any:
    """A small Llama with random weights and tied embeddings; the same seed gives the same
    weights."""
    set_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=model.hidden,
        intermediate_size=model.feed_forward,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.heads,
        max_position_embeddings=model.max_length,
        initializer_range=model.init_std,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def load_policy(source: ModelSource, hardware: Hardware, *, dtype: str = "auto") -> Any:
    """A causal language model from a saved folder or from the hub at its exact revision.

    Args:
        source: Folder of a saved model, or a hub model.
        hardware: Where the model will run; it is moved there.
        dtype: Type of the weights; `auto` keeps the type they were saved in.
    """
    return AutoModelForCausalLM.from_pretrained(
        **_origin(source), dtype=dtype, attn_implementation="sdpa"
    ).to(hardware.device)


def load_reward_model(source: Path, hardware: Hardware) -> Any:
    """A saved reward model: one score for each sequence, read at its last token that is not
    padding."""
    model = AutoModelForSequenceClassification.from_pretrained(
        **_origin(source), dtype="auto", attn_implementation="sdpa"
    )
    return model.to(hardware.device)


def reward_model_from_policy(source: Path, hardware: Hardware, seed: int) -> tuple[Any, str]:
    """The backbone of a policy with a new scalar head, and the digest of the backbone's weights.

    Raises:
        TrainingError: If the backbone's weights differ from the policy's.
    """
    set_seed(seed)
    policy = load_policy(source, hardware)
    tokenizer = load_tokenizer(source)
    model = AutoModelForSequenceClassification.from_pretrained(
        **_origin(source), dtype="auto", attn_implementation="sdpa", num_labels=1
    )
    model = model.to(hardware.device)
    model.config.pad_token_id = tokenizer.pad_token_id
    set_seed(seed)
    torch.nn.init.normal_(model.score.weight, std=HEAD_STD)
    expected = weights_digest(policy.base_model.state_dict())
    backbone = weights_digest(model.base_model.state_dict())
    if expected != backbone:
        raise TrainingError(
            f"{source}: the reward model's backbone has the weights {backbone}, the reference"
            f" policy {expected}; nothing was trained"
        )
    return model, backbone


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of a state dictionary, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return "sha256:" + digest.hexdigest()


def lora_config(model: Model, *, scalar_head: bool) -> Any:
    """The adapter's configuration, or None without one; a scalar head is trained in full, because
    it starts from noise."""
    if isinstance(model, ScratchModel) or model.lora is None:
        return None
    lora = model.lora
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=LORA_MODULES,
        modules_to_save=["score"] if scalar_head else None,
        task_type="SEQ_CLS" if scalar_head else "CAUSAL_LM",
    )


def training_dtype(model: Model, hardware: Hardware) -> str:
    """Type in which a policy's weights are loaded for training.

    Frozen weights below an adapter can be bfloat16; weights that are trained stay float32, because
    small updates vanish in bfloat16.
    """
    frozen = isinstance(model, HubModel) and model.lora is not None
    return "bfloat16" if frozen and hardware.precision == "bfloat16" else "float32"


class SavedModel(NamedTuple):
    """How a saved model came to be complete, and what it reads text with."""

    adapter: str
    dtype: str
    tokenizer: str
    """Digest of the saved tokenizer."""
    chat_template: str
    """Digest of its chat template."""


def save_model(trained: Any, tokenizer: Any, folder: Path) -> SavedModel:
    """Write a complete model with its tokenizer.

    An adapter is merged into the weights, so that whatever comes after needs no adapter.
    """
    adapter = "none"
    if hasattr(trained, "merge_and_unload"):
        trained = trained.merge_and_unload()
        adapter = "merged into the saved weights"
    # A wrapper that TRL put around `forward` is no part of the model; without it the saved files do
    # not depend on the trainer.
    trained.__dict__.pop("forward", None)
    trained.config.use_cache = (
        True  # trainers switch the cache off; whoever generates with the model needs it
    )
    trained.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return SavedModel(
        adapter,
        str(trained.dtype).removeprefix("torch."),
        tokenizer_digest(folder),
        template_digest(tokenizer.chat_template),
    )


def parameter_counts(model: Any) -> dict[str, int]:
    """Number of all and of trained parameters."""
    return {
        "all": sum(parameter.numel() for parameter in model.parameters()),
        "trained": sum(
            parameter.numel() for parameter in model.parameters() if parameter.requires_grad
        ),
    }


def _origin(source: ModelSource) -> dict[str, Any]:
    if isinstance(source, HubModel):
        return {
            "pretrained_model_name_or_path": source.name,
            "revision": source.revision,
            "use_safetensors": True,
            "trust_remote_code": False,
        }
    return {
        "pretrained_model_name_or_path": str(source),
        "local_files_only": True,
        "use_safetensors": True,
        "trust_remote_code": False,
    }
