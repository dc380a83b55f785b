"""The reference policy: supervised fine-tuning on the demonstrations, with TRL's SFTTrainer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from plumbline.errors import TrainingError
from plumbline.objectives.masks import MaskReceipt
from plumbline.profile.models import HubModel, Model
from plumbline.profile.training import Hardware, SupervisedRecipe
from plumbline.schema.kinds import DEMONSTRATIONS, DEMONSTRATIONS_FILE
from plumbline.schema.preferences import Demonstration
from plumbline.storage.jsonl import read_records
from plumbline.training.job.workspace import Workspace
from plumbline.training.models.encoding import ChatEncoder, Demonstrations, encode_demonstrations
from plumbline.training.models.tokenizers import build_tokenizer, load_tokenizer
from plumbline.training.models.weights import (
    build_policy,
    load_policy,
    lora_config,
    parameter_counts,
    save_model,
    training_dtype,
)
from plumbline.training.trainer.facts import TrainingFacts, shared_facts
from plumbline.training.trainer.receipts import IGNORED, sft_receipt, write_receipt
from plumbline.training.trainer.runs import fast_head, train, trainer_arguments

SUPERVISION = (
    "tokens of the response and its end; the loss is the mean of their negative log-likelihood"
)


class SupervisedFacts(TrainingFacts):
    """What a supervised job states."""

    fast_head: bool


def train_reference_policy(
    recipe: SupervisedRecipe,
    model: Model,
    hardware: Hardware,
    inputs: Mapping[str, Path],
    workspace: Workspace,
) -> SupervisedFacts:
    """Train the reference policy into the output folder and return the facts.

    Raises:
        MaskBreach: If the mask receipt refuses.
        TrainingError: If TRL holds other rows than it was given, or the loss stops being finite.
    """
    rows = list(read_records(inputs[DEMONSTRATIONS] / DEMONSTRATIONS_FILE, Demonstration))
    tokenizer, policy = _start(model, hardware, rows, recipe.seed)
    encoder = ChatEncoder(tokenizer, model.max_length)
    encoded = encode_demonstrations(encoder, rows)
    if not encoded.rows:
        raise TrainingError(
            f"none of the {encoded.rows_in} demonstrations can be trained on: {encoded.dropped}"
        )
    workspace.log(
        f"{len(encoded.rows)} of {encoded.rows_in} demonstrations, {len(tokenizer)} tokens in the"
        " vocabulary"
    )
    arguments, lora = sft_arguments(recipe, model, hardware, workspace.checkpoints)
    trainer = _trainer(
        encoded,
        model=policy,
        args=arguments,
        processing_class=tokenizer,
        peft_config=lora,
    )
    receipt = MaskReceipt(
        supervision=SUPERVISION, splits={"train": sft_receipt(trainer, encoded, encoder)}
    )
    write_receipt(receipt, workspace.folder, workspace.output)
    parameters = parameter_counts(trainer.model)
    with fast_head(hardware) as fast:
        run = train(trainer, workspace)
    saved = save_model(trainer.model, tokenizer, workspace.output / "model")
    return SupervisedFacts(
        **shared_facts(saved, run, receipt, {"train": encoded}),
        seed=recipe.seed,
        loss="sft",
        parameters=parameters,
        fast_head=fast,
    )


def sft_arguments(
    recipe: SupervisedRecipe, model: Model, hardware: Hardware, folder: Path
) -> tuple[Any, Any]:
    """TRL's arguments and the adapter's configuration (None without one); no model is loaded."""
    arguments = SFTConfig(
        **trainer_arguments(recipe.optimizer, hardware, recipe.seed, folder),
        max_length=None,  # longer rows were dropped, and counted, before
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return arguments, lora_config(model, scalar_head=False)


def _start(
    model: Model, hardware: Hardware, rows: Sequence[Demonstration], seed: int
) -> tuple[Any, Any]:
    """Tokenizer and policy before the first step."""
    if isinstance(model, HubModel):
        dtype = training_dtype(model, hardware)
        return load_tokenizer(model), load_policy(model, hardware, dtype=dtype)
    texts = (
        text
        for row in rows
        for text in (*(message.content for message in row.prompt), row.response)
    )
    tokenizer = build_tokenizer(model, texts)
    return tokenizer, build_policy(model, tokenizer, seed).to(hardware.device)


def _trainer(demonstrations: Demonstrations, **named: Any) -> Any:
    """An SFTTrainer that holds our ids, with labels on the responses only."""
    columns = {
        "input_ids": [row.ids for row in demonstrations.ids],
        "labels": [[IGNORED] * len(row.prompt) + row.response for row in demonstrations.ids],
    }
    return SFTTrainer(train_dataset=Dataset.from_dict(columns), **named)
