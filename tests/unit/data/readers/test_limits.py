"""Rows and files beyond the limits cost neither memory nor time."""

import gzip
import subprocess
import sys
import time

import pytest
import zstandard

from plumbline.data.readers.files import read_rows
from plumbline.data.readers.rows import (
    MAX_FILE_BYTES,
    MAX_ROW_BYTES,
    RowError,
    parse_row,
)
from plumbline.errors import DataError
from tests.unit.data.readers.hostile_rows import GOOD


@pytest.mark.parametrize("name", ["rows.csv", "rows.json.gz", "rows.jsonl.bz2", "rows"])
def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path, name):
    (tmp_path / name).write_bytes(GOOD)
    with pytest.raises(DataError, match=r"give it one of the endings \.jsonl, \.jsonl\.gz"):
        list(read_rows(tmp_path / name))


def peak_of(code):
    """Peak resident memory, in MiB, of a process that runs some code after its imports, above what
    the imports took; and its seconds."""
    program = f"""
import resource, sys, time
from pathlib import Path
import zstandard
from plumbline.data.readers.files import read_rows
from plumbline.errors import DataError
import plumbline.data.readers.compressed, plumbline.data.readers.json_array
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start = peak(), time.process_time()
{code}
print(peak() - before, time.process_time() - start)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return tuple(float(part) for part in done.stdout.split())


@pytest.mark.threat("D5")
@pytest.mark.parametrize("name", ["line.jsonl", "line.jsonl.gz", "line.jsonl.zst", "line.json"])
def test_a_line_of_200_mb_needs_no_memory_for_itself(tmp_path, name):
    """The row is kept to its first 64 KiB; at most one row of 4 MiB, its copies while it grows and
    one step of decompression are held."""
    path, size = tmp_path / name, 200 * 2**20
    body = b'["' if name.endswith(".json") else b'"'
    with {"gz": lambda: gzip.open(path, "wb", 1), "zst": lambda: zstandard.open(path, "wb")}.get(
        name.rsplit(".", 1)[1], lambda: path.open("wb")
    )() as stream:
        stream.write(body)
        for _ in range(size // 2**20):
            stream.write(b"x" * 2**20)
        stream.write(b'"]' if name.endswith(".json") else b'"\n{"a":1}\n')
    code = (
        f"rows = list(read_rows(Path({str(path)!r})))\nassert (rows[0].reason, rows[0].length,"
        f" len(rows[0].body)) == ('row too long', {size + 2}, 65536)"
    )
    memory, seconds = peak_of(code)
    allowed = (
        260 if name.endswith(".json") else 64
    )  # a mapped file counts as resident while it is looked at
    assert memory < allowed
    assert seconds < 20


@pytest.mark.threat("D5")
@pytest.mark.parametrize("name", ["bomb.jsonl.gz", "bomb.jsonl.zst"])
def test_a_compression_bomb_is_refused_at_the_limit(tmp_path, name):
    """A little more than 1 GiB in a file of less than 6 MiB: what it would hold, and not what it
    is, counts against the limit."""
    path = tmp_path / name
    with gzip.open(path, "wb", 1) if name.endswith("gz") else zstandard.open(path, "wb") as stream:
        for _ in range(MAX_FILE_BYTES // 2**20 + 8):
            stream.write(b"\x00" * 2**20)
    assert path.stat().st_size < 6 * 2**20
    code = (
        f"try:\n    for row in read_rows(Path({str(path)!r})): pass\nexcept DataError as error:"
        " assert 'holds more than 1024 MiB' in str(error), error\nelse: raise SystemExit('not"
        " refused')"
    )
    memory, _ = peak_of(code)
    assert memory < 100


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / "big.jsonl"
    with path.open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)  # a hole: takes no room on the disk
    start = time.process_time()
    with pytest.raises(DataError, match="holds more than 1024 MiB; split it"):
        list(read_rows(path))
    assert time.process_time() - start < 1


def test_a_number_of_four_million_digits_takes_no_time():
    start = time.process_time()
    digits = b"7" * (MAX_ROW_BYTES - 10)
    assert parse_row(b"[1." + digits + b"]") == [pytest.approx(1 + 7 / 9)]
    with pytest.raises(RowError, match="number out of range"):
        parse_row(b"[" + digits + b"]")
    assert time.process_time() - start < 5
