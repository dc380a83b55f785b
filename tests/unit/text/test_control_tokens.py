import json

import pytest

from plumbline.errors import DataError
from plumbline.text.control_tokens import find_control_token, has_control_token, template_tokens

pytestmark = pytest.mark.threat("D6")

TOKENS = [
    "<|user|>",
    "<|im_start|>",
    "<|eot_id|>",
    "<|begin_of_text|>",
    "<|end▁of▁sentence|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<bos>",
]
BRACKETS = [
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "[TOOL_CALLS]",
    "[AVAILABLE_TOOLS]",
    "[gMASK]",
]


@pytest.mark.parametrize("token", TOKENS + BRACKETS)
def test_known_tokens_are_found_plain_full_width_and_split_by_invisible_characters(token):
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isascii() else c for c in token)
    split = token[:3] + "\u200b" + token[3:]
    for variant in (token, wide, split):
        assert find_control_token(f"text {variant} text") == token


@pytest.mark.parametrize(
    "text",
    [
        "a < b | c > d",
        "f <| g |> h " * 3,
        "<user>",
        "[INSTALL]",
        "[inst]",
        "array[i]",
        "</s>",
        "<think>",
        "<end_of>",
    ],
)
def test_ordinary_text_holds_none(text):
    assert find_control_token(text) is None


def test_tokens_of_the_template_in_use_are_found_too():
    assert find_control_token("a <think> b") is None
    assert find_control_token("a <think> b", {"<think>", "</s>"}) == "<think>"
    assert find_control_token("a ＜think＞ b", {"<think>"}) == "<think>"
    assert find_control_token("USER: hi", {"USER:"}) == "USER:"


def test_every_field_of_a_conversation_is_searched(make_turns):
    assert has_control_token(make_turns("ok", "<|end|>", "ok"), "fine")
    assert has_control_token(make_turns("ok"), "fine", "bad [INST]")
    assert not has_control_token(make_turns("ok"), "fine", "fine")
    assert has_control_token(make_turns("ok"), "</s>", tokens={"</s>"})


def test_added_tokens_of_a_tokenizer_are_read_from_its_files(tmp_path):
    (tmp_path / "tokenizer.json").write_text(
        json.dumps({"added_tokens": [{"content": "<think>", "special": False}, {"content": " "}]})
    )
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": {"7": {"content": "</s>", "special": True}}})
    )
    assert template_tokens(tmp_path) == {"<think>", "</s>"}


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds neither"):
        template_tokens(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        template_tokens(tmp_path)
