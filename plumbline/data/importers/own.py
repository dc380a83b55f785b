"""Importer of Plumbline's own JSONL: one record on each line, as `write_records` writes it."""

from pathlib import Path

from plumbline.data.files import Model, parse_record
from plumbline.data.importers.json_rows import json_lines
from plumbline.data.importers.report import Imported, Rejected, import_rows


def import_own(path: Path, model: type[Model], limit: int | None = None) -> Imported[Model]:
    """Records of one model from a .jsonl or .jsonl.gz file.

    Unlike `read_records`, which stops at the first bad row of a file that we wrote ourselves, a bad row is rejected with a reason that
    names its first wrong field.

    Raises:
        DataError: If the file cannot be read.
    """

    def parse(line: bytes) -> Model:
        try:
            return parse_record(line, model)
        except ValueError as error:
            raise Rejected(_short(str(error))) from error

    return import_rows(path, json_lines(path), parse, limit)


def _short(message: str) -> str:
    """The kind of the first problem, without what differs from row to row, so that reasons can be counted."""
    first = message.split("; ")[0]
    if first.startswith("not JSON"):
        return "not JSON"
    return "id is not the digest of the content" if "is not the digest of the content" in first else first
