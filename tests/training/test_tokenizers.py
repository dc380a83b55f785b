"""Tokenizers: deterministic, lossless where they must be, and with a padding token of their own."""

import pytest

from plumbline.errors import TrainingError
from plumbline.profile.models import ScratchModel
from plumbline.sandbox.datasets import SandboxOptions, demonstrations
from plumbline.training.models.chat_template import (
    CHAT_TEMPLATE,
    CONTROL_TOKENS,
    END,
    PAD,
    template_digest,
    template_identity,
)
from plumbline.training.models.tokenizers import (
    build_tokenizer,
    control_ids,
    load_tokenizer,
    tokenizer_digest,
)


def model(kind):
    return ScratchModel(
        kind="scratch",
        tokenizer=kind,
        vocabulary=400 if kind == "bytes" else None,
        hidden=32,
        layers=1,
        heads=4,
        feed_forward=64,
        init_std=0.1,
        max_length=128,
    )


@pytest.fixture(scope="module")
def texts():
    return [
        text
        for row in demonstrations(SandboxOptions(seed=1, demonstrations=200))
        for text in (row.prompt[0].content, row.response)
    ]


@pytest.mark.parametrize("kind", ["words", "bytes"])
def test_the_same_texts_give_the_same_bytes(kind, texts, tmp_path):
    for name in ("first", "second"):
        build_tokenizer(model(kind), iter(texts)).save_pretrained(tmp_path / name)
    files = {path.name for path in (tmp_path / "first").iterdir()}
    assert files == {path.name for path in (tmp_path / "second").iterdir()}
    assert all(
        (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
        for name in files
    )


@pytest.mark.parametrize("kind", ["words", "bytes"])
def test_loading_and_saving_again_changes_nothing(kind, texts, tmp_path):
    build_tokenizer(model(kind), texts).save_pretrained(tmp_path / "first")
    loaded = load_tokenizer(tmp_path / "first")
    loaded.save_pretrained(tmp_path / "second")
    assert loaded.chat_template == CHAT_TEMPLATE
    assert tokenizer_digest(tmp_path / "first") == tokenizer_digest(tmp_path / "second")
    assert (tmp_path / "first" / "tokenizer_config.json").read_bytes() == (
        tmp_path / "second" / "tokenizer_config.json"
    ).read_bytes()


@pytest.mark.parametrize("kind", ["words", "bytes"])
def test_texts_survive_encoding_and_decoding(kind, texts):
    tokenizer = build_tokenizer(model(kind), texts)
    for text in [*texts[:100], "Unseen canción is spelled out, 42 times!"]:
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_words_are_whole_and_unknown_words_are_spelled(texts):
    tokenizer = build_tokenizer(model("words"), texts)
    assert tokenizer.tokenize("lo siento, no") == ["lo", "▁siento", ",", "▁no"]
    assert tokenizer.tokenize("no xyzzy") == [
        "n",
        "o",
        "▁",
        *"xyzzy",
    ]  # `no` without a space before it opens no text here


def test_a_character_that_the_words_do_not_know_is_no_control_token(texts):
    tokenizer = build_tokenizer(model("words"), texts)
    ids = tokenizer("漢", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == "\N{REPLACEMENT CHARACTER}"
    assert not set(ids) & control_ids(tokenizer)


@pytest.mark.parametrize("kind", ["words", "bytes"])
def test_control_tokens_come_first_and_padding_is_not_the_end(kind, texts):
    tokenizer = build_tokenizer(model(kind), texts)
    assert [tokenizer.convert_tokens_to_ids(token) for token in CONTROL_TOKENS] == [0, 1, 2, 3, 4]
    assert control_ids(tokenizer) == frozenset(range(5))
    assert (tokenizer.pad_token, tokenizer.eos_token) == (PAD, END)


def test_the_template_puts_nothing_after_the_end(texts):
    tokenizer = build_tokenizer(model("words"), texts)
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
    assert (
        tokenizer.apply_chat_template(turns, tokenize=False)
        == "<|user|>hello<|assistant|>hi<|end|>"
    )
    assert (
        tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
        == "<|user|>hello<|assistant|>"
    )


def test_the_identity_of_our_template_is_its_digest():
    assert template_identity(model("words")) == template_digest(CHAT_TEMPLATE)


def test_a_tokenizer_without_a_chat_template_is_refused(texts, tmp_path):
    tokenizer = build_tokenizer(model("words"), texts)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match="no chat template; choose a chat model"):
        load_tokenizer(tmp_path)


def test_padding_with_the_end_token_is_replaced_or_refused(texts, tmp_path):
    tokenizer = build_tokenizer(model("words"), texts)
    tokenizer.pad_token = END
    tokenizer.save_pretrained(tmp_path / "spare")
    assert load_tokenizer(tmp_path / "spare").pad_token not in (END, None)
    tokenizer.chat_template = (
        CHAT_TEMPLATE + "{#" + " ".join(CONTROL_TOKENS) + "#}"
    )  # every special token is in use
    tokenizer.save_pretrained(tmp_path / "none")
    with pytest.raises(TrainingError, match="padding needs a token of its own"):
        load_tokenizer(tmp_path / "none")
