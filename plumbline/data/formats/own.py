"""Importer of Plumbline's own records, one in each row, as `write_records` writes them."""

from pydantic import ValidationError

from plumbline.data.formats.import_report import Rejected
from plumbline.data.readers.rows import ParsedRow
from plumbline.storage.jsonl import Model


def own_record(row: ParsedRow, model: type[Model]) -> Model:
    """A record of one model.

    Raises:
        Rejected: If the row breaks the schema; names its first wrong field.
    """
    try:
        return model.model_validate_json(row.body)
    except ValidationError as error:
        raise Rejected(_first_problem(error)) from error


def _first_problem(error: ValidationError) -> str:
    """The first problem without what differs from row to row, so that reasons can be counted."""
    problem = error.errors()[0]
    message = problem["msg"].removeprefix("Value error, ")
    if "is not the digest of the content" in message:
        return "id is not the digest of the content"
    return f"{'.'.join(str(part) for part in problem['loc']) or 'the row'}: {message}"
