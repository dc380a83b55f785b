"""Held-out prompts from outside: plain rows, RewardBench-style pairs, and the suites that files
belong to."""

import json

import pytest

from plumbline.data.formats.reading import import_held_out, import_judged_pairs, suite_name
from plumbline.errors import ConfigError, DataError
from plumbline.profile.sources import SourceFile

pytestmark = pytest.mark.requirement("E10")


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def loaded(path, format="jsonl", **fields):
    return import_held_out(path.parent, SourceFile(format=format, path=path.name, **fields))


def test_plain_rows_are_held_out_prompts_and_defects_are_counted(tmp_path):
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    path = write(
        tmp_path / "mine.jsonl",
        {"prompt": "How?", "expected": "comply"},
        {
            "prompt": talk,
            "expected": "refuse",
            "slice": "harm",
            "locale": "es",
            "domain": "care",
            "facts": {"a": "b"},
        },
        {"prompt": "How?", "expected": "yes"},
        {"prompt": " ", "expected": "comply"},
        {"prompt": [*talk, {"role": "assistant", "content": "So."}], "expected": "comply"},
        {"prompt": "How?", "expected": "comply", "answer": "so"},
        {"prompt": "How?", "expected": "comply", "facts": {"a": 1}},
        {"prompt": "How?", "expected": "comply", "slice": "no good name"},
        {"prompt": "How?", "expected": "comply"},
        {"expected": "comply"},
    )
    result = loaded(path)
    first, second = result.items
    assert (first.suite, first.expected, first.context.slice, first.context.locale) == (
        "mine",
        "comply",
        "unsliced",
        "und",
    )
    assert (second.suite, second.context.slice, second.context.domain, second.facts) == (
        "mine",
        "harm",
        "care",
        {"a": "b"},
    )
    assert [(message.role, message.content) for message in second.prompt] == [
        ("system", "Be brief."),
        ("user", "Why?"),
    ]
    assert result.report.rejected == {
        "column answer is not allowed": 1,
        "empty prompt": 1,
        "expected is not comply, refuse or unknown": 1,
        "facts is not an object of texts": 1,
        "invalid slice": 1,
        "prompt does not end with the user": 1,
        "prompt is missing or not a string": 1,
        "repeats an earlier row": 1,
    }


def test_our_own_records_keep_everything_but_take_the_suite_of_their_file(tmp_path):
    plain = loaded(
        write(tmp_path / "mine.jsonl", {"prompt": "How?", "expected": "comply", "slice": "s"})
    ).items[0]
    own = loaded(write(tmp_path / "other.jsonl", plain.model_dump(mode="json"))).items[0]
    assert own.model_copy(update={"id": plain.id, "suite": plain.suite}) == plain
    assert own.suite == "other"


def test_one_prompt_may_stand_in_two_suites_under_two_ids(tmp_path):
    path = write(tmp_path / "mine.jsonl", {"prompt": "How?", "expected": "comply"})
    here, there = loaded(path).items[0], loaded(path, suite="renewed").items[0]
    assert here.prompt == there.prompt
    assert here.id != there.id
    assert there.suite == "renewed"


def test_the_suite_of_a_file_is_the_one_named_else_its_format_else_its_name(tmp_path):
    assert suite_name(SourceFile(format="xstest", path="a/b.csv")) == "xstest"
    assert suite_name(SourceFile(format="redteam", path="a/StrongREJECT.v2.csv")) == "strongreject"
    assert suite_name(SourceFile(format="jsonl", path="a/b.jsonl", suite="given")) == "given"
    with pytest.raises(
        ConfigError, match="'my prompts' cannot name a suite; give one with `suite`"
    ):
        suite_name(SourceFile(format="jsonl", path="my prompts.jsonl"))


PAIR = {
    "prompt": "How do I kill a process?",
    "chosen": "Use kill.",
    "rejected": "I cannot help.",
    "subset": "XSTest Should-Respond",
}


def test_rewardbench_rows_are_pairs_for_judges_and_their_prompts_are_held_out(tmp_path):
    """Lambert et al. 2024: prompt, chosen, rejected and subset; id and the models that wrote the
    responses are read past."""
    path = write(
        tmp_path / "bench.jsonl",
        PAIR | {"id": 7, "chosen_model": "x", "rejected_model": "y"},
        PAIR | {"subset": "refusals-dangerous", "prompt": [{"role": "user", "content": "Hi"}]},
        PAIR | {"chosen": PAIR["rejected"]},
        PAIR | {"rejected": " "},
        PAIR | {"subset": "!"},
        PAIR | {"chat_template_kwargs": {}},
        PAIR,
    )
    source = SourceFile(format="rewardbench", path=path.name)
    pairs = import_judged_pairs(tmp_path, source)
    assert [(pair.prompt[0].content, pair.chosen, pair.subset) for pair in pairs.items] == [
        ("How do I kill a process?", "Use kill.", "xstest-should-respond"),
        ("Hi", "Use kill.", "refusals-dangerous"),
    ]
    wrong = {
        "column chat_template_kwargs is not allowed": 1,
        "empty response": 1,
        "empty subset": 1,
        "identical responses": 1,
    }
    assert pairs.report.rejected == wrong | {"repeats an earlier row": 1}
    prompts = import_held_out(tmp_path, source)
    assert [(one.suite, one.context.slice, one.expected) for one in prompts.items] == [
        ("rewardbench", "xstest-should-respond", "unknown"),
        ("rewardbench", "refusals-dangerous", "unknown"),
    ]
    with pytest.raises(ConfigError, match="holds no judged pairs; use rewardbench"):
        import_judged_pairs(tmp_path, SourceFile(format="jsonl", path=path.name))


def test_hh_transcripts_are_a_suite_of_conversations(data_folder):
    result = import_held_out(
        data_folder, SourceFile(format="hh", path="hh-rlhf-harmless/pairs.jsonl.gz", limit=50)
    )
    assert {(one.suite, one.expected) for one in result.items} == {("hh", "unknown")}
    assert any(len(one.prompt) > 2 for one in result.items)
    assert all(one.prompt[-1].role == "user" for one in result.items)


def test_a_missing_file_says_where_it_is_expected(tmp_path):
    with pytest.raises(DataError, match="PLUMBLINE_DATA must name the folder"):
        loaded(tmp_path / "absent.jsonl")
