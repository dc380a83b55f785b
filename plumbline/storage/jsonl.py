"""Record files: canonical JSONL, one record on each line, read strictly."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from plumbline.errors import DataError, InvalidFeedback, InvalidPreferences
from plumbline.records import Record, parse_json
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.preferences import PreferencePair

Model = TypeVar("Model", bound=Record)


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write records as canonical JSONL and return how many; the file is either absent or
    complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    count = 0
    try:
        with os.fdopen(descriptor, "wb") as stream:
            for record in records:
                stream.write(record.to_json())
                count += 1
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return count


def read_records(path: Path, model: type[Model]) -> Iterator[Model]:
    """The records of a JSONL file, in order.

    Rows end at line feeds only: other line separators of Unicode are text.

    Raises:
        InvalidFeedback: If a row of feedback events is invalid; names file, row and field.
        InvalidPreferences: The same for preference pairs.
        DataError: The same for any other record, and if the file cannot be read.
    """
    for row, line in read_lines(path):
        try:
            yield parse_record(line, model)
        except ValueError as error:
            raise _error_of(model)(
                f"{path}: row {row}: {error}; correct the row or take it out"
            ) from error


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Rows of a file with their numbers, which start at 1, without the line feed.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            for row, line in enumerate(stream, start=1):
                yield row, line.removesuffix(b"\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def parse_record(line: bytes, model: type[Model]) -> Model:
    """One row as a record.

    Raises:
        ValueError: If the row is not strict JSON or breaks the schema; names every field that is
            wrong.
    """
    parse_json(line)
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        raise ValueError("; ".join(_explain(problem) for problem in error.errors())) from error


def _explain(problem: ErrorDetails) -> str:
    field = ".".join(str(part) for part in problem["loc"]) or "the row"
    return f"{field}: {problem['msg'].removeprefix('Value error, ')}"


def _error_of(model: type[Record]) -> type[DataError]:
    if issubclass(model, FeedbackEvent):
        return InvalidFeedback
    return InvalidPreferences if issubclass(model, PreferencePair) else DataError
