"""Making a guardrail: split, fit, choose the threshold, freeze, measure, and write the files that
ship."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from pydantic import Field, ValidationError

from plumbline.errors import DataError, InsufficientEvidence
from plumbline.guardrail.classifier import fit_classifier
from plumbline.guardrail.labels import (
    SAME_PROMPT,
    GuardrailRow,
    Labelled,
    Part,
    counts_of,
    split_rows,
)
from plumbline.guardrail.measurement import (
    FORMAT,
    GuardrailModel,
    Measurement,
    measure_guardrail,
    rows_digest,
)
from plumbline.guardrail.threshold import fit_threshold, no_threshold
from plumbline.profile.evaluation import GuardrailConfig
from plumbline.records import Record
from plumbline.schema.identifiers import Identifier
from plumbline.schema.kinds import MEASUREMENT_FILE
from plumbline.storage.jsonl import read_records, write_records

Model = TypeVar("Model", bound=Record)
MODEL, MEASUREMENT, ROWS, PAGE = "guardrail.json", MEASUREMENT_FILE, "rows.jsonl", "MODEL.md"


class UsedRow(Record):
    """What became of one row: one row of rows.jsonl. It holds no text; the events are named so that
    a withdrawal finds what learned from them."""

    id: Identifier
    part: Part | Literal["repeated"] = Field(
        description=(
            "`repeated`: another response to a prompt that is measured already, used for nothing"
        )
    )
    violation: bool
    events: tuple[Identifier, ...] = Field(
        description="the judgments behind it; empty when it was used for nothing"
    )


class Built(NamedTuple):
    """A guardrail with its measurement."""

    model: GuardrailModel
    measurement: Measurement
    used: tuple[UsedRow, ...]


def build_guardrail(
    labelled: Labelled,
    rule: GuardrailConfig,
    *,
    profile: Identifier,
    rubric: str,
    preference_data: str,
    seed: int,
) -> Built:
    """Fit on one part of the rows, choose the threshold on the next, and measure the frozen result
    on the last.

    With too few rows there is a guardrail without a threshold, which says what is missing, blocks
    nothing and cannot be served.

    Args:
        labelled: The rows and what was set aside.
        rule: Shares of the parts, limits of the rates and their confidence level.
        profile: Name of the profile.
        rubric: Label of the rubric.
        preference_data: Tree digest of the data that the rows come from.
        seed: Seed of the split.
    """
    parts, repeated = split_rows(labelled.rows, rule, seed)
    calibration = parts["calibration"]
    classifier = None
    try:
        classifier = fit_classifier(parts["train"])
        scores = [classifier.score(row.prompt, row.response) for row in calibration]
        threshold = fit_threshold(
            scores, [row.violation for row in calibration], rule.max_fpr, rule.level
        )
    except InsufficientEvidence as error:
        threshold = no_threshold(
            sum(not row.violation for row in calibration),
            len(calibration),
            rule.max_fpr,
            rule.level,
            str(error),
        )
    used = _used(parts, repeated)
    model = GuardrailModel(
        format=FORMAT,
        profile=profile,
        rubric=rubric,
        preference_data=preference_data,
        rows=rows_digest((row.id, row.part, row.violation) for row in used),
        threshold=threshold,
        classifier=classifier,
    )
    left_out = labelled.set_aside | ({SAME_PROMPT: len(repeated)} if repeated else {})
    measurement = measure_guardrail(model, parts["test"], rule.level, counts_of(parts), left_out)
    return Built(model, measurement, used)


def _used(
    parts: Mapping[Part, Sequence[GuardrailRow]], repeated: Iterable[GuardrailRow]
) -> tuple[UsedRow, ...]:
    taken = [
        UsedRow(id=row.id, part=part, violation=row.violation, events=row.events)
        for part, rows in parts.items()
        for row in rows
    ]
    taken += [
        UsedRow(id=row.id, part="repeated", violation=row.violation, events=()) for row in repeated
    ]
    return tuple(sorted(taken, key=lambda row: row.id))


def write_guardrail(folder: Path, built: Built) -> None:
    """Write guardrail.json, measurement.json, rows.jsonl and MODEL.md."""
    (folder / MODEL).write_bytes(built.model.to_json())
    (folder / MEASUREMENT).write_bytes(built.measurement.to_json())
    write_records(folder / ROWS, built.used)
    (folder / PAGE).write_text(model_page(built.model, built.measurement), encoding="utf-8")


def read_model(folder: Path) -> GuardrailModel:
    """The guardrail of a folder.

    Raises:
        DataError: If there is none, or the file is not one.
    """
    return _read(folder / MODEL, GuardrailModel)


def read_measurement(folder: Path) -> Measurement:
    """The measurement of a folder; the same errors as `read_model`."""
    return _read(folder / MEASUREMENT, Measurement)


def read_used(folder: Path) -> Iterator[UsedRow]:
    """Which rows a guardrail was made from."""
    return read_records(folder / ROWS, UsedRow)


def new_rows(rows: Iterable[GuardrailRow], used: Iterable[UsedRow]) -> list[GuardrailRow]:
    """The rows that a guardrail has not seen, one of each prompt, because an exact test is one of
    independent trials."""
    seen = {row.id for row in used}
    fresh: dict[str, GuardrailRow] = {}
    for row in rows:
        if row.id not in seen:
            fresh.setdefault(row.group, row)
    return list(fresh.values())


def model_page(model: GuardrailModel, measurement: Measurement) -> str:
    """MODEL.md: what the guardrail is, what it was measured on, and what it cannot do."""
    threshold = model.threshold
    lines = [f"# Guardrail {model.version}", ""]
    if threshold.value is None:
        lines += [f"**It has no threshold and must not be served:** {threshold.why}.", ""]
    else:
        lines += [
            (
                f"Blocks a response from score {threshold.value:.6g} on. Among the thresholds with"
                f" a false-positive rate of at most {threshold.max_fpr:.0%} at"
                f" {threshold.level:.0%} confidence it is the one with the largest recall: of"
                f" {threshold.acceptable} acceptable calibration responses it blocks"
                f" {threshold.false_positives} ({threshold.allowed} were allowed), of"
                f" {threshold.violations} violations {threshold.caught}."
            ),
            "",
            "## Measured on responses that it has not seen",
            "",
            measurement.to_markdown(),
            "",
        ]
    lines += [
        "## What it was made from",
        "",
        f"- judged under {model.rubric}; preference data `{model.preference_data}`",
        *(
            f"- {part}: {counts['violations']} violations, {counts['acceptable']} acceptable"
            for part, counts in measurement.counts.items()
        ),
        *(f"- left out: {count}: {reason}" for reason, count in measurement.left_out.items()),
        *(
            []
            if model.classifier is None
            else [f"- {len(model.classifier.weights)} word n-grams, logistic regression"]
        ),
        "",
        "## What it cannot do",
        "",
        (
            "- It reads words. A violation in words that no training row has scores like ordinary"
            " text."
        ),
        (
            "- The rates hold for responses like those of the test split. Other prompts, languages"
            " or tactics need a measurement of their own."
        ),
        (
            "- The labels are those of people. Where they ticked the wrong box, the rates count the"
            " guardrail as wrong."
        ),
        "- Prompts that ask the same in other words may stand on both sides of the split.",
    ]
    return "\n".join(lines) + "\n"


def _read(path: Path, kind: type[Model]) -> Model:
    try:
        return kind.from_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(
            f"{path}: is not the {path.stem} of a guardrail of this version: {error}; materialize"
            " the asset `guardrail` again"
        ) from error
