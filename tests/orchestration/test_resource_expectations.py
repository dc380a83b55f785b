"""Every defect of a frame bites, through the real Great Expectations."""

import math
import subprocess
import sys

import pandas as pd
import pytest

from plumbline.data.quality.certificate import require_certificate
from plumbline.errors import GateRefused
from plumbline.schema.suites import Expectation, Suite
from resources.expectations import certify_frame, validate

TREE = "sha256:" + "a" * 64


def expectation(name, kind, **kwargs):
    return Expectation(
        id=name,
        type=f"expect_{kind}",
        kwargs=kwargs,
        severity="warning",
        reason="Training would learn from nothing.",
    )


SUITE = Suite(
    name="pairs",
    minimum_rows=10,
    expectations=(
        expectation(
            "length", "column_values_to_be_between", column="length", min_value=1, max_value=100
        ),
        expectation("differs", "column_values_to_be_in_set", column="same", value_set=[False]),
        expectation(
            "mean-margin", "column_mean_to_be_between", column="margin", min_value=0, max_value=1
        ),
        expectation("unique", "column_values_to_be_unique", column="id"),
        expectation(
            "two-sides",
            "column_pair_values_a_to_be_greater_than_b",
            column_A="length",
            column_B="margin",
        ),
        expectation("rows", "table_row_count_to_be_between", min_value=1),
        expectation("shape", "column_to_exist", column="length"),
        expectation(
            "balance",
            "column_kl_divergence_to_be_less_than",
            column="slice",
            partition_object={"values": ["x", "y"], "weights": [0.5, 0.5]},
            threshold=0.1,
        ),
        expectation(
            "slices", "column_distinct_values_to_be_in_set", column="slice", value_set=["x", "y"]
        ),
    ),
)


def clean(rows=12):
    return pd.DataFrame(
        {
            "id": [f"pair-{n}" for n in range(rows)],
            "length": [10.0 + n for n in range(rows)],
            "same": [False] * rows,
            "margin": [0.5] * rows,
            "slice": ["x", "y"] * (rows // 2),
        }
    )


def by_id(frame, suite=SUITE):
    results = validate(frame, suite)
    assert [result.id for result in results] == [declared.id for declared in suite.expectations]
    return {result.id: result for result in results}


def statuses(results):
    return {name: result.status for name, result in results.items() if result.status != "pass"}


def test_clean_frame_passes_and_its_certificate_opens_the_gate(tmp_path):
    results = by_id(clean())
    assert statuses(results) == {}
    assert results["mean-margin"].observed == 0.5
    assert results["length"].observed == 0.0
    assert results["rows"].observed == 12
    assert {result.examined for result in results.values()} == {12}
    certificate = certify_frame(tmp_path, TREE, clean(), SUITE)
    assert certificate.verdict == "pass"
    assert require_certificate(tmp_path, TREE, SUITE) == certificate


def test_empty_frame_passes_nothing(tmp_path):
    results = by_id(clean(0).astype({"length": float, "margin": float}))
    assert statuses(results).keys() == {declared.id for declared in SUITE.expectations}
    assert "0 rows" in results["rows"].message
    assert certify_frame(tmp_path, TREE, clean(0), SUITE).verdict == "fail"
    with pytest.raises(GateRefused, match="0 rows"):
        require_certificate(tmp_path, TREE, SUITE)


def test_too_few_rows_pass_nothing():
    assert len(statuses(by_id(clean(8)))) == len(SUITE.expectations)


@pytest.mark.parametrize("gap", [math.nan, None, math.inf, -math.inf])
def test_one_value_that_is_no_number_fails_every_expectation_on_its_column(gap):
    frame = clean()
    frame.loc[3, "margin"] = gap
    results = by_id(frame)
    assert statuses(results).items() >= {"mean-margin": "fail", "two-sides": "fail"}.items()
    assert statuses(results).keys() == {"mean-margin", "two-sides"}
    assert results["mean-margin"].examples == ("pair-3",)
    assert "column 'margin' holds no finite value in 1 rows" in results["mean-margin"].message


def test_missing_column_is_an_error_for_its_expectations_only():
    results = by_id(clean().drop(columns="margin"))
    assert statuses(results) == {"mean-margin": "error", "two-sides": "error"}
    assert '"margin" in BatchData does not exist' in results["mean-margin"].message


def test_failing_rows_are_named_with_the_reason():
    frame = clean(30)
    frame.loc[[4, 7], "length"] = 1000.0
    frame["same"] = [n >= 10 for n in range(30)]
    results = by_id(frame)
    assert statuses(results) == {"length": "fail", "differs": "fail"}
    assert results["length"].examples == ("pair-4", "pair-7")
    assert (
        results["length"].unexpected,
        results["length"].examined,
        results["length"].observed,
    ) == (2, 30, 2 / 30)
    assert "Training would learn from nothing." in results["length"].message
    assert len(results["differs"].examples) == 10
    assert results["differs"].unexpected == 20


def test_repeated_ids_and_unknown_slices_fail():
    frame = clean()
    frame.loc[1, "id"] = "pair-0"
    frame.loc[2, "slice"] = "moon"
    results = by_id(frame)
    assert statuses(results) == {"unique": "fail", "slices": "fail", "balance": "fail"}
    assert results["unique"].examples == ("pair-0",)


@pytest.mark.parametrize(
    ("kind", "kwargs", "says"),
    [
        ("moon_to_be_full", {}, "not found"),
        ("column_values_to_be_between", {"colum": "length"}, "extra fields"),
        ("column_values_to_be_between", {"column": "length"}, "min_value"),
    ],
)
def test_expectation_that_cannot_be_built_is_an_error_beside_the_others(kind, kwargs, says):
    suite = Suite(
        name="odd",
        minimum_rows=1,
        expectations=(expectation("odd", kind, **kwargs), SUITE.expectations[0]),
    )
    results = by_id(clean(), suite)
    assert statuses(results) == {"odd": "error"}
    assert says in results["odd"].message


def test_type_that_cannot_be_compared_is_an_error_not_a_crash():
    frame = clean().astype({"length": object})
    frame["length"] = "long"
    assert statuses(by_id(frame))["length"] in ("error", "fail")


def test_frame_without_ids_names_rows_by_position():
    frame = clean().drop(columns="id")
    frame.loc[5, "length"] = 1000.0
    assert by_id(frame)["length"].examples == ("5",)


def test_nothing_is_printed_and_nothing_calls_home():
    program = (
        "import socket\ndef refuse(*a, **k): raise AssertionError('network')\nsocket.socket.connect"
        " = socket.getaddrinfo = refuse\nimport pandas as pd\nfrom plumbline.schema.suites import"
        " Expectation, Suite\nfrom resources.expectations import validate\ne = Expectation(id='n',"
        " type='expect_column_values_to_be_between', kwargs={'column': 'n', 'min_value': 0},"
        " reason='r')\nassert validate(pd.DataFrame({'n': [1]}), Suite(name='s', minimum_rows=1,"
        " expectations=(e,)))[0].status == 'pass'\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
