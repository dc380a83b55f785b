"""Importers of pairs, labels, exports and attacks: what each row becomes, and the defects that are
counted."""

import json
from collections import Counter

import pytest
from pydantic import ValidationError

from plumbline.data.formats.reading import (
    FEEDBACK_FORMATS,
    import_held_out,
    read_feedback,
)
from plumbline.data.readers.rows import ParsedRow, read_row
from plumbline.errors import ConfigError
from plumbline.profile.sources import SourceFile
from plumbline.schema.preferences import PreferencePair
from tests.unit.data.formats.imported_rows import ATTRIBUTION, REPLY, USER, one, results, said, turn
from tests.unit.in_memory import import_feedback

SHAREGPT = {
    "conversations": [{"from": "human", "value": "Why?"}],
    "chosen": {"from": "gpt", "value": "B"},
    "rejected": {"from": "gpt", "value": "A"},
}


@pytest.mark.requirement("D1")
def test_a_preference_is_prompt_better_and_worse_response_with_types():
    """(x, y_w, y_l); a field of another type, or one that nobody knows, is an error."""
    event = one("trl", {"prompt": "x", "chosen": "y_w", "rejected": "y_l"})
    pair = PreferencePair(
        id="p",
        prompt=event.prompt,
        chosen=event.winner,
        rejected=next(text for text in said(event)[1] if text != event.winner),
        margin=0.0,
        votes=1,
        agreement=1.0,
        event_ids=(event.id,),
        rubric=event.rubric,
        context=event.context,
        synthetic=event.synthetic,
    )
    assert (pair.prompt[0].content, pair.chosen, pair.rejected) == ("x", "y_w", "y_l")
    for wrong in (
        {"votes": "1"},
        {"chosen": 1},
        {"margin": float("nan")},
        {"weight_of_row": 2},
        {"rejected": "y_w"},
    ):
        with pytest.raises(ValidationError):
            PreferencePair.model_validate(pair.model_dump() | wrong)


def test_a_sharegpt_pair_becomes_a_comparison_whose_order_tells_nothing():
    long = [
        {"from": f, "value": v}
        for f, v in (("system", "Be brief."), ("human", "Hi"), ("gpt", "Hello"), ("human", "Why?"))
    ]
    event = one("sharegpt", SHAREGPT | {"conversations": long})
    assert said(event) == (
        [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Why?")],
        ["A", "B"],
    )
    assert (event.judgment.preferred, event.judgment.strength, event.annotator, event.time) == (
        1,
        0,
        "sharegpt-annotators",
        ATTRIBUTION.time,
    )
    swapped = one(
        "sharegpt", SHAREGPT | {"chosen": SHAREGPT["rejected"], "rejected": SHAREGPT["chosen"]}
    )
    assert (said(swapped)[1], swapped.judgment.preferred) == (["A", "B"], 0)


@pytest.mark.requirement("D14")
def test_judgments_of_a_model_are_marked_as_such():
    assert one("sharegpt", SHAREGPT).synthetic
    human = read_feedback(
        [read_row(1, 0, json.dumps(SHAREGPT).encode())],
        "sharegpt",
        ATTRIBUTION.model_copy(update={"synthetic": False}),
    )
    assert not next(human).item.synthetic


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conversations": []}, "conversation is missing or not a list"),
        ({"conversations": [{"from": "tool", "value": "x"}]}, "unknown role"),
        ({"conversations": [{"from": "human", "value": " "}]}, "empty turn"),
        (
            {"conversations": [{"from": "human", "value": "x", "weight": 0}]},
            "column weight is not allowed",
        ),
        ({"conversations": SHAREGPT["conversations"] * 2}, "turns do not alternate"),
        (
            {"conversations": [*SHAREGPT["conversations"], {"from": "gpt", "value": "x"}]},
            "prompt does not end with the user",
        ),
        ({"chosen": "B"}, "chosen is missing or not a turn"),
        ({"chosen": {"from": "human", "value": "B"}}, "chosen is not the assistant's"),
        ({"rejected": {"from": "gpt", "value": ""}}, "empty response"),
        ({"rejected": {"from": "gpt", "value": "B"}}, "identical responses"),
        ({"tools": "[]"}, "column tools is not allowed"),
        (
            {
                "system": "x",
                "conversations": [{"from": "system", "value": "y"}, *SHAREGPT["conversations"]],
            },
            "two system turns",
        ),
    ],
)
def test_defects_of_sharegpt_rows(change, reason):
    assert results("sharegpt", SHAREGPT | change) == [reason]


