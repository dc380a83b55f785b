"""Rows of files from outside: what is read, what is refused with which reason, and what it
costs."""

import gzip
import hashlib
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from plumbline.data.readers.files import read_rows, split_rows
from plumbline.data.readers.rows import (
    KEPT_BYTES,
    MAX_DEPTH,
    MAX_ROW_BYTES,
    IncompleteFile,
    ParsedRow,
    RejectedRow,
    RowError,
    parse_row,
)
from plumbline.errors import DataError
from tests.unit.data.readers.hostile_rows import GOOD

HOSTILE = {
    "invalid UTF-8": (b'{"a":"\xff"}', "not UTF-8"),
    "overlong UTF-8": (b'{"a":"\xc0\xaf"}', "not UTF-8"),
    "surrogate in UTF-8": (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
    "UTF-16": ('{"a":1}'.encode("utf-16-be"), "not JSON"),
    "byte order mark": (b'\xef\xbb\xbf{"a":1}', "not JSON"),
    "raw NUL in text": (b'{"a":"\x00"}', "not JSON"),
    "raw control character": (b'{"a":"\x1b[2J"}', "not JSON"),
    "garbage": (b"no json", "not JSON"),
    "broken off": (b'{"a":', "not JSON"),
    "two values": (b'{"a":1}{"a":2}', "not JSON"),
    "trailing comma": (b'{"a":1,}', "not JSON"),
    "single quotes": (b"{'a':1}", "not JSON"),
    "lone high surrogate": (b'{"a":"\\ud800"}', "lone surrogate"),
    "lone low surrogate in a key": (b'{"\\uDC00":1}', "lone surrogate"),
    "key twice": (b'{"a":1,"a":2}', "key stands twice"),
    "key twice, deep and escaped": (b'{"x":[{"a":1,"\\u0061":2}]}', "key stands twice"),
    "NaN": (b'{"a":NaN}', "number out of range"),
    "Infinity": (b'{"a":-Infinity}', "number out of range"),
    "beyond a float": (b'{"a":1e999}', "number out of range"),
    "ten thousand digits": (b'{"a":' + b"9" * 10_000 + b"}", "number out of range"),
    "empty": (b"", "empty row"),
    "white space": (b" \t\r", "empty row"),
    "nested too deeply": (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested too deeply"),
    "nested a million deep": (b"[" * 10**6, "nested too deeply"),
    "too long": (b'"' + b"x" * MAX_ROW_BYTES + b'"', "row too long"),
}
HARMLESS = {
    "line separators of Unicode": '{"a":"one\u2028two\u0085three"}'.encode(),
    "pair of surrogates": b'{"a":"\\ud83d\\ude00"}',
    "big whole number": b'{"a":123456789012345678901234567890}',
    "as deep as allowed": b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
    "brackets in text": json.dumps("[" * 1000).encode(),
    "carriage return at the end": b'{"a":1}\r',
    "as long as allowed": b'"' + b"x" * (MAX_ROW_BYTES - 2) + b'"',
}


@pytest.mark.threat("D4")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_line_is_bad_with_its_place_and_reason_and_the_others_are_kept(tmp_path, name):
    body, reason = HOSTILE[name]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + b"\n" + body + b"\n" + GOOD + b"\n")
    first, bad, last = read_rows(path)
    assert bad == RejectedRow(
        2,
        len(GOOD) + 1,
        len(body),
        reason,
        body[:KEPT_BYTES],
        "sha256:" + hashlib.sha256(body).hexdigest(),
    )
    assert (first, last) == (
        ParsedRow(1, 0, GOOD, {"a": 1}),
        ParsedRow(3, len(GOOD) + len(body) + 2, GOOD, {"a": 1}),
    )


@pytest.mark.threat("D4")
@pytest.mark.parametrize("name", HARMLESS)
def test_unusual_but_valid_lines_are_kept_as_they_are(tmp_path, name):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(HARMLESS[name] + b"\n")
    (row,) = read_rows(path)
    assert isinstance(row, ParsedRow)
    assert (row.body, row.value) == (HARMLESS[name], json.loads(HARMLESS[name]))


def test_a_changed_type_is_kept_for_the_schema_to_judge():
    assert parse_row(b'{"text":["a"]}') == {"text": ["a"]}


def written(path, body):
    """The same lines in a file of each kind of compression."""
    match path.suffix:
        case ".gz":
            path.write_bytes(gzip.compress(body[:20]) + gzip.compress(body[20:]))  # two members
        case ".zst":
            path.write_bytes(
                zstandard.compress(body[:20]) + zstandard.compress(body[20:])
            )  # two frames
        case _:
            path.write_bytes(body)
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst"])
def test_compression_changes_neither_rows_nor_places(tmp_path, name):
    body = (
        b"".join(b'{"n":%d,"t":"%s"}\n' % (n, b"x" * (n * 97 % 5000)) for n in range(500))
        + b"bad\n"
    )
    plain = list(read_rows(written(tmp_path / "plain.jsonl", body)))
    assert list(read_rows(written(tmp_path / name, body))) == plain
    assert [body[row.offset : row.offset + len(row.body)] for row in plain] == body.splitlines()


@pytest.mark.threat("D1")
@pytest.mark.parametrize("cut", [1, 7, 400])
@pytest.mark.parametrize(
    "name", ["rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst", "rows.json", "rows.parquet"]
)
def test_a_half_written_file_is_refused(tmp_path, name, cut):
    """Cut off by a byte, by a row, and by a good part; a .jsonl file cut behind a line feed is the
    one half file that cannot be told."""
    values = [{"n": n, "t": hashlib.sha256(b"%d" % n).hexdigest()} for n in range(100)]
    path = tmp_path / name
    if name.endswith(".json"):
        path.write_text(json.dumps(values))
    elif name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(values), path)
    else:
        written(path, b"".join(json.dumps(value).encode() + b"\n" for value in values))
    assert [row.value for row in read_rows(path)] == values
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(IncompleteFile, match=name):
        list(read_rows(path))


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.jsonl.zst"])
def test_a_changed_byte_in_a_compressed_file_is_an_error(tmp_path, name):
    body = b"".join(
        b'{"n":"%s"}\n' % hashlib.sha256(b"%d" % n).hexdigest().encode() for n in range(200)
    )
    path = tmp_path / name
    path.write_bytes(
        gzip.compress(body)
        if name.endswith("gz")
        else zstandard.ZstdCompressor(write_checksum=True).compress(body)
    )
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        list(read_rows(path))


