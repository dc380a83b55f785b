"""A certificate counts only for the bytes and the suite that it names; everything else refuses and
says what to do."""

import json
import math

import pytest
from pydantic import ValidationError

from plumbline.data.quality.certificate import (
    Certificate,
    CheckResult,
    certify,
    read_certificate,
    require_certificate,
    write_certificate,
)
from plumbline.errors import GateRefused
from plumbline.records import sha256
from plumbline.schema.suites import Expectation, Suite

DATA = sha256(b"data")
OTHER = sha256(b"other data")


def expectation(name, severity="critical"):
    return Expectation(
        id=name,
        type="expect_column_values_to_not_be_null",
        kwargs={"column": name},
        severity=severity,
        reason="because",
    )


SUITE = Suite(
    name="pairs",
    minimum_rows=100,
    expectations=(expectation("chosen-not-null"), expectation("margin-range", severity="warning")),
)


def check(name, **changes):
    fields = {
        "id": name,
        "status": "pass",
        "observed": 0.0,
        "examined": 150,
        "unexpected": 0,
        "examples": (),
        "message": "fine",
    }
    return CheckResult(**(fields | changes))


def good():
    return [check("chosen-not-null"), check("margin-range", observed="0 to 3")]


def path(store, data=DATA, suite=SUITE):
    return (
        store
        / "certificates"
        / f"{data.removeprefix('sha256:')}-{suite.digest().removeprefix('sha256:')}.json"
    )


def test_a_clean_certificate_passes(tmp_path):
    certificate = certify(DATA, SUITE, 150, good())
    assert write_certificate(tmp_path, certificate) == certificate.digest()
    assert require_certificate(tmp_path, DATA, SUITE) == certificate
    assert certificate.verdict == "pass"
    assert path(tmp_path).read_bytes() == certificate.to_json()


@pytest.mark.parametrize(
    ("rows", "checks", "says"),
    [
        pytest.param(
            150,
            [
                check("chosen-not-null", status="fail", message="3 rows are null"),
                check("margin-range"),
            ],
            "3 rows are null",
            id="failed",
        ),
        pytest.param(
            150,
            [check("chosen-not-null"), check("margin-range", status="fail")],
            "check 'margin-range' has status fail",
            id="failed-warning",
        ),
        pytest.param(
            150,
            [check("chosen-not-null", status="error"), check("margin-range")],
            "has status error",
            id="errored",
        ),
        pytest.param(
            150,
            [check("chosen-not-null", observed=math.nan), check("margin-range")],
            "observed None",
            id="nan",
        ),
        pytest.param(
            150,
            [check("chosen-not-null", observed=math.inf), check("margin-range")],
            "observed None",
            id="infinite",
        ),
        pytest.param(
            150,
            [check("chosen-not-null", observed=None), check("margin-range")],
            "observed None",
            id="none",
        ),
        pytest.param(
            150,
            [check("chosen-not-null", observed=" NaN "), check("margin-range")],
            "no measurement",
            id="nan-text",
        ),
        pytest.param(
            150,
            [check("chosen-not-null", observed=""), check("margin-range")],
            "no measurement",
            id="empty-text",
        ),
        pytest.param(
            150,
            [check("chosen-not-null")],
            "'margin-range' has status error: the suite declares this",
            id="missing",
        ),
        pytest.param(150, [], "was not evaluated", id="none-ran"),
        pytest.param(
            150, [*good(), check("margin-range")], "check 'margin-range' has 2 results", id="twice"
        ),
        pytest.param(
            150,
            [*good(), check("extra")],
            "'extra' has status error: suite 'pairs' declares no such",
            id="extra",
        ),
        pytest.param(
            150,
            [check("chosen-not-null", examined=99), check("margin-range")],
            "examined 99 rows, the suite needs 100",
            id="examined-too-few",
        ),
        pytest.param(99, good(), "the data have 99 rows, the suite needs 100", id="few-rows"),
        pytest.param(
            0,
            [check("chosen-not-null", examined=0), check("margin-range", examined=0)],
            "the data have 0 rows",
            id="empty-batch",
        ),
    ],
)
def test_whatever_is_wrong_refuses_and_says_so(tmp_path, rows, checks, says):
    certificate = certify(DATA, SUITE, rows, checks)
    assert certificate.verdict == "fail"
    write_certificate(tmp_path, certificate)
    with pytest.raises(GateRefused) as refusal:
        require_certificate(tmp_path, DATA, SUITE)
    assert says in str(refusal.value)
    assert "materialize the data asset" in str(refusal.value)


def test_every_problem_is_listed(tmp_path):
    write_certificate(
        tmp_path,
        certify(DATA, SUITE, 50, [check("chosen-not-null", status="fail"), check("extra")]),
    )
    with pytest.raises(GateRefused) as refusal:
        require_certificate(tmp_path, DATA, SUITE)
    for part in ("50 rows", "'chosen-not-null'", "'margin-range'", "'extra'"):
        assert part in str(refusal.value)


