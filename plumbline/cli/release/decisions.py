"""The release decision that a command is about."""

from typing import Annotated

import typer

from plumbline.lineage.newest import newest_artifact
from plumbline.profile.profile import Profile
from plumbline.release.candidate import KIND, find_decision
from plumbline.storage.artifacts import ArtifactStore

DecisionArgument = Annotated[
    str,
    typer.Argument(
        metavar="DECISION",
        help=(
            "Id of a release decision, at least 6 hex digits; or the name of a recipe, for its"
            " newest decision."
        ),
    ),
]


def decision_named(given: str, store: ArtifactStore, profile: Profile) -> str:
    """Artifact digest of a decision: the newest of a recipe, or the one whose id starts so.

    Raises:
        ArtifactNotFound: If there is no such decision.
    """
    return (
        newest_artifact(store, KIND, profile.digest(), given)[0]
        if given in profile.recipes
        else find_decision(store, given)
    )
