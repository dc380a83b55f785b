"""The reference policy: supervised fine-tuning on the demonstrations, with TRL's SFTTrainer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from plumbline.errors import TrainingError
from plumbline.objectives.masks import MaskReceipt
from plumbline.profile.models import HubModel, ScratchModel
from plumbline.profile.training import Hardware, SupervisedRecipe
from plumbline.schema.preferences import Demonstration
from plumbline.storage.jsonl import read_records
from plumbline.training.job.spec import JobSpec
from plumbline.training.job.workspace import Workspace
from plumbline.training.models.encoding import ChatEncoder, Encoded, encode_demonstrations
from plumbline.training.models.tokenizers import build_tokenizer, load_tokenizer
from plumbline.training.models.weights import (
    build_policy,
    load_policy,
    lora_config,
    parameter_counts,
    save_model,
    training_dtype,
)
from plumbline.training.trainer.facts import training_facts
from plumbline.training.trainer.receipts import IGNORED, sft_receipt
from plumbline.training.trainer.runs import fast_head, train, trainer_arguments

SUPERVISION = (
    "tokens of the response and its end; the loss is the mean of their negative log-likelihood"
)


def train_reference_policy(workspace: Workspace, recipe: SupervisedRecipe) -> dict[str, Any]:
    """Train the reference policy into the output folder and return the facts.

    Raises:
        MaskBreach: If the mask receipt refuses.
        TrainingError: If TRL holds other rows than it was given, or the loss stops being finite.
    """
    spec = workspace.spec
    rows = list(
        read_records(workspace.tree("demonstrations") / "demonstrations.jsonl", Demonstration)
    )
    tokenizer, policy = _start(spec.model, spec.hardware, rows, recipe.seed)
    encoder = ChatEncoder(tokenizer, spec.model.max_length)
    encoded = encode_demonstrations(encoder, rows)
    if not encoded.rows:
        raise TrainingError(
            f"none of the {encoded.rows_in} demonstrations can be trained on: {encoded.dropped}"
        )
    workspace.log(
        f"{len(encoded.rows)} of {encoded.rows_in} demonstrations, {len(tokenizer)} tokens in the"
        " vocabulary"
    )
    with fast_head(spec.hardware) as fast:
        arguments = sft_arguments(spec, recipe, workspace.checkpoints)
        trainer = _trainer(arguments, policy, tokenizer, encoded.ids)
        receipt = MaskReceipt(
            supervision=SUPERVISION, splits={"train": sft_receipt(trainer, encoded, encoder)}
        )
        workspace.write_receipt(receipt)
        parameters = parameter_counts(trainer.model)
        training = train(trainer, workspace)
    saved = save_model(trainer.model, tokenizer, workspace.output / "model")
    facts = training_facts(
        workspace.output, recipe.seed, training, receipt, {"train": encoded}, tokenizer, saved
    )
    return {**facts, "loss": "sft", "fast_head": fast, "parameters": parameters}


def _start(
    model: ScratchModel | HubModel, hardware: Hardware, rows: Sequence[Demonstration], seed: int
) -> tuple[Any, Any]:
    """Tokenizer and policy before the first step."""
    if isinstance(model, HubModel):
        return load_tokenizer(model), load_policy(
            model, hardware, dtype=training_dtype(model, hardware)
        )
    tokenizer = build_tokenizer(
        model,
        (
            text
            for row in rows
            for text in (*(message.content for message in row.prompt), row.response)
        ),
    )
    return tokenizer, build_policy(model, tokenizer, seed).to(hardware.device)


def sft_arguments(spec: JobSpec, recipe: SupervisedRecipe, folder: Path) -> tuple[Any, Any]:
    """TRL's arguments and the adapter's configuration (None without one); no model is loaded."""
    arguments = SFTConfig(
        **trainer_arguments(recipe.optimizer, spec.hardware, recipe.seed, folder),
        max_length=None,  # longer rows were dropped, and counted, before
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return arguments, lora_config(spec.model, scalar_head=False)


def _trainer(
    built: tuple[Any, Any], policy: Any, tokenizer: Any, sequences: Sequence[Encoded]
) -> Any:
    arguments, lora = built
    columns = {
        "input_ids": [one.ids for one in sequences],
        "labels": [[IGNORED] * len(one.prompt) + one.ids[len(one.prompt) :] for one in sequences],
    }
    return SFTTrainer(
        model=policy,
        args=arguments,
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer,
        peft_config=lora,
    )
