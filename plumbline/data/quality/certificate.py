"""Certificates: the result of one suite on exactly one version of the data.

A certificate counts only for the bytes and the suite whose digests it names, and only if every
declared check ran, passed and looked at enough rows. Everything else refuses. It protects against
mistakes and stale results; whoever can write to the store can also forge one.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from plumbline.errors import GateRefused
from plumbline.records import Record
from plumbline.schema.suites import Suite
from plumbline.storage.artifacts import write_atomically


def _finite_or_none(value: object) -> object:
    """Canonical JSON has no NaN; a number that is not finite says as little as no number, and
    refuses as well."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class CheckResult(Record):
    """What one expectation found. `error` means that it could not be evaluated, which refuses like
    `fail`."""

    id: str = Field(min_length=1, description="id of the expectation in the suite")
    status: Literal["pass", "fail", "error"]
    observed: Annotated[float | str | None, BeforeValidator(_finite_or_none)] = Field(
        description=(
            "what was measured; null when nothing was, or when the number was NaN or infinite: a"
            " check without an observation cannot pass"
        )
    )
    examined: int = Field(ge=0, description="rows that the check looked at")
    unexpected: int | None = Field(
        ge=0, description="rows that broke the expectation; null when it is not about single rows"
    )
    examples: tuple[str, ...] = Field(description="a few of the rows that broke it, for people")
    message: str

    def problem(self, minimum_rows: int) -> str | None:
        """Why this check does not count as passed, or None."""
        if self.status != "pass":
            return f"check '{self.id}' has status {self.status}: {self.message or 'no message'}"
        if not _is_observation(self.observed):
            return (
                f"check '{self.id}' claims to pass but observed {self.observed!r}, which is no"
                " measurement"
            )
        if self.examined < minimum_rows:
            return (
                f"check '{self.id}' examined {self.examined} rows, the suite needs {minimum_rows}"
            )
        return None


class Certificate(Record):
    """The verdict of a suite on one data version; a verdict that does not follow from the checks is
    invalid."""

    data: str = Field(description="tree digest of the data that was examined")
    suite: str = Field(description="digest of the suite")
    suite_name: str
    rows: int = Field(ge=0)
    minimum_rows: int = Field(ge=1)
    checks: tuple[CheckResult, ...]
    verdict: Literal["pass", "fail"]

    @model_validator(mode="after")
    def _verdict_follows(self) -> Self:
        problems = self.problems()
        if self.verdict != ("fail" if problems else "pass"):
            raise ValueError(
                f"verdict '{self.verdict}' does not follow from the checks:"
                f" {'; '.join(problems) or 'all of them pass'}"
            )
        return self

    def problems(self) -> tuple[str, ...]:
        """Everything that keeps this certificate from passing, as sentences; empty when it
        passes."""
        return _problems(self.rows, self.minimum_rows, self.checks)


def certify(data: str, suite: Suite, rows: int, checks: Sequence[CheckResult]) -> Certificate:
    """The certificate of a suite's results on one data version.

    A declared expectation without a result, and a result that the suite does not declare, become
    results with status `error`, so that the certificate itself says why it fails.

    Args:
        data: Tree digest of the data.
        suite: The suite that was run.
        rows: Rows of the data.
        checks: One result for each expectation of the suite.
    """
    declared = {expectation.id for expectation in suite.expectations}
    undeclared = f"suite '{suite.name}' declares no such expectation"
    results = [
        (
            check
            if check.id in declared
            else check.model_copy(update={"status": "error", "message": undeclared})
        )
        for check in checks
    ]
    evaluated = {check.id for check in checks}
    for expectation in suite.expectations:
        if expectation.id not in evaluated:
            missing = "the suite declares this expectation, but it was not evaluated"
            results.append(
                CheckResult(
                    id=expectation.id,
                    status="error",
                    observed=None,
                    examined=0,
                    unexpected=None,
                    examples=(),
                    message=missing,
                )
            )
    return Certificate(
        data=data,
        suite=suite.digest(),
        suite_name=suite.name,
        rows=rows,
        minimum_rows=suite.minimum_rows,
        checks=tuple(results),
        verdict="fail" if _problems(rows, suite.minimum_rows, results) else "pass",
    )


