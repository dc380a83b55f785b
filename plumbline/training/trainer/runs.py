"""One training run of a TRL trainer: its arguments, its progress, its checkpoints."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trl.trainer.utils as trl_utils
from transformers import PrinterCallback, TrainerCallback

from plumbline.errors import TrainingError
from plumbline.profile.training import Hardware, Optimizer
from plumbline.schema.kinds import HISTORY_FILE
from plumbline.training.job.checkpoints import (
    KEPT,
    checkpoint_step,
    newest_checkpoint,
    seal_checkpoint,
)
from plumbline.training.job.workspace import Workspace

UNSTABLE_METRICS = frozenset(
    {
        "epoch",
        "total_flos",
        "train_loss",
        "train_runtime",
        "train_samples_per_second",
        "train_steps_per_second",
        "num_tokens",
        "step",
    }
)
"""What trainers log that depends on the clock, or on whether the run was interrupted; `epoch` says
no more than the step."""


@dataclass(frozen=True)
class TrainingRun:
    """What a finished run of a trainer says about itself."""

    steps: int
    resumed_from: int | None
    history: list[dict[str, Any]]
    """Lines of history.jsonl: step, total, metrics; the same however often the run was
    interrupted."""

    @property
    def last_loss(self) -> float:
        """Loss in the last line of the history: a mean over the steps since the line before."""
        return float(self.history[-1]["metrics"]["loss"])


def trainer_arguments(
    optimizer: Optimizer, hardware: Hardware, seed: int, folder: Path
) -> dict[str, Any]:
    """The arguments that all trainers share; every default of TRL or transformers that would
    surprise is set.

    TRL's defaults are bfloat16 and gradient checkpointing, which make this CPU work three times
    slower; transformers hides a loss that is not finite.
    """
    cuda = hardware.device == "cuda"
    micro = optimizer.micro_batch_size or optimizer.batch_size
    return {
        "output_dir": str(folder),
        "num_train_epochs": optimizer.epochs,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": optimizer.batch_size // micro,
        "learning_rate": optimizer.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "adam_beta2": optimizer.beta2,
        "lr_scheduler_type": "cosine",
        "warmup_steps": optimizer.warmup_share,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch",
        "seed": seed,
        "data_seed": seed,
        "bf16": hardware.precision == "bfloat16",
        "fp16": False,
        "use_cpu": not cuda,
        "gradient_checkpointing": cuda,
        "dataloader_pin_memory": cuda,
        "dataloader_num_workers": 0,
        "save_strategy": "steps",
        "save_steps": optimizer.save_every,
        "save_total_limit": KEPT,
        "logging_strategy": "steps",
        "logging_steps": logging_interval(optimizer.save_every),
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }


def logging_interval(save_every: int) -> int:
    """Steps between two lines of progress: the largest divisor of `save_every` up to 10.

    A trainer keeps the sums since its last line in memory only. With a line at every checkpoint, a
    resumed run starts its sums where the interrupted one would have, and the history stays the
    same.
    """
    return max(divisor for divisor in range(1, 11) if save_every % divisor == 0)


@contextmanager
def fast_head(hardware: Hardware) -> Iterator[bool]:
    """Makes TRL score only the supervised positions on a CPU, as it does on a GPU; says whether it
    could.

    Without it, TRL projects prompt and padding onto the vocabulary too, which is a third of the
    time here. The switch is a private name of TRL: where it is gone, training goes on without. The
    losses agree to 1e-6.
    """
    original = getattr(trl_utils, "_use_triton", None)
    if hardware.device != "cpu" or original is None:
        yield False
        return
    trl_utils._use_triton = lambda device: True
    try:
        yield True
    finally:
        trl_utils._use_triton = original


def train(
    trainer: Any, workspace: Workspace, before: Mapping[str, float] | None = None
) -> TrainingRun:
    """Run a trainer to its end, from the newest whole checkpoint if there is one, and write
    history.jsonl into the output.

    Args:
        trainer: A trainer of TRL.
        workspace: Where checkpoints, progress and history go.
        before: Validation metrics before the first step, reported as step 0.

    Raises:
        TrainingError: If the loss stops being finite.
    """
    if before is not None:
        workspace.report_validation(0, _planned_steps(trainer), before)
    checkpoint = newest_checkpoint(workspace.checkpoints, workspace.spec, workspace.log)
    if checkpoint is not None:
        workspace.log(f"resuming from {checkpoint.name}")
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_JobCallback(workspace))
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    total = int(trainer.state.max_steps)
    lines = ((int(entry["step"]), stable_metrics(entry)) for entry in trainer.state.log_history)
    history = [
        {"step": step, "total": total, "metrics": metrics}
        for step, metrics in lines
        if "loss" in metrics
    ]
    workspace.write_lines(HISTORY_FILE, history)
    return TrainingRun(
        int(trainer.state.global_step), checkpoint_step(checkpoint) if checkpoint else None, history
    )


def stable_metrics(logs: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a trainer's log that a repeated run gives again, bit for bit."""
    return {
        name: float(value)
        for name, value in logs.items()
        if name not in UNSTABLE_METRICS and isinstance(value, int | float) and math.isfinite(value)
    }


def _planned_steps(trainer: Any) -> int:
    """Optimizer steps that a trainer will take."""
    batch = int(trainer.args.per_device_train_batch_size * trainer.args.gradient_accumulation_steps)
    return math.ceil(len(trainer.train_dataset) / batch) * int(trainer.args.num_train_epochs)


class _JobCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
    """Streams progress, seals checkpoints and stops a run that diverges."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._tenths = -1  # of the run, that a person has been told about

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = True  # the last steps, when they do not fill an interval

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        loss = (logs or {}).get("loss")
        if logs is None or loss is None:
            return
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {state.global_step} of {state.max_steps}; use a"
                " smaller learning rate"
            )
        self._workspace.report_progress(state.global_step, state.max_steps, stable_metrics(logs))
        tenths = state.global_step * 10 // state.max_steps
        if tenths > self._tenths:
            self._tenths = tenths
            self._workspace.log(f"step {state.global_step} of {state.max_steps}: loss {loss:.4f}")

    def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        seal_checkpoint(self._workspace.checkpoints, state.global_step, self._workspace.spec)
