"""The loop with the real daemon: feedback arrives through the command line, and a new decision
appears without another hand."""

import subprocess
import time

import dagster as dg
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def daemon(chain):
    """`dagster-daemon run` on the project, as `make ui` starts it."""
    log = (chain.folder / "daemon.log").open("wb")
    command = [
        str(chain.binaries / "dagster-daemon"),
        "run",
        "-w",
        str(chain.root / "workspace.yaml"),
    ]
    process = subprocess.Popen(
        command, cwd=chain.root, env=chain.environment, stdout=log, stderr=subprocess.STDOUT
    )
    yield process
    process.terminate()
    process.wait(30)
    log.close()


def aligned(chain) -> int:
    """How often the whole chain was run."""
    with chain.instance() as instance:
        return len(instance.get_runs(dg.RunsFilter(job_name="align")))


def test_new_feedback_leads_to_a_new_policy_and_decision(chain, daemon):
    policy, decision = (
        chain.newest("aligned_policy", "dpo"),
        chain.newest("release_decision", "dpo"),
    )
    before = aligned(chain)
    output = chain.run("plumbline", "sandbox", "feedback", "--count", "160")
    assert "160" in output
    deadline = time.monotonic() + 240
    while chain.newest("release_decision", "dpo") == decision:
        assert daemon.poll() is None, "the daemon died"
        assert time.monotonic() < deadline, (chain.folder / "daemon.log").read_text(
            errors="replace"
        )[-4000:]
        time.sleep(2)
    assert chain.newest("aligned_policy", "dpo") != policy
    data = chain.store.manifest(chain.newest("preference_data"))
    assert len([role for role in data.parents if role.startswith("feedback:")]) == 4
    chain.run("plumbline", "audit", "trace", "policy", chain.newest("aligned_policy", "dpo"))
    # two more ticks of both sensors: the same set of batches must not be aligned again
    time.sleep(25)
    assert aligned(chain) == before + 1


def test_days_of_traffic_are_judgments_of_the_newest_policy(chain):
    policy = chain.newest("aligned_policy", "dpo")
    output = chain.run("plumbline", "sandbox", "feedback", "--days", "1")
    assert f"policy {policy} answers the prompts of 1 days" in output
    assert "1080 prompts" in output
    from plumbline.data.store.deliveries import Deliveries
    from plumbline.data.store.events import FeedbackStore

    store = FeedbackStore(chain.layout.feedback_url)
    delivery = Deliveries(store).history()[-1]
    assert (delivery.way, delivery.source) == ("cli", f"sandbox/{policy}")
    assert f"{delivery.accepted} judgments" in output
    store.close()


def test_count_and_days_exclude_each_other(chain):
    assert "one of them" in chain.run("plumbline", "sandbox", "feedback", expect=2)
    assert "leave them out" in chain.run(
        "plumbline", "sandbox", "feedback", "--days", "1", "--slice", "harm-es", expect=2
    )
