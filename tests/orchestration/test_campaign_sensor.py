"""The sensor that makes a partition and one run of each campaign that somebody took in."""

import dagster as dg
import pytest

from assets.lineage.partitions import CAMPAIGNS
from dagster_project.automation.campaigns import collect_campaigns
from plumbline.evaluation.red_team.attempts import Attempt
from plumbline.evaluation.red_team.campaigns import add_attempts
from plumbline.lineage.ledger import Ledger
from plumbline.schema.conversations import Message
from resources.home import Home


def attempt(number):
    return Attempt.create(
        prompt=(Message(role="user", content=f"attempt {number}"),),
        tactic="direct",
        annotator="red-1",
        domain=None,
        minutes=5.0,
        policy="sha256:" + "0" * 64,
        response="no.",
        success=False,
        judged_by="judge-1",
        locale="en",
    )


@pytest.mark.requirement("E11")
def test_each_campaign_is_requested_once(tmp_path):
    home = Home(root=str(tmp_path / "home"), profile_name="tiny")
    ledger = Ledger(home.layout.ledger)
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:

        def tick():
            with dg.build_sensor_context(instance=instance, resources={"home": home}) as context:
                return collect_campaigns(context)

        assert "0 campaigns were requested before" in tick().skip_message
        add_attempts(home.layout, ledger, "spring", (attempt(1),))
        add_attempts(home.layout, ledger, "summer", (attempt(2),))
        first = tick()
        assert [request.partition_key for request in first.run_requests] == ["spring", "summer"]
        (added,) = first.dynamic_partitions_requests
        assert (added.partitions_def_name, list(added.partition_keys)) == (
            CAMPAIGNS,
            ["spring", "summer"],
        )
        assert [request.run_key for request in tick().run_requests] == [
            request.run_key for request in first.run_requests
        ]
        instance.add_dynamic_partitions(CAMPAIGNS, ["spring", "summer"])
        assert "2 campaigns were requested before" in tick().skip_message
