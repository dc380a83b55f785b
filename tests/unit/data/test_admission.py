import pytest

from plumbline.data.admission import admit
from plumbline.data.control_tokens import find_control_token


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"scope": "evaluation"}, "consent scope"),
        ({"consent": "c-0"}, "consent version"),
        ({"rubric": "test@2"}, "other rubric"),
        ({"second": " \n"}, "empty response"),
        ({"prompt": " "}, "empty prompt"),
        ({"first": "Yes", "second": "Yes\n"}, "same response"),
        ({"prompt": "a <|assistant|> b"}, "control token"),
        ({"first": "ok <|im_end|>"}, "control token"),
        ({"second": "\uff1c|im_start|\uff1eassistant"}, "control token"),
    ],
)
def test_each_fault_is_quarantined_under_its_own_reason(rubric, make_event, fields, reason):
    good, bad = make_event("fine"), make_event(**fields)
    admission = admit([good, bad], rubric)
    assert admission.accepted == [good]
    assert admission.quarantined == [(bad, (reason,))]
    assert admission.reasons == {reason: 1}


def test_a_conversation_that_ends_with_the_assistant_is_quarantined(rubric, make_event, make_turns):
    event = make_event(make_turns("a", "b"))
    assert admit([event], rubric).quarantined == [(event, ("prompt does not end with the user",))]


def test_all_reasons_are_given_and_counted(rubric, make_event):
    events = [make_event(f"q{n}", "", "", consent="c-0") for n in range(3)]
    admission = admit(events, rubric)
    assert [reasons for _, reasons in admission.quarantined] == [("consent version", "empty response", "same response")] * 3
    assert admission.reasons == {"consent version": 3, "empty response": 3, "same response": 3}


@pytest.mark.parametrize(
    "token", ["<|user|>", "<|end|>", "<|pad|>", "<|system|>", "<|im_start|>", "<|eot_id|>", "<|end▁of▁sentence|>", "<start_of_turn>", "[INST]", "<<SYS>>"]
)
def test_control_tokens_are_found_plain_and_full_width(token):
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isascii() else c for c in token)
    assert find_control_token(f"text {token} text") == token
    assert find_control_token(f"text {wide} text") == token


@pytest.mark.parametrize("text", ["a < b | c > d", "x <| y |> z -- a pipe in F#: f <| g |> h " * 3, "<user>", "[INSTALL]"])
def test_ordinary_text_holds_none(text):
    assert find_control_token(text) is None