def test_a_json_array_gives_its_elements_with_their_places(tmp_path):
    body = b' [ {"a": "]},[\\"" } ,\n[1, [2]], nonsense, , "x" ]\n'
    path = tmp_path / "rows.json"
    path.write_bytes(body)
    rows = list(read_rows(path))
    assert [row.value if isinstance(row, ParsedRow) else row.reason for row in rows] == [
        {"a": ']},["'},
        [1, [2]],
        "not JSON",
        "empty row",
        "x",
    ]
    assert all(body[row.offset : row.offset + len(row.body)] == row.body for row in rows)
    path.write_bytes(b"[]")
    assert list(read_rows(path)) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"a": 1}', "holds one object"),
        (b"  ", "holds nothing"),
        (b"[1] [2]", "something follows the array at byte 4"),
        (b"7", "something else"),
    ],
)
def test_a_file_that_is_no_array_is_refused(tmp_path, body, message):
    path = tmp_path / "rows.json"
    path.write_bytes(body)
    with pytest.raises(DataError, match=message):
        list(read_rows(path))


@pytest.mark.parametrize("body", [b"[1, 2", b'["text', b"[[1, 2]", b'["\\"]', b"", b'[{"a":1},'])
def test_an_array_that_is_not_closed_is_half_written(tmp_path, body):
    path = tmp_path / "rows.json"
    path.write_bytes(body)
    with pytest.raises(IncompleteFile):
        list(read_rows(path))


def test_a_message_is_one_object_or_a_list():
    assert [row.value for row in split_rows(b' {"a":1}\n')] == [{"a": 1}]
    assert [
        (row.number, getattr(row, "reason", None)) for row in split_rows(b'[{"a":1},{"a":1,"a":2}]')
    ] == [(1, None), (2, "key stands twice")]
    (bad,) = split_rows(b"{")
    assert bad.reason == "not JSON"