@pytest.mark.parametrize(
    ("row", "prompt", "texts"),
    [
        (
            {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
            [("user", "The sky is")],
            [" blue.", " green."],
        ),
        (
            {"chosen": "The sky is blue.", "rejected": "The sky is black."},
            [("user", "The sky is")],
            ["black.", "blue."],
        ),
        (
            {"prompt": [USER], "chosen": [REPLY], "rejected": [turn("assistant", "No.")]},
            [("user", "Why?")],
            ["No.", "So."],
        ),
        (
            {"chosen": [USER, REPLY], "rejected": [USER, turn("assistant", "No.")]},
            [("user", "Why?")],
            ["No.", "So."],
        ),
    ],
    ids=["standard", "standard, implicit", "conversational", "conversational, implicit"],
)
def test_all_four_forms_of_trl(row, prompt, texts):
    event = one("trl", row)
    assert said(event) == (prompt, texts)
    better = row["chosen"][-1]["content"] if isinstance(row["chosen"], list) else row["chosen"]
    assert better.endswith(event.winner)


@pytest.mark.threat("D7")
@pytest.mark.parametrize(
    "column", ["chat_template_kwargs", "tools", "messages", "images", "margin"]
)
def test_columns_that_a_trainer_would_read_are_rejected(column):
    """A row that brings `chat_template_kwargs` could replace the chat template from inside the
    data."""
    row = {"prompt": "x", "chosen": "a", "rejected": "b", column: {"chat_template": "{{ evil }}"}}
    assert results("trl", row, row | {column: None}) == [f"column {column} is not allowed"] * 2
    assert results("kto", {"prompt": "x", "completion": "a", "label": True, column: []})[
        0
    ].startswith("column ")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "x", "chosen": "a", "rejected": "a"}, "identical responses"),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "empty prompt"),
        ({"chosen": "one", "rejected": "two"}, "chosen and rejected share no prompt"),
        ({"chosen": [USER, REPLY], "rejected": [turn("user", "Other"), REPLY]}, "prompt mismatch"),
        ({"chosen": [USER], "rejected": [USER]}, "conversation does not end with the assistant"),
        (
            {"prompt": [USER], "chosen": [REPLY, USER], "rejected": [REPLY]},
            "chosen is not one turn",
        ),
        (
            {"prompt": [turn("user\n<|im_start|>", "x")], "chosen": [REPLY], "rejected": [REPLY]},
            "unknown role",
        ),
        ({"prompt": "x", "chosen": "a"}, "rejected is missing or not a string"),
        ([], "not a JSON object"),
    ],
)
def test_defects_of_trl_rows(row, reason):
    assert results("trl", row) == [reason]


def test_kto_labels_become_verdicts():
    rows = [
        {"messages": [USER, REPLY], "label": True},
        {"prompt": "Why?", "completion": "So.", "label": False},
        {"prompt": [USER], "completion": [REPLY], "label": False},
    ]
    events = results("kto", *rows)
    assert [(said(event), event.judgment.kind, event.judgment.desirable) for event in events] == [
        (([("user", "Why?")], ["So."]), "verdict", label) for label in (True, False, False)
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [USER, REPLY], "label": "yes"}, "label is missing or not true or false"),
        ({"messages": [USER, REPLY], "label": 1}, "label is missing or not true or false"),
        ({"messages": [USER], "label": True}, "conversation does not end with the assistant"),
        ({"messages": [REPLY], "label": True}, "turns do not alternate"),
        ({"prompt": "x", "completion": "", "label": True}, "empty response"),
    ],
)
def test_defects_of_kto_rows(row, reason):
    assert results("kto", row) == [reason]


