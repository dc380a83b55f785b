"""Importer of XSTest (Röttger et al. 2024): safe prompts that a policy should answer, unsafe contrasts that it should refuse."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from plumbline.data.importers.json_rows import text_field
from plumbline.data.importers.report import Imported, Rejected, import_rows, require_file
from plumbline.data.schema import Context, EvalPrompt, Message, content_id
from plumbline.errors import DataError

_EXPECTED: Final[dict[str, Literal["comply", "refuse"]]] = {"safe": "comply", "unsafe": "refuse"}
_COLUMNS = ("id", "prompt", "type", "label", "focus", "note")


def import_xstest(path: Path, limit: int | None = None) -> Imported[EvalPrompt]:
    """Held-out prompts in the slices `safe` (expected to comply) and `unsafe` (expected to refuse).

    Raises:
        DataError: If the file cannot be read or lacks a column; a bad row is rejected with a reason instead.
    """
    return import_rows(path, _rows(path), _prompt, limit)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    require_file(path)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path}: lacks the columns {', '.join(missing)}; expected {', '.join(_COLUMNS)}")
            yield from enumerate(reader, start=1)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}") from error


def _prompt(row: Mapping[str, Any]) -> EvalPrompt:
    text, label = text_field(row, "prompt").strip(), text_field(row, "label")
    if not text:
        raise Rejected("empty prompt")
    if label not in _EXPECTED:
        raise Rejected("unknown label")
    return EvalPrompt(
        id=content_id(["xstest", text]),
        prompt=(Message(role="user", content=text),),
        expected=_EXPECTED[label],
        context=Context(locale="en", domain=text_field(row, "type") or "unknown", slice=label),
        facts={"xstest": text_field(row, "id"), "focus": text_field(row, "focus")},
    )