def test_without_a_certificate(tmp_path):
    with pytest.raises(
        GateRefused, match=r"there is no certificate of suite .* for data .*materialize"
    ):
        require_certificate(tmp_path, DATA, SUITE)


def test_a_pass_on_other_data_does_not_count(tmp_path):
    write_certificate(tmp_path, certify(OTHER, SUITE, 150, good()))
    with pytest.raises(GateRefused, match="this suite has certified other data"):
        require_certificate(tmp_path, DATA, SUITE)


@pytest.mark.parametrize(
    "change", [{"minimum_rows": 101}, {"expectations": (*SUITE.expectations, expectation("new"))}]
)
def test_a_pass_under_another_suite_does_not_count(tmp_path, change):
    write_certificate(tmp_path, certify(DATA, SUITE, 150, good()))
    changed = Suite(**(dict(SUITE) | change))
    with pytest.raises(GateRefused, match="certified under another suite, or another version"):
        require_certificate(tmp_path, DATA, changed)


def test_a_later_failure_takes_the_place_of_a_pass(tmp_path):
    write_certificate(tmp_path, certify(DATA, SUITE, 150, good()))
    write_certificate(tmp_path, certify(DATA, SUITE, 150, good()[:1]))
    with pytest.raises(GateRefused, match="refuses data"):
        require_certificate(tmp_path, DATA, SUITE)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda c: c | {"verdict": "pass"}, "verdict 'pass' does not follow"),
        (lambda c: c | {"checks": c["checks"][:1]}, "check 'margin-range' of the suite is missing"),
        (lambda c: c | {"minimum_rows": 1}, "judged with minimum_rows 1, the suite says 100"),
        (lambda c: c | {"data": OTHER}, "not about the two in its name"),
        (lambda c: c | {"suite": OTHER}, "not about the two in its name"),
        (lambda c: c | {"approved": True}, "approved: Extra inputs"),
        (
            lambda c: {name: value for name, value in c.items() if name != "rows"},
            "rows: Field required",
        ),
    ],
    ids=["verdict", "check-removed", "minimum", "data", "suite", "field-added", "field-removed"],
)
def test_an_edited_file_refuses(tmp_path, edit, says):
    passing = says not in ("verdict 'pass' does not follow",)
    write_certificate(tmp_path, certify(DATA, SUITE, 150, good() if passing else good()[:1]))
    edited = edit(json.loads(path(tmp_path).read_bytes()))
    path(tmp_path).write_text(json.dumps(edited, sort_keys=True, separators=(",", ":")) + "\n")
    with pytest.raises(GateRefused) as refusal:
        require_certificate(tmp_path, DATA, SUITE)
    assert says in str(refusal.value)
    assert str(tmp_path) in str(refusal.value) or "refuses data" in str(refusal.value)


def test_an_extra_check_smuggled_into_the_file_refuses(tmp_path):
    certificate = certify(DATA, SUITE, 150, good())
    write_certificate(
        tmp_path, certificate.model_copy(update={"checks": (*certificate.checks, check("extra"))})
    )
    with pytest.raises(GateRefused, match="check 'extra' is not declared"):
        require_certificate(tmp_path, DATA, SUITE)


def test_reformatted_bytes_refuse(tmp_path):
    write_certificate(tmp_path, certify(DATA, SUITE, 150, good()))
    path(tmp_path).write_text(json.dumps(json.loads(path(tmp_path).read_bytes()), indent=2))
    with pytest.raises(GateRefused, match="changed after it was written"):
        require_certificate(tmp_path, DATA, SUITE)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"verdict":"pass"}'])
def test_an_unreadable_file_refuses(tmp_path, content):
    path(tmp_path).parent.mkdir()
    path(tmp_path).write_bytes(content)
    with pytest.raises(GateRefused, match=r"not a valid certificate .*materialize"):
        require_certificate(tmp_path, DATA, SUITE)


def test_a_folder_in_its_place_refuses(tmp_path):
    path(tmp_path).mkdir(parents=True)
    with pytest.raises(GateRefused, match="cannot be read"):
        require_certificate(tmp_path, DATA, SUITE)


@pytest.mark.parametrize(
    "digest", ["", "latest", "sha256:", "sha256:../../etc", "md5:" + 64 * "0", "sha256:" + 64 * "G"]
)
def test_something_that_is_no_digest_refuses(tmp_path, digest):
    with pytest.raises(GateRefused, match="expected sha256"):
        require_certificate(tmp_path, digest, SUITE)


def test_a_failed_certificate_can_be_read_for_display(tmp_path):
    failed = certify(DATA, SUITE, 150, good()[:1])
    write_certificate(tmp_path, failed)
    assert read_certificate(tmp_path, DATA, SUITE.digest()) == failed


def test_a_verdict_that_does_not_follow_cannot_be_built():
    fields = dict(certify(DATA, SUITE, 150, good()))
    with pytest.raises(ValidationError, match="does not follow"):
        Certificate(**(fields | {"verdict": "fail"}))
    with pytest.raises(ValidationError, match="does not follow"):
        Certificate(**(fields | {"checks": ()}))
