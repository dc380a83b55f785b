"""The guardrail as it ships: fitted, frozen, measured, and judged by the limits of the profile."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.guardrail.build import Built, build_guardrail, write_guardrail
from plumbline.guardrail.checks import guardrail_check
from plumbline.guardrail.labels import GuardrailRow, guardrail_rows
from plumbline.profile.evaluation import GuardrailConfig
from plumbline.schema.checks import CHECKS_FILE, CheckReport, CheckVerdict


@dataclass(frozen=True)
class GuardrailInputs:
    """What a guardrail is made from."""

    profile: str
    rubric: str
    """Label of the rubric that the labels were given under."""
    preference_data: Path
    data_version: str
    """Tree digest of the preference data."""
    routed: Sequence[GuardrailRow]
    """Red-team successes that people sent to the guardrail."""
    seed: int


@dataclass(frozen=True)
class ShippedGuardrail:
    """A guardrail with its error rates, and whether they lie within the limits."""

    built: Built
    verdict: CheckVerdict

    def facts(self) -> dict[str, Any]:
        """As the manifest of the guardrail says it."""
        return {
            "version": self.built.model.version,
            "threshold": self.built.model.threshold.value,
            "verdict": self.verdict.verdict,
            "rows": self.built.measurement.counts,
        }


def ship_guardrail(
    inputs: GuardrailInputs, rule: GuardrailConfig, folder: Path
) -> ShippedGuardrail:
    """Fit, freeze and measure the guardrail, and write its files to a folder."""
    built = build_guardrail(
        guardrail_rows(inputs.preference_data, list(inputs.routed)),
        rule,
        profile=inputs.profile,
        rubric=inputs.rubric,
        preference_data=inputs.data_version,
        seed=inputs.seed,
    )
    verdict = guardrail_check(built.measurement, rule)
    write_guardrail(folder, built)
    (folder / CHECKS_FILE).write_bytes(CheckReport(checks=(verdict,)).to_json())
    return ShippedGuardrail(built, verdict)
