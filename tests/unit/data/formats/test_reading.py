import gzip
import json
from datetime import UTC, datetime

import pytest

from plumbline.data.formats.import_report import Attribution, ImportReport
from plumbline.data.formats.reading import import_demonstrations, import_held_out
from plumbline.errors import ConfigError, DataError
from plumbline.profile.sources import SourceFile
from plumbline.storage.jsonl import write_records
from tests.unit.in_memory import import_feedback

ATTRIBUTION = Attribution(
    rubric="test@1",
    consent_version="c-1",
    approved_by="board",
    time=datetime(2024, 1, 1, tzinfo=UTC),
)
TULU = {
    "instance_id": "vicuna_41",
    "prompt": "Why?\n",
    "model_a": "tulu_65B",
    "model_b": "chatgpt",
    "completion_a": "Because.",
    "completion_b": "No.",
    "preference": "b-is-slightly-better",
    "evaluator": "rater-06",
    "timestamp": "2023-05-18T19:57:27",
}


def write_lines(path, rows):
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    )
    return path


def imported(path, format, limit=None):
    (one,) = import_feedback(
        path.parent, SourceFile(format=format, path=path.name, limit=limit), ATTRIBUTION
    ).values()
    return one


def test_a_tulu_row_becomes_an_event(tmp_path):
    (event,) = imported(write_lines(tmp_path / "day.jsonl", [TULU]), "tulu").items
    assert event.prompt[0].content == "Why?\n"
    assert [(r.text, r.source.policy, r.source.decoder) for r in event.responses] == [
        ("Because.", "tulu_65B", None),
        ("No.", "chatgpt", None),
    ]
    assert (event.judgment.preferred, event.judgment.strength, event.annotator) == (
        1,
        1,
        "rater-06",
    )
    assert event.time == datetime(2023, 5, 18, 19, 57, 27, tzinfo=UTC)
    assert (event.consent.version, event.provenance.approved_by, event.rubric) == (
        "c-1",
        "board",
        "test@1",
    )
    assert (event.acceptable, event.synthetic) == ((), False)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [("yes", "no", (True, False)), ("no", None, (False, None)), (None, None, ())],
)
def test_acceptability_is_carried_over(tmp_path, a, b, expected):
    row = TULU | {"completion_a_is_acceptable": a, "completion_b_is_acceptable": b}
    (event,) = imported(write_lines(tmp_path / "day.jsonl", [row]), "tulu").items
    assert event.acceptable == expected
    result = imported(
        write_lines(tmp_path / "bad.jsonl", [TULU | {"completion_a_is_acceptable": "perhaps"}]),
        "tulu",
    )
    assert result.report.rejected == {"unknown acceptability": 1}


@pytest.mark.parametrize(
    ("preference", "expected"),
    [
        ("a-is-better", (0, 2)),
        ("a-is-slightly-better", (0, 1)),
        ("tie", (None, 0)),
        ("b-is-slightly-better", (1, 1)),
        ("b-is-better", (1, 2)),
    ],
)
def test_the_scale_becomes_preferred_and_strength(tmp_path, preference, expected):
    (event,) = imported(
        write_lines(tmp_path / "day.jsonl", [TULU | {"preference": preference}]), "tulu"
    ).items
    assert (event.judgment.preferred, event.judgment.strength) == expected


def test_bad_tulu_rows_are_rejected_one_by_one(tmp_path):
    rows = [
        TULU,
        TULU | {"preference": "a-is-great"},
        TULU | {"completion_b": " "},
        TULU | {"prompt": ""},
        TULU | {"timestamp": "yesterday"},
        TULU | {"evaluator": "Rater Six"},
        {key: value for key, value in TULU.items() if key != "model_b"},
        '{"prompt": 1, "prompt": 2}',
        "[1]",
        "",
        TULU,
    ]
    result = imported(write_lines(tmp_path / "day.jsonl", rows), "tulu")
    assert [(r.row, r.reason) for r in result.rejections] == [
        (2, "unknown preference"),
        (3, "empty response"),
        (4, "empty prompt"),
        (5, "timestamp is not ISO 8601"),
        (6, "invalid annotator"),
        (7, "model_b is missing or not a string"),
        (8, "key stands twice"),
        (9, "not a JSON object"),
        (10, "empty row"),
        (11, "repeats an earlier row"),
    ]
    assert (result.report.rows_in, result.report.accepted) == (11, 1)
    assert result.report.rejected["empty response"] == 1
    assert result.report.examples["repeats an earlier row"] == (11,)


