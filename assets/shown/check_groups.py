"""Certificates in the UI: one asset check for each concern of a suite, and the page that shows all
of it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from plumbline.data.quality.certificate import Certificate, CheckResult
from plumbline.schema.conversations import Message
from plumbline.schema.preferences import Demonstration, PreferencePair
from plumbline.schema.suites import Expectation, Suite

if TYPE_CHECKING:
    from plumbline.data.quality.certificate_page import Statistics


def group_check_specs(
    asset: dg.AssetsDefinition, suite: Suite, additional_deps: list[dg.AssetsDefinition]
) -> list[dg.AssetCheckSpec]:
    """One check for each concern; it blocks when one of its expectations is critical."""
    return [
        dg.AssetCheckSpec(
            name=concern,
            asset=asset,
            additional_deps=additional_deps,
            description="\n".join(
                f"- {expectation.id}: {expectation.reason}" for expectation in expectations
            ),
            blocking=_critical(expectations),
            metadata={"expectations": len(expectations), "suite": suite.name},
        )
        for concern, expectations in suite.concerns.items()
    ]


def group_check_results(
    asset: dg.AssetKey,
    suite: Suite,
    certificate: Certificate,
    store: Path,
    statistics: "Statistics",
    rows: Iterable[Demonstration | PreferencePair],
) -> Iterator[dg.AssetCheckResult]:
    """Write the report page, and give one result for each concern.

    Args:
        asset: The certified asset.
        suite: The suite of the certificate.
        certificate: What was found.
        store: Root of the artifact store; the page stands beside the certificates.
        statistics: Numbers of the data, for the page.
        rows: The data again, read only when a row broke an expectation, to show its text.
    """
    from plumbline.data.quality.certificate_page import failing_rows, write_report

    wanted = {name for names in failing_rows(certificate).values() for name in names}
    page = write_report(
        store, suite, certificate, statistics, _texts(rows, wanted) if wanted else {}
    )
    checks = {check.id: check for check in certificate.checks}
    for concern, expectations in suite.concerns.items():
        results = [checks[expectation.id] for expectation in expectations]
        problems = [
            problem for check in results if (problem := check.problem(certificate.minimum_rows))
        ]
        if certificate.rows < certificate.minimum_rows:
            problems.append(
                f"the data have {certificate.rows} rows, the suite needs {certificate.minimum_rows}"
            )
        failing = failing_rows(certificate, [expectation.id for expectation in expectations])
        metadata: dict[str, Any] = {
            "expectations": dg.MetadataValue.json(_observed(results)),
            "report": dg.MetadataValue.path(str(page)),
            "certificate": certificate.digest(),
            "certificate verdict": certificate.verdict,
            "data": certificate.data,
        }
        if failing:
            metadata["failing rows"] = dg.MetadataValue.json(
                {name: list(ids) for name, ids in failing.items()}
            )
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=concern,
            passed=not problems,
            severity=(
                dg.AssetCheckSeverity.ERROR
                if _critical(expectations)
                else dg.AssetCheckSeverity.WARN
            ),
            description="\n".join(problems),
            metadata=metadata,
        )


def _observed(checks: Iterable[CheckResult]) -> dict[str, dict[str, Any]]:
    return {
        check.id: {"status": check.status, "observed": check.observed, "examined": check.examined}
        for check in checks
    }


def sections(facts: Mapping[str, Any]) -> dict[str, dict[str, object]]:
    """The facts of a manifest as sections of the report page: one for each group of facts, and one
    for what stands alone."""
    grouped = {
        name: {key: _plain(fact) for key, fact in value.items()}
        for name, value in facts.items()
        if isinstance(value, Mapping)
    }
    return {
        "data": {
            name: _plain(value) for name, value in facts.items() if not isinstance(value, Mapping)
        },
        **grouped,
    }


def _plain(value: object) -> object:
    return (
        value
        if isinstance(value, str | int | float | bool | None)
        else json.dumps(value, ensure_ascii=False, sort_keys=True)
    )


def _critical(expectations: Iterable[Expectation]) -> bool:
    return any(expectation.severity == "critical" for expectation in expectations)


def _texts(
    rows: Iterable[Demonstration | PreferencePair], wanted: set[str]
) -> Mapping[str, Mapping[str, str]]:
    texts: dict[str, dict[str, str]] = {}
    for row in rows:
        if row.id in wanted:
            responses = (
                {"response": row.response}
                if isinstance(row, Demonstration)
                else {"chosen": row.chosen, "rejected": row.rejected}
            )
            texts[row.id] = {"prompt": _conversation(row.prompt), **responses}
    return texts


def _conversation(prompt: Iterable[Message]) -> str:
    return "\n".join(f"{message.role}: {message.content}" for message in prompt)
