"""A home with a Dagster instance in which feedback arrives, is admitted and becomes preference
data, step by step."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from assets.data import (
    annotators_of_all_batches,
    drift,
    preference_data,
    preference_data_certificate,
)
from assets.feedback import annotators, every_event_counted, feedback, hostile_text, personal_data
from assets.lineage.partitions import FEEDBACK_BATCHES, recipes
from assets.policy import rubric
from assets.vault import eval_vault
from dagster_project.automation.retraining import read_feedback
from dagster_project.automation.schedules import retrain_on_schedule
from dagster_project.automation.sensors import retrain_on_feedback
from plumbline.data.consent.withdrawals import digest
from plumbline.data.sources import sandbox_options
from plumbline.records import sha256
from plumbline.sandbox.datasets import feedback_events
from plumbline.storage.code_identity import code_identity
from resources.home import Home
from resources.snapshots import DatasetSnapshots
from tests.unit.in_memory import add_events

NOBODY_WITHDREW = digest(())


class Loop:
    """A home with an instance; a policy stands in for a trained one, so that no step is spent."""

    def __init__(self, folder, instance):
        self.instance = instance
        self.home = Home(root=str(folder), profile_name="tiny")
        self.checks = {}

    def arrive(self, events):
        """The events become admitted batches of at most 160; returns the name of the last, and
        keeps its checks."""
        add_events(self.home.feedback(), events, datetime.now(UTC) - timedelta(hours=25))
        closed = self.home.feedback().close_batches(self.home.profile().batches, datetime.now(UTC))
        for batch in closed:
            self.instance.add_dynamic_partitions(FEEDBACK_BATCHES, [batch.id])
            self.checks = self.admit(batch.id)
        return closed[-1].id

    def admit(self, batch):
        """Admit a batch with its checks; gives the checks by name."""
        graph = [feedback, every_event_counted, annotators, personal_data, hostile_text]
        result = dg.materialize(
            graph, instance=self.instance, resources={"home": self.home}, partition_key=batch
        )
        return {check.check_name: check for check in result.get_asset_check_evaluations()}

    def build(self, *, success=True):
        """Materialize the preference data from all admitted batches, with their checks; gives the
        folder, the manifest and the checks by name."""
        resources = {"home": self.home, "snapshots": DatasetSnapshots(home=self.home)}
        graph = [
            rubric,
            eval_vault,
            preference_data,
            preference_data_certificate,
            drift,
            annotators_of_all_batches,
        ]
        result = dg.materialize(
            graph, instance=self.instance, resources=resources, raise_on_error=False
        )
        assert result.success == success
        folder, artifact = self.home.store().open(self.artifact("preference_data"))
        return (
            folder,
            artifact,
            {check.check_name: check for check in result.get_asset_check_evaluations()},
        )

    def metadata(self, asset, partition=None):
        """Metadata of the newest materialization."""
        wanted = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(asset),
            asset_partitions=None if partition is None else [partition],
        )
        return (
            self.instance.fetch_materializations(wanted, limit=1)
            .records[0]
            .asset_materialization.metadata
        )

    def artifact(self, asset, partition=None):
        """Digest of the newest artifact."""
        return self.metadata(asset, partition)["artifact"].value

    def train(self, rubric="helpful-harmless@1", withdrawals=NOBODY_WITHDREW):
        """Publish preference data from all admitted batches, and a policy that descends from it."""
        store = self.home.store()
        batches = read_feedback(self.instance, self.home).admitted
        parents = {f"feedback:{name}": self.artifact("feedback", name) for name in batches}
        data = self._publish(
            store, "preference_data", parents, {"rubric": rubric, "withdrawals": withdrawals}
        )
        policy = self._publish(store, "aligned_policy", {"preference_data": data}, {})

        @dg.asset(partitions_def=recipes)
        def aligned_policy():
            return dg.MaterializeResult(metadata={"artifact": dg.MetadataValue.text(policy)})

        assert dg.materialize([aligned_policy], instance=self.instance, partition_key="dpo").success

    @staticmethod
    def _publish(store, kind, parents, facts):
        with store.staging() as folder:
            (folder / "file").write_text(f"{kind} {sorted(parents.items())} {facts}")
            return store.publish(
                folder,
                kind=kind,
                config=sha256(b""),
                code=code_identity(),
                parents=parents,
                facts=facts,
            )[0]

    def tick(self):
        with dg.build_sensor_context(
            instance=self.instance, resources={"home": self.home}
        ) as context:
            return retrain_on_feedback(context)

    def scheduled(self):
        with dg.build_schedule_context(
            instance=self.instance, resources={"home": self.home}
        ) as context:
            return retrain_on_schedule(context)


@pytest.fixture
def make_loop():
    """Makes a loop in a folder, with an instance."""
    return Loop


@pytest.fixture
def loop(tmp_path):
    with dg.instance_for_test(
        temp_dir=str(tmp_path)
    ) as instance:  # the schedule's context needs one that it can open again
        yield Loop(tmp_path / "home", instance)


@pytest.fixture(scope="session")
def events():
    """The judgments of the tiny sandbox."""
    profile = Home(root="unused", profile_name="tiny").profile()
    return list(feedback_events(sandbox_options(profile, profile.source)))
