"""A version of the preference data beside the one before, and beside the prompts that the policy
meets."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from plumbline.errors import ArtifactError
from plumbline.profile.data import DriftConfig
from plumbline.schema.kinds import PREFERENCE_DATA, TRAIN_FILE
from plumbline.schema.preferences import SPLITS, PreferencePair
from plumbline.storage.artifacts import Artifact, hash_tree, tree_digest
from plumbline.storage.jsonl import read_records
from resources.home import Home

if TYPE_CHECKING:
    from plumbline.data.quality.drift import DriftReport, PromptShift


DEPLOYMENT_PROMPTS = "deployment_prompts.jsonl"
"""File in the folder of a profile with prompts that the policy met, one `{"prompt": "..."}` a line;
without it nothing is compared."""


def pairs_in(folder: Path) -> Iterator[PreferencePair]:
    """Every pair of a version, split by split."""
    return (
        pair for name in SPLITS for pair in read_records(folder / f"{name}.jsonl", PreferencePair)
    )


@dataclass(frozen=True)
class Movement:
    """How far a version moved, and from what."""

    drift: "DriftReport"
    previous: str | None
    """Digest of the version before."""
    shift: "PromptShift | None"
    """Against the prompts of the deployment, where somebody recorded them."""

    def facts(self) -> dict[str, Any]:
        """As the manifest of the version says it."""
        return {
            "previous": self.previous,
            "drift": self.drift.model_dump(mode="json"),
            "prompt_shift": None if self.shift is None else self.shift.model_dump(mode="json"),
        }


def movement_of_version(
    context: dg.AssetExecutionContext, home: Home, folder: Path, rubric: str
) -> Movement:
    """How a staged version under this rubric differs from the one before and from what the policy
    meets."""
    moved, previous = _drift_from_previous(context, home, folder, rubric, home.profile().drift)
    return Movement(moved, previous, _shift_to_deployment(home, folder))


def _drift_from_previous(
    context: dg.AssetExecutionContext, home: Home, folder: Path, rubric: str, rule: DriftConfig
) -> "tuple[DriftReport, str | None]":
    """How a staged version differs from the one before, and the digest of that; a version whose
    files are gone cannot be compared with.

    The version before is the newest with other content: making the same version again says the same
    of it, so that nothing that descends from it moves.

    Args:
        context: Of the asset that makes the version.
        home: Has the store.
        folder: The staged files.
        rubric: Label of the rubric of the staged version.
        rule: How far a version may move.
    """
    from plumbline.data.quality.drift import drift, pair_frame

    previous = _version_before(context, home, tree_digest(hash_tree(folder)))
    current = pair_frame(pairs_in(folder))
    if previous is None:
        return drift(None, current, rule, same_rubric=True), None
    digest, artifact, before = previous
    return (
        drift(
            pair_frame(pairs_in(before)),
            current,
            rule,
            same_rubric=artifact.facts.get("rubric") == rubric,
        ),
        digest,
    )


def _version_before(
    context: dg.AssetExecutionContext, home: Home, tree: str
) -> tuple[str, Artifact, Path] | None:
    """The newest version with another tree."""
    cursor, more = None, True
    while more:
        page = context.instance.fetch_materializations(context.asset_key, limit=100, cursor=cursor)
        for record in page.records:
            event = record.asset_materialization
            digest = None if event is None else event.metadata.get("artifact")
            if (
                not record.run_id
                or not isinstance(digest, dg.TextMetadataValue)
                or digest.text is None
            ):
                continue
            try:
                if home.store().manifest(digest.text).tree == tree:
                    continue
                folder, artifact = home.store().open(digest.text, kind=PREFERENCE_DATA)
            except ArtifactError as error:
                context.log.warning("There is no version to compare with: %s", error)
                return None
            return digest.text, artifact, folder
        cursor, more = page.cursor, page.has_more
    return None


def _shift_to_deployment(home: Home, folder: Path) -> "PromptShift | None":
    """How the training prompts differ from those of the deployment; None when nobody recorded
    any."""
    from plumbline.data.quality.drift import prompt_shift, read_deployment_prompts

    path = home.layout.profile_folder / DEPLOYMENT_PROMPTS
    if not path.is_file():
        return None
    training = (
        pair.prompt[-1].content for pair in read_records(folder / TRAIN_FILE, PreferencePair)
    )
    return prompt_shift(training, read_deployment_prompts(path), home.profile().seed)
