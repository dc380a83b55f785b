"""The newest artifact is what a run recorded last, of the asked kind, profile and partition."""

import os

import pytest

from plumbline.errors import ArtifactNotFound
from plumbline.lineage.materializations import (
    MaterializationRecord,
    materialization_file,
    write_materialization,
)
from plumbline.lineage.newest import newest_artifact
from plumbline.records import sha256
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import code_identity

ONE, OTHER = sha256(b"profile"), sha256(b"another profile")


@pytest.fixture
def made(tmp_path):
    """Publishes an artifact and records its production at a time."""
    store = ArtifactStore(tmp_path)

    def make(content, when, *, kind="aligned_policy", config=ONE, partition="dpo", run="run"):
        with store.staging() as folder:
            (folder / "file").write_text(content)
            digest, artifact = store.publish(
                folder, kind=kind, config=config, code=code_identity(), parents={}, facts={}
            )
        fields = {"spec": None, "mlflow_run": None, "dvc": None, "cached": False}
        write_materialization(
            tmp_path,
            MaterializationRecord(
                artifact=digest,
                kind=kind,
                asset=kind,
                partition=partition,
                dagster_run=run,
                data_version=artifact.tree,
                **fields,
            ),
        )
        os.utime(materialization_file(tmp_path, digest, run), (when, when))
        return digest

    make.store = store
    return make


def test_what_was_recorded_last_is_newest(made):
    old, new = made("old", 100), made("new", 200)
    assert newest_artifact(made.store, "aligned_policy", ONE)[0] == new
    made("old", 300, run="again")
    assert newest_artifact(made.store, "aligned_policy", ONE)[0] == old


def test_other_kinds_profiles_and_partitions_do_not_count(made):
    wanted = made("wanted", 100)
    made("kind", 200, kind="reward_model")
    made("profile", 200, config=OTHER)
    made("partition", 200, partition="another")
    assert newest_artifact(made.store, "aligned_policy", ONE, "dpo")[0] == wanted


def test_nothing_is_an_error_that_says_what_to_do(made):
    with pytest.raises(
        ArtifactNotFound,
        match=r"no run made aligned_policy\[dpo\] under the profile as it is now; run `make demo`",
    ):
        newest_artifact(made.store, "aligned_policy", ONE, "dpo")