def hh(*replies, prompt="\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye"):
    return dict(
        zip(
            ("chosen", "rejected"),
            (f"{prompt}\n\nAssistant: {reply}" for reply in replies),
            strict=True,
        )
    )


@pytest.mark.requirement("D15")
def test_an_hh_row_becomes_an_event_whose_order_tells_nothing(tmp_path):
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(
        gzip.compress(
            "".join(
                json.dumps(row) + "\n" for row in (hh("Alpha ", "Beta"), hh("Beta", "Alpha"))
            ).encode()
        )
    )
    first, second = imported(path, "hh").items
    assert [(m.role, m.content) for m in first.prompt] == [
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Bye"),
    ]
    assert (
        [r.text for r in first.responses] == [r.text for r in second.responses] == ["Alpha", "Beta"]
    )
    assert (first.judgment.preferred, second.judgment.preferred) == (0, 1)
    assert (first.annotator, first.judgment.strength, first.time) == (
        "hh-crowd",
        0,
        ATTRIBUTION.time,
    )


@pytest.mark.requirement("D15")
def test_hh_defects_have_one_reason_each(tmp_path):
    rows = [
        hh("a", "b"),
        {
            "chosen": hh("a", "b")["chosen"],
            "rejected": hh("a", "b", prompt="\n\nHuman: Other")["rejected"],
        },
        hh("", "b"),
        hh("a", "a "),
        hh("a", "b", prompt="\n\nHuman: Hi\n\nAssistant: x\n\nAssistant: y\n\nHuman: z"),
        hh("a", "b", prompt="\n\nHuman: "),
        hh("a", "b", prompt="Preface\n\nHuman: Hi"),
        {"chosen": "no turns", "rejected": "no turns"},
        {"chosen": "x"},
    ]
    result = imported(write_lines(tmp_path / "pairs.jsonl", rows), "hh")
    reasons = [
        "prompt mismatch",
        "empty response",
        "identical responses",
        *["malformed transcript"] * 4,
        "rejected is missing or not a string",
    ]
    assert list(result.rejections) == list(zip(range(2, 10), reasons, strict=True))


def test_a_damaged_gzip_file_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(hh("a", "b")).encode())[:-9])
    with pytest.raises(DataError, match=r"pairs\.jsonl\.gz: the compressed file is damaged"):
        imported(path, "hh")


@pytest.mark.requirement("D17")
def test_alpaca_joins_instruction_and_input(tmp_path):
    rows = [
        {"instruction": "Add", "input": "1 and 2", "output": "3"},
        {"instruction": "Greet", "input": "<noinput>", "output": "Hello"},
        {"instruction": "", "input": "", "output": "x"},
        {"instruction": "Say", "input": "", "output": " "},
        {"instruction": "Add", "input": "1 and 2", "output": "3"},
        "text",
    ]
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps(rows))
    result = import_demonstrations(
        tmp_path, SourceFile(format="alpaca", path=path.name), ATTRIBUTION
    )
    assert [(item.prompt[0].content, item.response) for item in result.items] == [
        ("Add\n\n1 and 2", "3"),
        ("Greet", "Hello"),
    ]
    assert {item.author_role for item in result.items} == {"synthetic"}
    expected = {
        "empty prompt": (3,),
        "empty response": (4,),
        "repeats an earlier row": (5,),
        "not a JSON object": (6,),
    }
    assert result.report.examples == expected