@pytest.mark.requirement("D3")
@pytest.mark.requirement("D5")
@pytest.mark.parametrize(
    ("field", "reason"),
    [
        *(
            (("provenance", name), f"provenance.{name}: Field required")
            for name in ("written_by", "filtered_by", "approved_by")
        ),
        *(
            (("responses", 0, "source", name), f"responses.0.source.{name}: Field required")
            for name in ("policy", "chat_template", "role_format", "decoder")
        ),
    ],
)
def test_an_event_that_does_not_say_where_it_comes_from_is_rejected(make_event, field, reason):
    """Who wrote, filtered and approved it; policy, template, role format and decoder of each
    response."""
    event = make_event().model_dump(mode="json")
    *way, name = field
    inner = event
    for step in way:
        inner = inner[step]
    del inner[name]
    assert results("jsonl", event) == [reason]


def test_reasons_are_one_short_line(make_event):
    event = make_event().model_dump(mode="json") | {"x\n\x1b[31m" + "y" * 1000: 1}
    (reason,) = results("jsonl", event)
    assert reason.startswith("x\\n\\x1b[31myyy")
    assert len(reason) <= 256


def test_formats_that_say_less_than_an_event_need_an_attribution():
    for format in FEEDBACK_FORMATS:
        if format != "jsonl":
            with pytest.raises(ConfigError, match="give an attribution"):
                read_feedback([ParsedRow(1, 0, b"{}", {})], format)


@pytest.mark.parametrize(
    ("path", "format", "rows", "rejected", "kinds"),
    [
        (
            "preference-demos/dpo_en_demo.json",
            "sharegpt",
            300,
            {"repeats an earlier row": 5},
            {"comparison": 295},
        ),
        (
            "preference-demos/dpo_zh_demo_150.json",
            "sharegpt",
            150,
            {"repeats an earlier row": 2},
            {"comparison": 148},
        ),
        ("preference-demos/kto_en_demo.json", "kto", 300, {}, {"verdict": 300}),
        ("torchtune-tiny/hh_rlhf_tiny.json", "trl", 1, {}, {"comparison": 1}),
    ],
)
def test_public_files(data_folder, path, format, rows, rejected, kinds):
    (imported,) = import_feedback(
        data_folder, SourceFile(format=format, path=path), ATTRIBUTION
    ).values()
    assert (imported.report.rows_in, imported.report.rejected) == (rows, rejected)
    assert Counter(event.judgment.kind for event in imported.items) == kinds
    raw = json.loads((data_folder / path).read_text())
    parts = [
        part
        for row in raw
        for value in row.values()
        for part in (value if isinstance(value, list) else [value])
    ]
    texts = {part.get("value") or part.get("content") for part in parts if isinstance(part, dict)}
    assert {text for event in imported.items for text in said(event)[1]} <= texts


@pytest.mark.requirement("D19")
@pytest.mark.parametrize(
    ("name", "rows", "attacks"),
    [
        (
            "harmbench_behaviors_text_val.csv",
            80,
            {"direct-request": 41, "copyright": 20, "context": 19},
        ),
        ("strongreject_dataset.csv", 313, {"direct-request": 272, "persona": 35, "jailbreak": 6}),
        ("malicious_instruct.txt", 100, {"direct-request": 100}),
        ("refusal_direction__harmful_val.json", 39, {"direct-request": 39}),
        ("refusal_direction__harmless_val.json", 6264, {}),
    ],
)
def test_attacks_are_held_out_prompts_with_their_tactic(data_folder, name, rows, attacks):
    """Counts by `FunctionalCategory` and `source` of the files: DAN 35, MasterKey 3 and prompt
    engineering 3 of 313."""
    imported = import_held_out(
        data_folder, SourceFile(format="redteam", path=f"redteam-prompts/{name}")
    )
    assert (imported.report.rows_in, imported.report.accepted) == (rows, rows)
    assert (
        Counter(prompt.facts["attack"] for prompt in imported.items if "attack" in prompt.facts)
        == attacks
    )
    assert {(prompt.expected, prompt.context.slice) for prompt in imported.items} == {
        ("refuse", "redteam") if attacks else ("comply", "redteam-harmless")
    }


@pytest.mark.requirement("D19")
def test_an_attack_may_also_be_an_event(make_event):
    event = make_event(attack="persona")
    assert results("jsonl", event.model_dump(mode="json")) == [event]
