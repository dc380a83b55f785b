"""Responses of a saved policy to prompts, sampled in a process of its own: `python -m
plumbline.simulation.rollouts FOLDER`.

The folder holds `rollouts.json`; the process adds `responses.jsonl`. Sampling is that of the
held-out evals, and so is the way from a conversation to token ids. The command line imports neither
torch nor transformers: they live and die with the process.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pydantic import Field

from plumbline.errors import TrainingError
from plumbline.profile.training import Hardware
from plumbline.records import Record
from plumbline.schema.conversations import Decoder, Message
from plumbline.storage.jsonl import read_records, write_records
from plumbline.training.models.encoding import ChatEncoder
from plumbline.training.models.tokenizers import load_tokenizer
from plumbline.training.models.weights import load_policy
from plumbline.training.sampling.sampling import sample_responses
from plumbline.training.worker import set_library_environment


class Rollouts(Record):
    """What is to be sampled: one response to each prompt under each decoder."""

    policy: str = Field(description="folder of the saved model")
    hardware: Hardware
    max_length: int = Field(gt=0, description="prompt and response together, in tokens")
    batch_size: int = Field(gt=0, description="prompts generated at once")
    decoders: tuple[Decoder, ...] = Field(min_length=1)
    prompts: tuple[tuple[Message, ...], ...]


class SampledResponses(Record):
    """The responses to one prompt, in the order of the decoders; none where the prompt leaves no
    room for a response."""

    texts: tuple[str, ...]


def sample_rollouts(rollouts: Rollouts) -> list[SampledResponses]:
    """Answers to each prompt, in order; the same rollouts give the same answers.

    Raises:
        TrainingError: If the process ends without them.
    """
    with tempfile.TemporaryDirectory(prefix="plumbline-rollouts-") as name:
        folder = Path(name)
        (folder / "rollouts.json").write_bytes(rollouts.to_json())
        environment = os.environ | {
            "OMP_NUM_THREADS": str(rollouts.hardware.threads),
            "HF_HUB_OFFLINE": "1",
        }
        command = [sys.executable, "-m", "plumbline.simulation.rollouts", str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TrainingError(
                f"sampling from {rollouts.policy} ended with exit code {done.returncode}:"
                f" {done.stderr.strip()[-2000:]}"
            )
        return list(read_records(folder / "responses.jsonl", SampledResponses))


def main(folder: Path) -> None:
    """Read `rollouts.json`, sample, and write `responses.jsonl`."""
    set_library_environment()
    rollouts = Rollouts.from_json((folder / "rollouts.json").read_bytes())
    tokenizer = load_tokenizer(Path(rollouts.policy))
    policy = load_policy(Path(rollouts.policy), rollouts.hardware)
    encoded = ChatEncoder(tokenizer, rollouts.max_length).prompts(rollouts.prompts)
    room = max(decoder.max_new_tokens for decoder in rollouts.decoders)
    fitting = [
        position for position, ids in enumerate(encoded) if len(ids) + room <= rollouts.max_length
    ]
    texts: list[list[str]] = [[] for _ in encoded]
    for decoder in rollouts.decoders:
        drawn = sample_responses(
            policy,
            [encoded[position] for position in fitting],
            decoder,
            rollouts.batch_size,
            tokenizer.eos_token_id,
        )
        for position, text in zip(
            fitting,
            tokenizer.batch_decode(
                [completion.ids for completion in drawn], skip_special_tokens=True
            ),
            strict=True,
        ):
            texts[position].append(text)
    write_records(
        folder / "responses.jsonl", (SampledResponses(texts=tuple(group)) for group in texts)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
