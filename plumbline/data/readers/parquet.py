"""Rows of Parquet files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from plumbline.data.readers.rows import MAX_FILE_BYTES, IncompleteFile, Row, read_row, refuse_size
from plumbline.errors import DataError

_ROWS: Final = 64
"""Rows that are decoded together: few, because a page of one repeated string takes no room until it
is decoded."""
_MAX_GROUP_BYTES: Final = 2**28


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows of a Parquet file as JSON objects.

    Every record of a Parquet file has every field, so a null stands for a field that was left out,
    except in the two fields that say something by being null: `decoder`, and `preferred` of a
    comparison.

    Only columns that JSON can say are read: strings, booleans, whole numbers, floats, and structs
    and lists of them. Page checksums are verified where the writer made them (pyarrow does with
    `write_page_checksum=True`); without them, a changed bit inside a value cannot be seen.

    Raises:
        IncompleteFile: If the footer is missing, as in a file that is still being written.
        DataError: If the file is damaged, holds more than `MAX_FILE_BYTES` or more than 256 MiB in
            one row group, or has other columns.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            _check(
                path,
                file.schema_arrow,
                [
                    file.metadata.row_group(index).total_byte_size
                    for index in range(file.num_row_groups)
                ],
            )
            number = total = 0
            for batch in file.iter_batches(batch_size=_ROWS):
                batch.validate(full=True)
                for value in batch.to_pylist():
                    number += 1
                    body = _json(_without_nulls(value))
                    total += len(body)
                    if total > MAX_FILE_BYTES:
                        refuse_size(path)
                    yield read_row(number, 0, body)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        if (
            "magic bytes not found" in reason
            or "smaller than" in reason
            or path.stat().st_size == 0
        ):
            raise IncompleteFile(
                f"{path}: is no whole Parquet file: {reason}; wait for the rest, or write it again"
            ) from error
        raise DataError(f"{path}: the Parquet file is damaged: {reason}; write it again") from error


def _check(path: Path, schema: pa.Schema, groups: list[int]) -> None:
    if len(set(schema.names)) != len(schema.names):
        raise DataError(f"{path}: a column stands twice; every column needs a name of its own")
    for field in schema:
        if (wrong := _foreign(field.type)) is not None:
            raise DataError(
                f"{path}: column '{field.name}' holds {wrong}; write it as strings, booleans,"
                " numbers, structs or lists"
            )
    if sum(groups) > MAX_FILE_BYTES:
        refuse_size(path)
    if max(groups, default=0) > _MAX_GROUP_BYTES:
        raise DataError(
            f"{path}: a row group holds more than {_MAX_GROUP_BYTES // 2**20} MiB; write it with"
            " smaller row groups"
        )


def _foreign(kind: pa.DataType) -> str | None:
    """The first type inside a type that JSON has no word for."""
    if types.is_struct(kind):
        names = [field.name for field in kind]
        if len(set(names)) != len(names):
            return "a struct with one field name twice"
        return next((wrong for field in kind if (wrong := _foreign(field.type)) is not None), None)
    if types.is_list(kind) or types.is_large_list(kind):
        return _foreign(kind.value_type)
    plain = (
        types.is_string,
        types.is_large_string,
        types.is_boolean,
        types.is_integer,
        types.is_floating,
        types.is_null,
    )
    return None if any(holds(kind) for holds in plain) else str(kind)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {"decoder", "preferred"} if value.get("kind") == "comparison" else {"decoder"}
    return {
        name: _without_nulls(item)
        for name, item in value.items()
        if item is not None or name in kept
    }


def _json(value: Any) -> bytes:
    # Infinities and NaN are written as JavaScript would, so that the strict reader of the row names
    # them.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
