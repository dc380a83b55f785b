"""The MLflow model registry: where people look up the champion. It follows the ledger and is never
asked what was released."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import dagster as dg
from filelock import FileLock
from pydantic import Field

from plumbline.errors import ArtifactNotFound
from plumbline.release.promotion import Promotion
from resources.home import Home
from resources.tracking import ARTIFACT_TAG, mlflow_client

CHAMPION = "champion"
DECISION_TAG, RECIPE_TAG, RELEASED_BY_TAG = (
    "plumbline.decision",
    "plumbline.recipe",
    "plumbline.released_by",
)


class RegisteredVersion(NamedTuple):
    """One version of a registered model, as MLflow has it now."""

    version: str
    tags: dict[str, str]
    source: str
    """URI of the model's folder."""


class ModelRegistry(dg.ConfigurableResource["ModelRegistry"]):
    """The registered models of MLflow, one for each profile; the alias `champion` points at the
    released version."""

    home: Home
    ui: str = Field(
        default="http://127.0.0.1:5000",
        description="address at which people see MLflow; used in links only",
    )

    def champion(self, profile: str) -> str | None:
        """Artifact digest of the policy that the alias points at, or what it points at instead;
        None for no alias."""
        version = self.pointed_at(profile)
        if version is None:
            return None
        claimed = version.tags.get(ARTIFACT_TAG, "")
        # the tag can be edited, and so can the source: both have to speak of the same policy
        return (
            claimed
            if version.source == self._source(claimed)
            else f"version {version.version} of {version.source}, tagged"
            f" {claimed or 'with no digest'}"
        )

    def follow(self, profile: str, promotion: Promotion | None) -> None:
        """Point the alias at the policy of a promotion, registering it where it is missing; remove
        the alias for None."""
        if promotion is None:
            if self.pointed_at(profile) is not None:
                mlflow_client(self._folder).delete_registered_model_alias(
                    model_name(profile), CHAMPION
                )
            return
        tags = {
            DECISION_TAG: promotion.decision,
            RECIPE_TAG: promotion.recipe,
            RELEASED_BY_TAG: promotion.released_by,
        }
        self.register(profile, promotion.policy, tags)

    def register(self, profile: str, policy: str, tags: Mapping[str, str]) -> str:
        """Register a policy, whose files stay where they are, and move the alias `champion` to it;
        returns the version.

        A policy that is registered already keeps its version, so that a repeated release changes
        nothing but the alias. The alias moves last: it never points at a version that is not there.

        Args:
            profile: Name of the profile.
            policy: Artifact digest of the policy.
            tags: What a person wants to see beside the version.
        """
        from mlflow.exceptions import MlflowException

        client, name, source = (
            mlflow_client(self._folder),
            model_name(profile),
            self._source(policy),
        )
        with FileLock(self._folder / "registry.lock"):
            try:
                client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            known = [
                registered
                for registered in client.search_model_versions(f"name = '{name}'")
                if (registered.tags.get(ARTIFACT_TAG), registered.source) == (policy, source)
            ]
            version = (
                known[0]
                if known
                else client.create_model_version(
                    name, source=source, tags={**tags, ARTIFACT_TAG: policy}
                )
            )
            pointed = self.pointed_at(profile)
            if pointed is None or pointed.version != str(version.version):
                client.set_registered_model_alias(name, CHAMPION, version.version)
        return str(version.version)

    def pointed_at(self, profile: str) -> RegisteredVersion | None:
        """The version that the alias `champion` points at, or None when it points at nothing."""
        from mlflow.exceptions import MlflowException

        try:
            version = mlflow_client(self._folder).get_model_version_by_alias(
                model_name(profile), CHAMPION
            )
        except MlflowException as error:
            # An unknown alias is reported as an invalid parameter.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        return RegisteredVersion(str(version.version), dict(version.tags), str(version.source))

    def url(self, profile: str, version: str) -> str:
        """The page of a registered version in MLflow's user interface."""
        return f"{self.ui}/#/models/{quote(model_name(profile), safe='')}/versions/{version}"

    @property
    def _folder(self) -> Path:
        return self.home.layout.mlflow_db.parent

    def _source(self, policy: str) -> str:
        """URI of a policy's model folder in the artifact store; empty for what is no policy of the
        store."""
        store = self.home.store()
        try:
            tree = store.manifest(policy).tree
        except ArtifactNotFound:
            return ""
        return (store.root / "trees" / tree.removeprefix("sha256:") / "model").as_uri()


def model_name(profile: str) -> str:
    """Name of the registered model of a profile."""
    return f"plumbline-{profile}"