def write_certificate(store_root: Path, certificate: Certificate) -> str:
    """Store a certificate under its data and suite, in place of an earlier one for the same two;
    returns its digest."""
    write_atomically(_path(store_root, certificate.data, certificate.suite), certificate.to_json())
    return certificate.digest()


def read_certificate(store_root: Path, data: str, suite: str) -> Certificate:
    """The stored certificate for a data digest and a suite digest, whatever its verdict.

    Raises:
        GateRefused: If it is missing, unreadable, edited, or about something else.
    """
    path = _path(store_root, data, suite)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise GateRefused(
            f"{path}: there is no certificate of suite {suite} for data {data}{_neighbours(path)}."
            f" {_REMEDY}"
        ) from None
    except OSError as error:
        raise GateRefused(f"{path}: the certificate cannot be read: {error}. {_REMEDY}") from error
    try:
        certificate = Certificate.from_json(content)
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'certificate'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise GateRefused(f"{path}: is not a valid certificate ({reasons}). {_REMEDY}") from error
    if content != certificate.to_json():
        raise GateRefused(
            f"{path}: was changed after it was written: its bytes are not canonical. {_REMEDY}"
        )
    if (certificate.data, certificate.suite) != (data, suite):
        raise GateRefused(
            f"{path}: speaks about data {certificate.data} and suite {certificate.suite}, not about"
            f" the two in its name. {_REMEDY}"
        )
    return certificate


def require_certificate(store_root: Path, data: str, suite: Suite) -> Certificate:
    """The passing certificate of exactly this data under exactly this suite.

    Raises:
        GateRefused: If there is none, it failed, or it is unreadable or inconsistent; says what was
            found and what to do.
    """
    certificate = read_certificate(store_root, data, suite.digest())
    problems = list(certificate.problems())
    if certificate.minimum_rows != suite.minimum_rows:
        problems.append(
            f"it was judged with minimum_rows {certificate.minimum_rows}, the suite says"
            f" {suite.minimum_rows}"
        )
    declared = {expectation.id for expectation in suite.expectations}
    evaluated = {check.id for check in certificate.checks}
    problems += [f"check '{name}' of the suite is missing" for name in sorted(declared - evaluated)]
    problems += [
        f"check '{name}' is not declared in the suite" for name in sorted(evaluated - declared)
    ]
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise GateRefused(
            f"suite '{suite.name}' refuses data {data}:\n{listed}\nCorrect the data, or change the"
            f" suite in a reviewed commit. {_REMEDY}"
        )
    return certificate


_REMEDY = (
    "Then materialize the data asset with all its checks again: training starts only behind a"
    " passing certificate."
)


def _problems(rows: int, minimum_rows: int, checks: Sequence[CheckResult]) -> tuple[str, ...]:
    problems = []
    if rows < minimum_rows:
        problems.append(f"the data have {rows} rows, the suite needs {minimum_rows}")
    if not checks:
        problems.append("no check was evaluated")
    problems += [
        f"check '{name}' has {count} results, expected one"
        for name, count in sorted(Counter(c.id for c in checks).items())
        if count > 1
    ]
    problems += [problem for check in checks if (problem := check.problem(minimum_rows))]
    return tuple(problems)


def _is_observation(observed: float | str | None) -> bool:
    if isinstance(observed, str):
        return observed.strip().lower() not in (
            "",
            "none",
            "null",
            "nan",
            "inf",
            "-inf",
            "infinity",
            "-infinity",
        )
    return observed is not None and math.isfinite(observed)


def _neighbours(path: Path) -> str:
    """What else the store certifies, in words: it tells stale results from results that never
    were."""
    data, _, suite = path.stem.partition("-")
    if any(path.parent.glob(f"{data}-*.json")):
        return " (this data was certified under another suite, or another version of it)"
    if any(path.parent.glob(f"*-{suite}.json")):
        return " (this suite has certified other data, but not these)"
    return ""


def _path(store_root: Path, data: str, suite: str) -> Path:
    names = []
    for role, digest in (("data", data), ("suite", suite)):
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise GateRefused(
                f"the {role} digest of a certificate is '{digest}'; expected sha256: and 64 hex"
                " digits"
            )
        names.append(value)
    return store_root / "certificates" / f"{'-'.join(names)}.json"
