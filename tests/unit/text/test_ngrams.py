import subprocess
import sys

import numpy as np
import pytest

from plumbline.text.ngrams import WordHashes, grams, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't STOP, please!", ["don", "t", "stop", "please"]),
        ("a_b-c\td\n2024", ["a", "b", "c", "d", "2024"]),
        ("“Curly” – dash…", ["curly", "dash"]),
        ("ki\u200bll\u00ad the\ufeff pro\u202ecess", ["kill", "the", "process"]),
        ("\uff2b\uff29\uff2c\uff2c", ["kill"]),  # full-width letters
        ("Straße ÉTÉ e\u0301te\u0301", ["strasse", "été", "été"]),
        ("k\u0336i\u0336l\u0336l\u0336", ["kill"]),  # struck through
        ("東京 タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("\U0001f600!", ["\U0001f600!"]),
        ("…", ["..."]),
        ("", [""]),
        ("\ud800", ["\ud800"]),  # half of a surrogate pair
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_words_of_ascii_text_do_not_depend_on_what_else_is_in_the_text():
    ascii_text = "".join(map(chr, range(128))) + " Some MORE text, with 3 numbers_and marks."
    assert words(ascii_text + " é")[:-1] == words(ascii_text)


def test_n_grams_are_those_of_each_text_alone():
    """Of "a b c", "d" and "a b c d" the trigrams are: abc; d (a shorter text is one n-gram); abc,
    bcd."""
    hashes, counts = WordHashes().of(["a b c", "d", "a b c d"])
    found = grams(hashes, counts, 3)
    assert counts.tolist() == [3, 1, 4]
    assert found.counts.tolist() == [1, 1, 2]
    abc, d, abc_again, bcd = found.hashes.tolist()
    assert abc == abc_again
    assert len({abc, d, bcd}) == 3


def test_n_grams_with_the_same_words_in_another_order_differ():
    hashes, counts = WordHashes().of(["a b", "b a", "a", "a a"])
    assert len(set(grams(hashes, counts, 2).hashes.tolist())) == 4


def test_hashes_are_the_same_in_another_process():
    """They are kept in files, so Python's own salted hash must have no part in them."""
    program = (
        "from plumbline.text.ngrams import WordHashes, grams\n"
        "hashes, counts = WordHashes().of(['How do I kill a process?', 'été'])\n"
        "print(grams(hashes, counts, 3).hashes.tolist())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
    hashes, counts = WordHashes().of(["How do I kill a process?", "été"])
    assert runs == {f"{grams(hashes, counts, 3).hashes.tolist()}\n".encode()}


def test_texts_without_words_and_no_texts_at_all():
    hashes, counts = WordHashes().of([])
    assert grams(hashes, counts, 5).hashes.tolist() == []
    hashes, counts = WordHashes().of(["", " ", "!"])
    first, second, third = grams(hashes, counts, 5).hashes
    assert first == second != third
    assert first.dtype == np.uint64
