import json

import pytest

from plumbline.text.unsafe_characters import EXCERPT, KINDS, escaped, find_suspicious_text

pytestmark = pytest.mark.threat("D8")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("pay \u202eevil\u202c now", "bidi"),
        ("\u2066left\u2069", "bidi"),
        ("pass\u200bword", "zero-width"),
        ("\ufeffstarts", "zero-width"),
        ("soft\u00adhyphen", "zero-width"),
        ("می\u200cخواهم", "joiner"),
        ("👩\u200d🚀", "joiner"),
        ("hi\U000e0069\U000e0067", "tag characters"),
        ("hidden\U000e0120bytes", "tag characters"),
        ("bell\x07", "control characters"),
        ("nul\x00", "control characters"),
        ("two\u2028lines", "control characters"),
        ("<script>alert(1)</script>", "markup"),
        ('<img src=x onerror="alert(1)">', "markup"),
        ("<b onmouseover = 'x'>", "markup"),
        ("[a](javascript:alert(1))", "markup"),
        ("![a](https://example.org/pixel.png)", "markup"),
        ("![a](//example.org/pixel.png)", "markup"),
        ("data: text/html;base64,AAAA", "markup"),
        ("<iframe src='x'>", "markup"),
        ("=HYPERLINK(A1)", "formula"),
        ("=1+1", "formula"),
        (" =cmd|' /C calc'!A0", "formula"),
        ("@SUM(1,2)", "formula"),
        ("+2+cmd|' /C calc'!A0", "formula"),
    ],
)
def test_each_kind_is_found_by_itself_and_shown_escaped(text, kind):
    found = find_suspicious_text(f"{text}")
    assert [oddity.kind for oddity in found] == [kind]
    assert found[0].count >= 1
    assert found[0].excerpt.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "An ordinary answer: 3 < 4, x = 5, and a - b.\n\tIndented.\r\n",
        "- a bullet\n+ another",
        "== a heading ==",
        "-5 degrees",
        "@anna said so",
        "Grüße, 你好, привет, مرحبا 🚀",
        "javascript: the language",
        "the JavaScript: 2 rules",
        "<3 you, <tag> and </b>",
        "![a](local.png) and [b](https://example.org)",
        "the description of data: text",
    ],
)
def test_ordinary_text_holds_none(text):
    assert find_suspicious_text(text) == ()


def test_kinds_come_together_with_their_counts():
    found = find_suspicious_text("=1+1 \u200b\u200b\u202e <script>")
    assert [(oddity.kind, oddity.count) for oddity in found] == [
        ("bidi", 1),
        ("zero-width", 2),
        ("markup", 1),
        ("formula", 1),
    ]
    assert {oddity.kind for oddity in found} <= set(KINDS)


def test_escapes_name_the_character_and_leave_the_rest():
    assert escaped("a\u200bb\U000e0041ü\n🚀") == "a\\u{200b}b\\u{e0041}ü\n🚀"
    assert escaped("a\x1b[31m") == "a\\u{1b}[31m"


def test_an_excerpt_is_short_and_on_one_line():
    excerpt = find_suspicious_text("a\n" * 500 + "\u202e" + "b\n" * 500)[0].excerpt
    assert "\\u{202e}" in excerpt
    assert "\n" not in excerpt
    assert len(excerpt) <= 2 * EXCERPT + len("......\\u{202e}")


def test_a_hostile_text_cannot_stall_the_search():
    """A quadratic pattern would need minutes for a million characters of its own prefix; the test
    would then run into the time limit of its job."""
    for piece in ("<", "<a ", "![", "data:", "=(", "<a o"):
        find_suspicious_text(piece * (1_000_000 // len(piece)))


@pytest.mark.slow
def test_public_text_is_nearly_free_of_oddities(data_folder):
    """Tulu's 989 rows, each text once: six with emoji joiners, four that show HTML, one lone
    zero-width space; counted by hand."""
    rows = [
        json.loads(line)
        for path in sorted((data_folder / "tulu1-human-feedback").glob("*.jsonl"))
        for line in path.open("rb")
    ]
    texts = {row[field] for row in rows for field in ("prompt", "completion_a", "completion_b")}
    kinds = [oddity.kind for text in texts for oddity in find_suspicious_text(text)]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "joiner": 6,
        "markup": 4,
        "zero-width": 1,
    }
