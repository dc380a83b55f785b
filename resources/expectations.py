"""Great Expectations over a narrow audit frame: one result for each declared expectation, from one
validation call.

Great Expectations passes on an empty batch, ignores nulls and NaN, and lets infinities satisfy a
one-sided bound. So a result counts as a pass here only if the frame has the suite's minimum of rows
and every column that the expectation names holds a finite value in every row.
"""

import json
import math
import os
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plumbline.data.quality.certificate import Certificate, CheckResult, certify, write_certificate
from plumbline.schema.suites import Expectation, Suite

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult

ID = "id"
MAX_EXAMPLES = 10
MAX_OBSERVED = 200


def certify_frame(store_root: Path, tree: str, frame: "pd.DataFrame", suite: Suite) -> Certificate:
    """Validate the audit frame of a data tree and store the certificate, whatever its verdict.

    Args:
        store_root: Root of the artifact store.
        tree: Tree digest of the data that the frame was computed from.
        frame: One row for each row of the data; its column `id`, if there, names rows in examples.
        suite: The suite to run.
    """
    certificate = certify(tree, suite, len(frame), validate(frame, suite))
    write_certificate(store_root, certificate)
    return certificate


def validate(frame: "pd.DataFrame", suite: Suite) -> list[CheckResult]:
    """One result for each expectation of a suite, in its order; whatever Great Expectations raises
    becomes a result with status `error`."""
    invalid: dict[str, str] = {}
    outcomes = _run(frame, suite, invalid)
    results = []
    for expectation in suite.expectations:
        if expectation.id in outcomes:
            results.append(_judge(frame, suite, expectation, outcomes[expectation.id]))
        else:
            results.append(
                _error(
                    expectation,
                    invalid.get(expectation.id, "Great Expectations returned no result for it"),
                    0,
                )
            )
    return results


def _run(
    frame: "pd.DataFrame", suite: Suite, invalid: dict[str, str]
) -> dict[str, "ExpectationValidationResult"]:
    """Validation results by expectation id; expectations that cannot be built go to `invalid` with
    the reason."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    declared = gx.ExpectationSuite(name=suite.name)
    for expectation in suite.expectations:
        try:
            declared.add_expectation_configuration(
                ExpectationConfiguration(
                    type=expectation.type,
                    kwargs=dict(expectation.kwargs),
                    meta={"check": expectation.id},
                )
            )
        except (GreatExpectationsError, ValueError, TypeError) as error:
            invalid[expectation.id] = (
                f"{expectation.type} with {expectation.kwargs} is not a valid expectation:"
                f" {' '.join(str(error).split())}"
            )
    if not declared.expectations:
        return {}
    asset = context.data_sources.add_pandas("audit").add_dataframe_asset(suite.name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    result_format: dict[str, Any] = {
        "result_format": "SUMMARY",
        "partial_unexpected_count": MAX_EXAMPLES,
    }
    if ID in frame.columns:
        result_format["unexpected_index_column_names"] = [ID]
    validation = batch.validate(declared, result_format=result_format)
    return {result.expectation_config.meta["check"]: result for result in validation.results}


def _judge(
    frame: "pd.DataFrame",
    suite: Suite,
    expectation: Expectation,
    outcome: "ExpectationValidationResult",
) -> CheckResult:
    result: Mapping[str, Any] = outcome.result or {}
    raised = _exceptions(outcome.exception_info or {})
    if raised:
        return _error(expectation, "; ".join(raised), 0)
    examined = int(result.get("element_count", len(frame))) - int(result.get("missing_count") or 0)
    unexpected = result.get("unexpected_count")
    observed = _observed(result, bool(outcome.success))
    problems, rows = [], []
    if not outcome.success:
        breach = (
            f"{unexpected} of {examined} rows break it"
            if "element_count" in result
            else f"observed {observed}"
        )
        problems.append(f"{expectation.type}: {breach}. {expectation.reason}")
        rows += [
            str(row.get(ID)) if isinstance(row, Mapping) else str(row)
            for row in result.get("partial_unexpected_index_list") or []
        ]
    if len(frame) < suite.minimum_rows:
        problems.append(f"the frame has {len(frame)} rows, the suite needs {suite.minimum_rows}")
    elif examined < suite.minimum_rows:
        problems.append(f"it examined {examined} rows, the suite needs {suite.minimum_rows}")
    for column in _columns(expectation):
        gaps = _gaps(frame[column])
        if gaps.any():
            problems.append(
                f"column '{column}' holds no finite value in {int(gaps.sum())} rows, which Great"
                " Expectations leaves out"
            )
            rows += [
                str(name)
                for name in (frame[ID] if ID in frame.columns else frame.index.to_series())[
                    gaps
                ].head(MAX_EXAMPLES)
            ]
    if not problems and observed is None:
        return _error(expectation, "it passed without observing a finite number", examined)
    return CheckResult(
        id=expectation.id,
        status="fail" if problems else "pass",
        observed=observed,
        examined=examined,
        unexpected=None if unexpected is None else int(unexpected),
        examples=tuple(dict.fromkeys(rows))[:MAX_EXAMPLES],
        message="; ".join(problems),
    )


def _observed(result: Mapping[str, Any], success: bool) -> float | str | None:
    """The observed value; the share of rows that break it, for an expectation about single rows;
    None when there is no finite number."""
    if "observed_value" in result:
        value = result["observed_value"]
        if isinstance(value, Real):
            return float(value) if math.isfinite(value) else None
        if value is None:
            # Great Expectations leaves the set of distinct values out and counts the values that
            # are not allowed.
            return (
                None
                if result.get("unexpected_count") is None
                else float(result["unexpected_count"])
            )
        text = value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)
        return (
            text
            if len(text) <= MAX_OBSERVED
            else f"{text[:MAX_OBSERVED]}... ({len(text)} characters)"
        )
    if "element_count" in result:
        rows = int(result["element_count"])
        return int(result["unexpected_count"]) / rows if rows else None
    return (
        "holds" if success else "does not hold"
    )  # about the table's shape, as expect_column_to_exist


def _columns(expectation: Expectation) -> list[str]:
    kwargs = expectation.kwargs
    return [kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs] + list(
        kwargs.get("column_list", ())
    )


def _gaps(column: "pd.Series[Any]") -> "pd.Series[bool]":
    """True where a column is null, NaN or infinite."""
    return column.isna() | column.isin([math.inf, -math.inf])


def _exceptions(info: Mapping[str, Any]) -> list[str]:
    """Messages of what was raised; the info is one record, or one record for each metric that
    failed."""
    records = (
        [info]
        if "raised_exception" in info
        else [record for record in info.values() if isinstance(record, Mapping)]
    )
    return list(
        dict.fromkeys(
            str(record["exception_message"]) for record in records if record.get("raised_exception")
        )
    )


def _error(expectation: Expectation, message: str, examined: int) -> CheckResult:
    return CheckResult(
        id=expectation.id,
        status="error",
        observed=None,
        examined=examined,
        unexpected=None,
        examples=(),
        message=message,
    )
