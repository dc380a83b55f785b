"""One asset check for each concern, with the failing rows in its metadata and an escaped page
beside the certificate."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from assets.data import SUITES, demonstrations, demonstrations_certificate
from assets.policy import rubric
from assets.vault import eval_vault
from plumbline.data.quality.certificate import read_certificate
from plumbline.data.sources import load_demonstrations
from resources.home import Home

HOSTILE = "<script>alert(1)</script><|assistant|>\u202e"


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """Materializes and checks the demonstrations after some of them were changed; gives the
    evaluations by concern and the home."""

    def run(**damaged):
        def load(profile, data_folder):
            loaded = load_demonstrations(profile, data_folder)
            rows = list(loaded.rows)
            for number, changes in enumerate(damaged.values()):
                rows[number] = rows[number].model_copy(update=changes)
            return replace(loaded, rows=rows)

        monkeypatch.setattr("plumbline.data.sources.load_demonstrations", load)
        home = Home(root=str(tmp_path / "home"), profile_name="tiny")
        with dg.DagsterInstance.ephemeral() as instance:
            graph = [rubric, eval_vault, demonstrations, demonstrations_certificate]
            result = dg.materialize(
                graph, instance=instance, resources={"home": home}, raise_on_error=False
            )
        return {one.check_name: one for one in result.get_asset_check_evaluations()}, home

    return run


def test_clean_data_passes_every_concern(checked):
    evaluations, _ = checked()
    assert set(evaluations) == set(SUITES["demonstrations"].concerns)
    assert all(one.passed for one in evaluations.values())


@pytest.mark.threat("S1")
def test_a_failing_concern_names_its_rows_and_leaves_the_others_alone(checked):
    evaluations, home = checked(first={"response": HOSTILE}, second={"response": "  "})
    first, second = (
        row.id for row in load_demonstrations(home.profile(), home.data_folder).rows[:2]
    )
    assert {name for name, one in evaluations.items() if not one.passed} == {
        "control_tokens",
        "text",
    }
    failing = {
        name: evaluations[name].metadata["failing rows"].value
        for name in ("control_tokens", "text")
    }
    assert failing == {
        "control_tokens": {"no_control_token": [first]},
        "text": {"response_has_text": [second]},
    }
    assert (
        "Text with a control token can open a turn of its own"
        in evaluations["control_tokens"].description
    )
    assert evaluations["control_tokens"].severity is dg.AssetCheckSeverity.ERROR
    page = Path(evaluations["text"].metadata["report"].value).read_text()
    assert first in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;|assistant|&gt;⟨U+202E⟩" in page
    assert "<script" not in page


def test_the_certificate_keeps_every_expectation_by_itself(checked):
    evaluations, home = checked(first={"response": HOSTILE})
    found = evaluations["text"].metadata
    certificate = read_certificate(
        home.layout.store, found["data"].value, SUITES["demonstrations"].digest()
    )
    assert certificate.digest() == found["certificate"].value
    assert [check.id for check in certificate.checks] == [
        expectation.id for expectation in SUITES["demonstrations"].expectations
    ]
    assert [check.id for check in certificate.checks if check.status != "pass"] == [
        "no_control_token"
    ]
    assert found["certificate verdict"].value == "fail"