def test_parquet_rows_are_those_of_the_same_json(tmp_path):
    """A null is a field that was left out, except the two that say something by being null."""
    values = [
        {
            "kind": "comparison",
            "preferred": None,
            "decoder": None,
            "list": [{"t": "ä", "n": 1}],
            "left_out": None,
        },
        {
            "kind": "ranking",
            "preferred": None,
            "decoder": {"x": 0.5},
            "list": [],
            "left_out": "here",
        },
    ]
    pq.write_table(pa.Table.from_pylist(values), tmp_path / "rows.parquet")
    first, second = read_rows(tmp_path / "rows.parquet")
    assert first.value == {
        "kind": "comparison",
        "preferred": None,
        "decoder": None,
        "list": [{"t": "ä", "n": 1}],
    }
    assert second.value == {
        "kind": "ranking",
        "decoder": {"x": 0.5},
        "list": [],
        "left_out": "here",
    }
    assert json.loads(first.body) == first.value


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([b"\x00"]), "binary"),
        (pa.array([1], pa.timestamp("us")), "timestamp"),
        (pa.array([{"a": b"x"}]), "binary"),
        (pa.array([["x"]]), None),
    ],
)
def test_parquet_columns_that_json_cannot_say_are_refused(tmp_path, column, kind):
    pq.write_table(pa.table({"c": column}), tmp_path / "rows.parquet")
    if kind is None:
        assert next(read_rows(tmp_path / "rows.parquet")).value == {"c": ["x"]}
        return
    with pytest.raises(DataError, match=f"column 'c' holds {kind}"):
        list(read_rows(tmp_path / "rows.parquet"))


def test_parquet_text_that_is_no_utf8_is_refused_and_nan_is_bad(tmp_path):
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xff")]
    )
    pq.write_table(pa.table({"c": text}), tmp_path / "text.parquet")
    with pytest.raises(DataError, match=r"text\.parquet: the Parquet file is damaged"):
        list(read_rows(tmp_path / "text.parquet"))
    pq.write_table(pa.table({"c": [1.5, float("nan")]}), tmp_path / "nan.parquet")
    good, bad = read_rows(tmp_path / "nan.parquet")
    assert (good.value, bad.reason) == ({"c": 1.5}, "number out of range")


@pytest.mark.threat("D4")
def test_no_flipped_bit_of_a_parquet_file_with_checksums_changes_a_value_silently(tmp_path):
    values = [{"t": hashlib.sha256(b"%d" % n).hexdigest()} for n in range(300)]
    path = tmp_path / "rows.parquet"
    pq.write_table(
        pa.Table.from_pylist(values),
        path,
        write_page_checksum=True,
        compression="none",
        use_dictionary=False,
    )
    content = path.read_bytes()
    pages = content.index(values[0]["t"].encode()), content.rindex(values[-1]["t"].encode()) + 64
    for place in range(pages[0], pages[1], 401):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(DataError):
            list(read_rows(path))


def random_value(rng, depth=0):
    """A JSON value with the characters in its texts that a splitter could trip over."""
    if depth < 4 and rng.random() < 0.5:
        items = [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
        return (
            items
            if rng.random() < 0.5
            else {
                "".join(rng.choices('a"\\]},[{: ', k=3)) + str(n): item
                for n, item in enumerate(items)
            }
        )
    return rng.choice(
        [None, True, 0, -1.5e-3, "".join(rng.choices('"\\[]{},:\n\u2028ä😀 x', k=rng.randrange(8)))]
    )


def test_the_elements_of_random_arrays_are_those_of_the_json_library():
    """2,000 arrays in four spellings; each half of an array is half-written, whatever it is cut
    through."""
    rng = random.Random(7)
    for _ in range(500):
        values = [random_value(rng) for _ in range(rng.randrange(5))]
        for indent, ascii in ((None, True), (None, False), (1, True), ("\t", False)):
            body = json.dumps(values, indent=indent, ensure_ascii=ascii).encode()
            assert [row.value for row in split_rows(body)] == values
            with pytest.raises(IncompleteFile):
                list(split_rows(body[: rng.randrange(1, len(body))]))


def test_random_damage_never_passes_as_another_value_than_the_json_library_reads():
    """Rows with one changed byte: good exactly where the library, which is more lenient, reads them
    and nothing strict forbids it."""
    rng, kept = random.Random(11), 0
    for _ in range(3000):
        body = bytearray(
            json.dumps(
                {"k": random_value(rng), "l": "tail"}, ensure_ascii=rng.random() < 0.5
            ).encode()
        )
        body[rng.randrange(len(body))] = rng.randrange(256)
        try:
            value = parse_row(bytes(body))
        except RowError:
            continue
        kept += 1
        assert value == json.loads(body.decode())
        assert json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    assert 100 < kept < 2900