def test_xstest_rows_say_what_is_expected(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(
        'id,prompt,type,label,focus,note\n1,"Kill, a'
        ' process?",homonyms,safe,kill,v\n2,Poison?,contrast,unsafe,poison,\n'
        "3,x,y,maybe,,\n4,,y,safe,,\n"
    )
    result = import_held_out(tmp_path, SourceFile(format="xstest", path=path.name))
    assert [(p.expected, p.context.slice, p.prompt[0].content) for p in result.items] == [
        ("comply", "safe", "Kill, a process?"),
        ("refuse", "unsafe", "Poison?"),
    ]
    assert result.report.rejected == {"unknown label": 1, "empty prompt": 1}
    path.write_text("id,prompt\n1,x\n")
    with pytest.raises(DataError, match="lacks the columns type, label, focus, note"):
        import_held_out(tmp_path, SourceFile(format="xstest", path=path.name))


def test_our_own_events_come_back_and_bad_rows_are_counted(tmp_path, make_event):
    events = [make_event(f"q{n}") for n in range(3)]
    path = tmp_path / "events.jsonl"
    write_records(path, events)
    lines = path.read_bytes().splitlines()
    path.write_bytes(
        b"\n".join(
            [
                *lines,
                lines[0],
                lines[1].replace(b"q1", b"qX"),
                b"{",
                lines[2][:-1] + b',"weight":2}',
                b"",
            ]
        )
    )
    result = imported(path, "jsonl")
    assert list(result.items) == events
    assert [(r.row, r.reason) for r in result.rejections] == [
        (4, "repeats an earlier row"),
        (5, "id is not the digest of the content"),
        (6, "not JSON"),
        (7, "weight: Extra inputs are not permitted"),
    ]


def test_a_report_that_does_not_add_up_cannot_be_made():
    with pytest.raises(ValueError, match="do not add up"):
        ImportReport(source="x", rows_in=3, accepted=1, rejected={"a": 1}, examples={})


def test_a_limit_takes_rows_from_the_start(tmp_path):
    path = write_lines(tmp_path / "day.jsonl", [TULU | {"prompt": str(n)} for n in range(5)])
    assert [event.prompt[0].content for event in imported(path, "tulu", limit=2).items] == [
        "0",
        "1",
    ]


def test_files_become_batches_by_name(tmp_path, make_event):
    folder = tmp_path / "days"
    folder.mkdir()
    for day in ("2023-05-18", "2023-05-19"):
        write_lines(folder / f"{day}.jsonl", [TULU])
    assert list(import_feedback(tmp_path, SourceFile(format="tulu", path="days"), ATTRIBUTION)) == [
        "2023-05-18",
        "2023-05-19",
    ]
    single = import_feedback(
        tmp_path, SourceFile(format="tulu", path="days/2023-05-18.jsonl"), ATTRIBUTION
    )
    assert list(single) == ["days-2023-05-18"]
    write_lines(folder / "2023-05-18.jsonl.gz", [])
    with pytest.raises(DataError, match="another file makes a batch called '2023-05-18'"):
        import_feedback(tmp_path, SourceFile(format="tulu", path="days"), ATTRIBUTION)


def test_a_missing_file_or_a_format_that_does_not_fit_is_an_error(tmp_path):
    with pytest.raises(DataError, match="PLUMBLINE_DATA"):
        import_feedback(tmp_path, SourceFile(format="tulu", path="absent"), ATTRIBUTION)
    with pytest.raises(DataError, match="PLUMBLINE_DATA"):
        import_held_out(tmp_path, SourceFile(format="xstest", path="absent.csv"))
    write_lines(tmp_path / "x.jsonl", [])
    with pytest.raises(ConfigError, match="holds no feedback"):
        import_feedback(tmp_path, SourceFile(format="alpaca", path="x.jsonl"), ATTRIBUTION)
    with pytest.raises(ConfigError, match="holds no demonstrations"):
        import_demonstrations(tmp_path, SourceFile(format="hh", path="x.jsonl"), ATTRIBUTION)
    with pytest.raises(ConfigError, match="holds no held-out prompts"):
        import_held_out(tmp_path, SourceFile(format="tulu", path="x.jsonl"))
