"""What the guardrail does on responses that neither classifier nor threshold has seen: error rates
with exact intervals, overall and by slice."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

from pydantic import Field

from plumbline.guardrail.classifier import ViolationClassifier
from plumbline.guardrail.labels import GuardrailRow
from plumbline.guardrail.threshold import Threshold
from plumbline.records import Record, canonical_json, sha256
from plumbline.schema.estimates import Estimate
from plumbline.schema.identifiers import Identifier

EXACT: Final = "clopper-pearson"
ORDINARY: Final = "ordinary"
"""Stands for the tactic of ordinary traffic."""
FORMAT: Final = 1


class GuardrailModel(Record):
    """The guardrail as it ships: guardrail.json."""

    format: Literal[1] = Field(description="version of this file's format")
    profile: Identifier
    rubric: str = Field(description="rubric under which the rows were judged, `name@version`")
    preference_data: str = Field(description="tree digest of the data that the rows come from")
    rows: str = Field(description="digest of the ids, parts and labels of all rows")
    threshold: Threshold
    classifier: ViolationClassifier | None = Field(
        description="null when there was too little to learn from"
    )

    @property
    def version(self) -> str:
        """Short name of these very weights and this threshold."""
        return f"{self.profile}-{self.digest().removeprefix('sha256:')[:12]}"

    def blocks(self, row: GuardrailRow) -> bool:
        """Whether it blocks a response; without a threshold it cannot say.

        Raises:
            ValueError: If it has no threshold.
        """
        if self.classifier is None or self.threshold.value is None:
            raise ValueError("a guardrail without a threshold blocks nothing and lets nothing pass")
        return self.classifier.score(row.prompt, row.response) >= self.threshold.value


class ErrorRates(Record):
    """Both error rates on some rows."""

    fpr: Estimate | None = Field(
        description="share of the acceptable responses that are blocked; null where there are none"
    )
    fnr: Estimate | None = Field(
        description="share of the violations that are let through; null where there are none"
    )


class Measurement(Record):
    """The rates of one guardrail on its test split: measurement.json."""

    guardrail: str = Field(
        description="digest of guardrail.json: a threshold and its rates belong together"
    )
    level: float = Field(description="two-sided confidence level of every interval")
    counts: dict[str, dict[str, int]] = Field(description="rows by part and label")
    left_out: dict[str, int] = Field(
        description="judgments that are no row, and rows that are not counted, by reason"
    )
    missing: str = Field(description="why there are no rates; empty when there are")
    overall: ErrorRates
    slices: dict[Identifier, ErrorRates]
    tactics: dict[Identifier, ErrorRates] = Field(
        description="by tactic of the attack; ordinary traffic under `ordinary`"
    )

    def rows(self) -> list[dict[str, Any]]:
        """One flat row for all responses, each slice and each tactic."""
        named = [
            ("all", "all", self.overall),
            *(("slice", n, r) for n, r in self.slices.items()),
            *(("tactic", n, r) for n, r in self.tactics.items()),
        ]
        return [
            {
                "kind": kind,
                "name": name,
                **_flat("fpr", rates.fpr, "negatives"),
                **_flat("fnr", rates.fnr, "positives"),
            }
            for kind, name, rates in named
        ]

    def to_markdown(self) -> str:
        """The rates as a table."""
        if self.missing:
            return f"Not measured: {self.missing}."
        lines = [
            (
                f"| | false positives ({self.level:.0%} interval) | of | false negatives"
                f" ({self.level:.0%} interval) | of |"
            ),
            "|---|---|---:|---|---:|",
        ]
        lines += [
            f"| {row['name']} | {_cell(row, 'fpr')} | {row['negatives']} | {_cell(row, 'fnr')} |"
            f" {row['positives']} |"
            for row in self.rows()
        ]
        return "\n".join(lines)


def measure_guardrail(
    model: GuardrailModel,
    rows: Sequence[GuardrailRow],
    confidence_level: float,
    counts: dict[str, dict[str, int]],
    left_out: dict[str, int],
) -> Measurement:
    """Error rates on the test split.

    Args:
        model: The frozen guardrail.
        rows: The rows of the test split.
        confidence_level: Two-sided confidence level of the intervals.
        counts: Rows by part and label, for the record.
        left_out: What was left out and why, for the record.
    """
    nothing = ErrorRates(fpr=None, fnr=None)
    missing = model.threshold.why
    judged = [] if missing else [(row, model.blocks(row)) for row in rows]

    def by(key: Callable[[GuardrailRow], str]) -> dict[Identifier, ErrorRates]:
        return {
            name: _rates([one for one in judged if key(one[0]) == name], confidence_level)
            for name in sorted({key(row) for row, _ in judged})
        }

    return Measurement(
        guardrail=model.digest(),
        level=confidence_level,
        counts=counts,
        left_out=left_out,
        missing=missing,
        overall=nothing if missing else _rates(judged, confidence_level),
        slices=by(lambda row: row.slice),
        tactics=by(lambda row: row.tactic or ORDINARY),
    )


def exact(count: int, n: int, confidence_level: float) -> Estimate:
    """Count of n as a share with its two-sided Clopper-Pearson interval (1934): never too short,
    whatever n."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, n, alpha=1 - confidence_level, method="beta")
    return Estimate(
        value=count / n,
        low=float(low),
        high=float(high),
        level=confidence_level,
        n=n,
        unscored=0,
        method=EXACT,
    )


def rows_digest(rows: Iterable[tuple[str, str, bool]]) -> str:
    """Digest of (id, part, label) of all rows."""
    return sha256(b"".join(canonical_json(list(row)) for row in rows))


def _rates(judged: Sequence[tuple[GuardrailRow, bool]], confidence_level: float) -> ErrorRates:
    negative = [blocked for row, blocked in judged if not row.violation]
    positive = [blocked for row, blocked in judged if row.violation]
    return ErrorRates(
        fpr=exact(sum(negative), len(negative), confidence_level) if negative else None,
        fnr=(
            exact(sum(not blocked for blocked in positive), len(positive), confidence_level)
            if positive
            else None
        ),
    )


def _flat(name: str, estimate: Estimate | None, of: str) -> dict[str, Any]:
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None, of: 0}
    return {
        name: estimate.value,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
        of: estimate.n,
    }


def _cell(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "none to judge"
    return f"{row[name]:.1%} [{100 * row[f'{name}_low']:.1f}, {100 * row[f'{name}_high']:.1f}]"
