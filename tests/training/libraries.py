"""Importing this imports what workers on scratch models need, under the environment of a worker."""

import importlib

from plumbline.training.worker import set_library_environment

set_library_environment()
for module in (
    "torch",
    "datasets",
    "transformers.models.llama.modeling_llama",
    "trl.trainer.sft_trainer",
    "trl.trainer.reward_trainer",
    "trl.trainer.dpo_trainer",
):
    importlib.import_module(module)
