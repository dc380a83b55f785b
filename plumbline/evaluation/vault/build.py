"""The eval vault as it is built: held-out prompts, their variants, and what broke a policy once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.evaluation.vault.leaks import suite_overlaps
from plumbline.evaluation.vault.regression_suite import SUITE as REGRESSION
from plumbline.evaluation.vault.suites import (
    OVERLAPS,
    VaultContents,
    describe,
    require_rules,
    write_vault,
)
from plumbline.evaluation.vault.variants import with_variants
from plumbline.profile.profile import Profile
from plumbline.records import canonical_json
from plumbline.schema.held_out import EvalPrompt


@dataclass(frozen=True)
class VaultInputs:
    """What a vault is made from."""

    prompts: Sequence[EvalPrompt]
    sources: Mapping[str, str]
    """Where the prompts of each suite come from, in words."""
    successes: Sequence[EvalPrompt]
    """What broke a policy once."""
    retired: Sequence[str]
    """Ids of such prompts that are lessons by now and no test any more."""
    campaigns: Sequence[str]


@dataclass(frozen=True)
class Vault:
    """What the files of a vault hold."""

    prompts: Sequence[EvalPrompt]
    contents: VaultContents
    shared: Sequence[dict[str, Any]]
    """Prompts that two suites have."""


def build_vault(inputs: VaultInputs, profile: Profile, folder: Path) -> Vault:
    """Write the held-out prompts with their variants to a folder, and say what is in it.

    Raises:
        ConfigError: If a suite has no rule in the profile.
    """
    prompts = with_variants([*inputs.prompts, *inputs.successes], profile.vault, profile.seed)
    require_rules({prompt.suite for prompt in prompts}, profile.vault)
    contents = describe(
        prompts,
        profile.name,
        {**inputs.sources, REGRESSION: f"red-team campaigns {', '.join(inputs.campaigns)}"},
        {REGRESSION: list(inputs.retired)},
    )
    shared = [
        overlap.model_dump(mode="json")
        for overlap in suite_overlaps(prompts, profile.preferences.contamination)
    ]
    write_vault(folder, prompts, contents)
    (folder / OVERLAPS).write_bytes(canonical_json(shared))
    return Vault(prompts, contents, shared)
