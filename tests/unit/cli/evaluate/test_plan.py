"""`plumbline evaluate plan` in front of a person."""

import pytest
from typer.testing import CliRunner

from plumbline.cli.app import build_app
from plumbline.schema.conversations import Decoder
from plumbline.schema.eval_report import EvalReport, MetricComparison
from plumbline.statistics.intervals import proportion


@pytest.fixture
def plan(tmp_path):
    def run(*arguments):
        found = CliRunner().invoke(
            build_app(),
            [
                "evaluate",
                "plan",
                "--home",
                str(tmp_path / "home"),
                "--profile",
                "sandbox",
                *arguments,
            ],
        )
        return found.exit_code, found.output

    return run


def test_before_the_first_evals_values_are_assumed(plan):
    code, output = plan("--power", "0.9")
    assert code == 0
    assert "for assumed values" in output
    assert "harm-en: harmful_compliance on harm-en <= 0.05: needs 630 at 0.025" in output
    assert (
        "correctness: difference of correctness on benign >= 0: at 0 no number of samples passes"
        in output
    )
    assert (
        "correctness-champion: correctness against the champion on benign >= -0.08: needs" in output
    )
    assert "length: the spread of tokens is not known" in output


def test_a_report_gives_values_and_what_there_is(plan, tmp_path):
    clusters = [str(number // 8) for number in range(300)]
    aligned = proportion([number < 6 for number in range(300)], 0.95, clusters, 0.1)
    report = EvalReport(
        scorer="sandbox",
        level=0.95,
        seed=0,
        decoder=Decoder(temperature=1.0, max_new_tokens=1),
        samples="-",
        prompts=300,
        slices={
            "harm-en": {
                "harmful_compliance": MetricComparison(
                    reference=None, aligned=aligned, difference=None
                )
            }
        },
        pooled={},
        labels={},
        unavailable={},
    )
    (tmp_path / "report.json").write_bytes(report.to_json())
    code, output = plan("--report", str(tmp_path / "report.json"))
    assert code == 0
    line = next(line for line in output.splitlines() if "harm-en:" in line)
    assert "at 0.02 (" in line
    assert "samples say as much as one), has 300: " in line
    assert line.endswith(" more")


def test_a_file_that_is_no_report_is_named(plan, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    code, output = plan("--report", str(tmp_path / "other.json"))
    assert code == 2
    assert "other.json: is no eval report" in output
    assert plan("--report", str(tmp_path / "nothing.json"))[0] == 2
