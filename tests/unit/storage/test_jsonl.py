import pytest

from plumbline.errors import DataError, InvalidFeedback, InvalidPreferences
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.preferences import Demonstration, PreferencePair
from plumbline.storage.jsonl import read_records, write_records


def test_written_records_come_back_and_the_bytes_are_canonical(tmp_path, make_event):
    events = [make_event(f"q{n}") for n in range(3)]
    path = tmp_path / "deep" / "events.jsonl"
    assert write_records(path, iter(events)) == 3
    assert list(read_records(path, FeedbackEvent)) == events
    assert path.read_bytes() == b"".join(event.to_json() for event in events)


def test_only_a_line_feed_ends_a_row(tmp_path, make_event):
    text = "one\u2028two\u2029three\x85four\rfive\r\nsix\x0bseven\x0ceight"
    write_records(tmp_path / "e.jsonl", [make_event(text)])
    (event,) = read_records(tmp_path / "e.jsonl", FeedbackEvent)
    assert event.prompt[0].content == text


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, make_event):
    path = tmp_path / "e.jsonl"
    write_records(path, [make_event()])
    before = path.read_bytes()

    def broken():
        yield make_event("other")
        raise RuntimeError("source failed")

    with pytest.raises(RuntimeError, match="source failed"):
        write_records(path, broken())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["e.jsonl"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda line: line.replace(b'"annotator":', b'"annotator":"x","annotator":', 1),
            "key 'annotator' stands twice",
        ),
        (
            lambda line: line.replace(b'"content":', b'"content":"x","content":', 1),
            "key 'content' stands twice",
        ),
        (lambda line: line.replace(b'"strength":2', b'"strength":NaN'), "NaN is not a number"),
        (
            lambda line: line.replace(b'"strength":2', b'"strength":-Infinity'),
            "-Infinity is not a number",
        ),
        (
            lambda line: line.replace(b'"strength":2', b'"strength":1e999'),
            "1e999 is beyond the range",
        ),
        (lambda line: line.replace(b'"strength":2', b'"strength":"2"'), "strength"),
        (lambda line: line.replace(b'"strength":2', b'"strength":2,"weight":1'), "weight"),
        (
            lambda line: line.replace(b'"annotator":"rater-01"', b'"annotator":"Rater 1"'),
            "annotator",
        ),
        (lambda line: line.replace(b"How?", b"Why?"), "is not the digest of the content"),
        (lambda line: line.replace(b"How?", b"\xff"), "not UTF-8"),
        (lambda line: line[:-20], "not JSON"),
        (lambda line: b"\xef\xbb\xbf" + line, "not JSON"),
        (lambda line: b"", "the row is empty"),
        (lambda line: b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_row_is_named_with_file_row_and_fault(tmp_path, make_event, change, message):
    good = make_event("first").to_json()
    path = tmp_path / "events.jsonl"
    path.write_bytes(good + change(make_event().to_json().rstrip(b"\n")) + b"\n" + good)
    with pytest.raises(InvalidFeedback) as caught:
        list(read_records(path, FeedbackEvent))
    assert str(caught.value).startswith(f"{path}: row 2: ")
    assert message in str(caught.value)


def test_the_error_says_which_kind_of_record_is_wrong(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n")
    for model, error in (
        (PreferencePair, InvalidPreferences),
        (EvalPrompt, DataError),
        (Demonstration, DataError),
    ):
        with pytest.raises(error, match=r"row 1: .*prompt: Field required"):
            list(read_records(path, model))


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"absent\.jsonl: cannot be read"):
        list(read_records(tmp_path / "absent.jsonl", FeedbackEvent))
